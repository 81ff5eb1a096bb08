// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/host.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/reconciling.h"
#include "cli/verbs.h"
#include "cli/wish.h"
#include "report/result.h"
#include "report/textfile.h"

namespace core_ha::cli {
namespace {

struct ReconcileOptions {
  std::string node;
  std::string textfile;
  std::string manifests;
};

Outcome look(Context& context, const ReconcileOptions& options, Reconciled& done) {
  auto client = context.connect();
  if (!client) return client.error();
  auto looked = reconcile(**client, {.node = options.node.empty() ? host_name() : options.node,
                                     .version = std::string(version),
                                     .manifests = options.manifests,
                                     .deadline = context.deadline()});
  if (!looked) return looked.error();
  done = std::move(*looked);
  Outcome outcome;
  if (done.applied) {
    outcome.result = report::result(done.applied->plan, done.applied->acted);
    outcome.result["components"] = done.applied->plan.components;
    if (!done.applied->plan.refusal) outcome.text = report::text(outcome.result);
    outcome.error = done.applied->acted.error;
    if (!done.moved.empty()) {
      outcome.result["changed"] = true;
      outcome.result["moved"] = done.moved;
      outcome.text += done.moved + "\n";
    }
  } else {
    outcome.result["changed"] = false;
    outcome.text = done.revision == 0 ? "No wish is kept in this cluster: nothing to do.\n"
                                      : fmt::format("It is the turn of {}: nothing to do here.\n", done.turn);
  }
  outcome.result["turn"] = done.turn;
  outcome.result["revision"] = done.revision;
  return outcome;
}

Outcome run(Context& context, const ReconcileOptions& options) {
  Reconciled done;
  Outcome outcome = look(context, options, done);
  if (options.textfile.empty()) return outcome;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string metrics = report::textfile({.exit = outcome.error ? outcome.error->status : ExitStatus::done,
                                                .finished = std::chrono::duration_cast<std::chrono::seconds>(now),
                                                .changed = outcome.result.value("changed", false),
                                                .turn = done.applied.has_value(),
                                                .revision = done.revision,
                                                .components = outcome.result.value("components", Json::object())});
  if (auto written = replace_file(options.textfile, metrics); !written) {
    log::error(written.error().message);  // beside what the look itself came to, which is what counts
    if (!outcome.error) outcome.error = written.error();
  }
  return outcome;
}

}  // namespace

void add_reconcile(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand(
      "reconcile", "Look whether the cluster is still as the wish that it keeps, and bring it back to it");
  const auto options = std::make_shared<ReconcileOptions>();
  verb->add_option("--node", options->node,
                   "name of this server's Node, which is marked as one that reconciles (default: the host's name)")
      ->type_name("NAME");
  verb->add_option("--textfile", options->textfile,
                   "file for node_exporter's textfile collector, replaced at the end of each look")
      ->type_name("FILE");
  add_manifests(*verb, options->manifests);
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha reconcile\n"
      "  k3s-core-ha --timeout 1500 reconcile --textfile /var/lib/node_exporter/k3s_core_ha.prom\n"
      "Meant for a timer on every server. One of them works at a time: of those whose Node is marked, the first by "
      "name\n"
      "that is Ready; the others only look whose turn it is. Where nothing is to be done the API is only read. What "
      "the\n"
      "wish is stays with `apply`; a cluster that keeps none is left alone. Exit statuses are those of `apply`.");
  context.on_run(*verb, [&context, options] { return run(context, *options); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/verbs.h"
#include "cluster/observe.h"
#include "ha/spec.h"
#include "report/result.h"

namespace core_ha::cli {
namespace {

struct PlanOptions {
  std::string spec;
  std::string snapshot;
  bool schema = false;
};

Result<cluster::Snapshot> take_snapshot(Context& context, const std::string& file) {
  if (!file.empty()) {
    auto document = read_document(file);
    if (!document) return document.error();
    return cluster::snapshot_from_json(*document);
  }
  auto client = context.connect();
  if (!client) return client.error();
  return cluster::observe(**client);
}

Outcome plan(Context& context, const PlanOptions& options) {
  if (options.schema) {
    Json schema = ha::spec_schema();
    std::string text = schema.dump(2);
    return {std::move(schema), std::move(text)};
  }
  if (options.spec == "-" && options.snapshot == "-")
    return Error{ExitStatus::usage, "--spec and --snapshot cannot both be read from standard input."};
  auto document = read_document(options.spec);
  if (!document) return document.error();
  auto spec = ha::parse_spec(*document);
  if (!spec) return spec.error();
  auto snapshot = take_snapshot(context, options.snapshot);
  if (!snapshot) return snapshot.error();

  ha::Plan made;
  try {
    made = ha::make_plan(*spec, *snapshot);
  } catch (const Json::exception& error) {
    // The API's objects have the types that the API promises; those of a file may have any.
    if (options.snapshot.empty()) throw;
    return Error{ExitStatus::usage, fmt::format("{} holds objects that are not as the API gives them: {}.",
                                                options.snapshot, error.what())};
  }
  const auto source = options.snapshot.empty() ? report::Source::cluster : report::Source::snapshot;
  Outcome outcome(report::result(made, source), "");
  outcome.text = report::text(outcome.result);
  outcome.error = made.refusal;
  return outcome;
}

}  // namespace

void add_plan(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("plan", "Say what apply would do, step by step, and why; change nothing");
  const auto options = std::make_shared<PlanOptions>();
  verb->add_option("--spec", options->spec, "the wish, YAML or JSON; - reads standard input (default: the defaults)")
      ->type_name("FILE");
  verb->add_option("--snapshot", options->snapshot,
                   "decide on a saved snapshot instead of a cluster; - reads standard input")
      ->type_name("FILE");
  verb->add_flag("--schema", options->schema, "print the JSON schema of the wish and end");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha plan                                      with the defaults, on the cluster of the kubeconfig\n"
      "  k3s-core-ha plan --spec wish.yaml -o json             for programs\n"
      "  echo 'coredns_strategy: packaged' | k3s-core-ha plan --spec -\n"
      "  k3s-core-ha plan --snapshot snapshot.json             a prediction, without a cluster\n"
      "  k3s-core-ha plan --schema                             every key, its type, range and default");
  context.on_run(*verb, [&context, options] { return plan(context, *options); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cli/applying.h"
#include "cli/verbs.h"
#include "cli/wish.h"
#include "ha/spec.h"
#include "report/result.h"

namespace core_ha::cli {
namespace {

struct ApplyOptions {
  WishOptions wish;
  bool dry_run = false;
  std::optional<std::int64_t> revision = {};
};

Outcome apply(Context& context, const ApplyOptions& options) {
  auto spec = read_wish(options.wish);
  if (!spec) return spec.error();
  auto client = context.connect();
  if (!client) return client.error();

  auto applied = apply_wish(**client, *spec,
                            {.revision = options.revision,
                             .on_nodes = options.wish.on_nodes(),
                             .manifests = options.wish.manifests,
                             .dry_run = options.dry_run,
                             .deadline = context.deadline()});
  if (!applied) return applied.error();
  Outcome outcome(report::result(applied->plan, applied->acted), "");
  if (!applied->plan.refusal) outcome.text = report::text(outcome.result);  // a refusal is said by its error
  outcome.error = applied->acted.error;
  return outcome;
}

}  // namespace

void add_apply(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("apply", "Bring the cluster to the wish, and keep it serving meanwhile");
  const auto options = std::make_shared<ApplyOptions>();
  add_wish(*verb, options->wish);
  verb->add_option("--revision", options->revision,
                   "of this wish: nothing is written when the cluster keeps a later one (default: the next)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 53));
  verb->add_flag("--dry-run", options->dry_run, "change nothing: ask the server what each step would do");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha apply                              everything highly available, by the size of the cluster\n"
      "  k3s-core-ha apply --spec wish.yaml --dry-run   what would change\n"
      "  k3s-core-ha apply --packaged                   back to what k3s ships\n"
      "When a step fails, --timeout is over or a signal falls, what was done is undone (exit 6, or 130), for up to\n"
      "15 minutes more; a run that was killed is carried on by the next one.");
  context.on_run(*verb, [&context, options] { return apply(context, *options); });
}

}  // namespace core_ha::cli

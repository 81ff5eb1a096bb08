// SPDX-License-Identifier: GPL-3.0-or-later
#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "cli/rebalancing.h"
#include "cli/verbs.h"

namespace core_ha::cli {

void add_rebalance(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand(
      "rebalance", "Move one replica of CoreDNS, where two are on one node, or in one zone, and another has none");
  struct Options {
    bool dry_run = false;
    int cool_down = static_cast<int>(std::chrono::seconds(ha::cool_down).count());
  };
  const auto options = std::make_shared<Options>();
  verb->add_option("--cool-down", options->cool_down,
                   "move nothing for so long after any replica was made or moved (default: 600)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0, 86400));
  verb->add_flag("--dry-run", options->dry_run, "change nothing: say what would be done");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha rebalance             after nodes were drained one by one, or one came back\n"
      "  k3s-core-ha rebalance --dry-run   whether one would be moved, and why\n"
      "PodDisruptionBudgets are asked first. Then another pod is made, the scheduler decides where, and the old one "
      "serves\n"
      "until that does. One pod at a time, with a rest between two, and not again for the same node or zone within a "
      "day:\n"
      "pods are never moved in a loop. `reconcile` does the same whenever there is nothing else to do.");
  context.on_run(*verb, [&context, options]() -> Outcome {
    auto client = context.connect();
    if (!client) return client.error();
    auto done = rebalance(**client, {.dry_run = options->dry_run,
                                     .deadline = context.deadline(),
                                     .cool_down = std::chrono::seconds(options->cool_down)});
    if (!done) return done.error();
    return {Json{{"changed", done->changed}, {"message", done->words}}, done->words};
  });
}

}  // namespace core_ha::cli

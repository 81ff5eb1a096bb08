// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/budget.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>

#include "cli/verbs.h"
#include "cluster/observe.h"
#include "ha/failover/budget.h"
#include "ha/failover/profile.h"

namespace core_ha::cli {
namespace {

struct BudgetOptions {
  std::string snapshot;
  ha::FailoverWish wish;
  bool wished = false;
};

Outcome of_profile(const ha::FailoverWish& wish) {
  const auto timers = ha::failover_timers(wish);
  if (!timers) return timers.error();
  const auto files = ha::drop_ins(*timers);
  const Json drop_ins = {{"config", files.config}, {"kubelet", files.kubelet}, {"unit", files.unit}};
  Json result = {{"profile", wish.profile},
                 {"settings", ha::to_json(*timers)},
                 {"drop_ins", drop_ins},
                 {"nodes_first", ha::nodes_first(*timers)},
                 {"budget", ha::budget(*timers)}};
  std::string text = report::profile_text(result);
  return {std::move(result), std::move(text)};
}

Result<cluster::Snapshot> look(Context& context, const std::string& file) {
  if (!file.empty()) {
    auto document = read_document(file);
    if (!document) return document.error();
    return cluster::snapshot_from_json(*document);
  }
  auto client = context.connect();
  if (!client) return client.error();
  auto snapshot = cluster::observe(**client);
  if (!snapshot) return snapshot;
  if (auto read = cluster::observe_leases(**client, *snapshot); !read) return read.error();
  return snapshot;
}

Outcome budget(Context& context, const BudgetOptions& options) {
  if (options.wished) {
    if (!options.snapshot.empty())
      return Error{ExitStatus::usage, "--snapshot is for the settings in force, not for those of a profile."};
    return of_profile(options.wish);
  }
  auto snapshot = look(context, options.snapshot);
  if (!snapshot) return snapshot.error();
  Json result;
  try {
    result = ha::budget(*snapshot);
  } catch (const Json::exception& error) {
    // The API's objects have the types that the API promises; those of a file may have any.
    if (options.snapshot.empty()) throw;
    return Error{ExitStatus::usage, fmt::format("{} holds objects that are not as the API gives them: {}.",
                                                options.snapshot, error.what())};
  }
  std::string text = report::budget_text(result);
  return {std::move(result), std::move(text)};
}

/// `grace_period` as an option: `--grace-period`.
std::string option_name(const char* name) {
  std::string option = fmt::format("--{}", name);
  std::replace(option.begin(), option.end(), '_', '-');
  return option;
}

}  // namespace

void add_budget(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand(
      "budget", "Say how long it takes until a node's death is noticed, and its pods are replaced: [min, max] seconds");
  const auto options = std::make_shared<BudgetOptions>();
  verb->add_option("--snapshot", options->snapshot,
                   "decide on a saved snapshot instead of a cluster; - reads standard input")
      ->type_name("FILE");
  const auto wished = [options](const auto&) { options->wished = true; };
  verb->add_option("--profile", options->wish.profile,
                   fmt::format("no cluster: the numbers and the drop-ins of a fail-over profile ({})",
                               fmt::join(ha::failover_profiles(), ", ")))
      ->type_name("NAME")
      ->each(wished);
  for (const auto& number : ha::failover_numbers())
    verb->add_option(option_name(number.name), options->wish.*number.value,
                     fmt::format("in the place of the profile's: {}, {} to {}", number.description, number.lowest,
                                 number.highest))
        ->type_name("SECONDS")
        ->each(wished);
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha budget                                    for the settings in force, node by node\n"
      "  k3s-core-ha budget --snapshot snapshot.json           the same, without a cluster\n"
      "  k3s-core-ha budget --profile fast                     what a profile sets, and what that comes to\n"
      "  k3s-core-ha budget --profile fast --grace-period 30 -o json\n"
      "What would take a living node for dead is refused with the numbers (exit status 4).");
  context.on_run(*verb, [&context, options] { return budget(context, *options); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/rebalancing.h"

#include <fmt/format.h>

#include <algorithm>

#include "act/waits.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/observe.h"
#include "ha/rebalance.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::cli {
namespace {

/// Evicts, and asks again while a budget says not yet. A pod that is gone already is as wished.
Result<void> evict(kube::Client& client, const ha::Move& move, const Rebalancing& options) {
  const Deadline until = Deadline::earlier(options.deadline, Deadline::after(options.wait_timeout));
  for (bool said = false;; said = true) {
    auto evicted =
        client.evict(move.pod, {.uid = move.uid, .propagation = {}, .grace_seconds = {}, .dry_run = options.dry_run});
    if (evicted || evicted.error().not_found()) return {};
    if (evicted.error().code != 429) return evicted.error().as_error();
    if (until.expired())
      return Error{ExitStatus::unsafe,
                   fmt::format("{} could not be moved: {}", kube::to_string(move.pod), evicted.error().message)};
    if (!said) log::progress(evicted.error().message + "; waiting for it");
    if (!sleep_for(options.between_tries)) return Error{ExitStatus::interrupted, "interrupted; nothing was moved"};
  }
}

}  // namespace

Result<Rebalanced> rebalance(kube::Client& client, const Rebalancing& options) {
  auto snapshot = cluster::observe(client);
  if (!snapshot) return snapshot.error();
  ha::Choice choice = ha::choose_move(*snapshot, options.cool_down);
  if (!choice.move) return Rebalanced{false, choice.words};
  const ha::Move& move = *choice.move;
  log::progress(fmt::format("{}: evicting {}", move.reason, kube::to_string(move.pod)));
  const Json note = {{"metadata", {{"annotations", {{std::string(move.annotation), move.note}}}}}};
  auto noted = client.merge_patch(ha::state_object, note, {.dry_run = options.dry_run});
  if (!noted) return noted.error().as_error();
  if (auto evicted = evict(client, move, options); !evicted) return evicted.error();
  if (options.dry_run) return Rebalanced{true, fmt::format("{}: one would be moved.", move.reason)};

  const auto patience =
      std::min(options.wait_timeout, std::chrono::ceil<std::chrono::seconds>(options.deadline.remaining()));
  for (const ha::Step& wait :
       {ha::Step{.id = "moved-away", .action = ha::Action::wait_gone, .object = move.pod, .uid = move.uid},
        ha::Step{.id = "moved", .action = ha::Action::wait_rollout, .object = ha::coredns_deployment}})
    if (auto waited = act::wait_for(wait, client, patience); !waited) return waited.error();
  return Rebalanced{true, fmt::format("{}: one was moved.", move.reason)};
}

}  // namespace core_ha::cli

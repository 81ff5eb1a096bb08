// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/rebalancing.h"

#include <fmt/format.h>

#include "act/act.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/observe.h"
#include "ha/rebalance.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::cli {
namespace {

/// Asks by an eviction that is not carried out whether budgets let the pod go, and again while one says not yet. False:
/// it has gone by itself.
Result<bool> may_go(kube::Client& client, const ha::Move& move, const Rebalancing& options) {
  const Deadline until = Deadline::earlier(options.deadline, Deadline::after(options.wait_timeout));
  for (bool said = false;; said = true) {
    const auto asked = client.evict(move.pod, {.uid = move.uid, .dry_run = true});
    if (asked) return true;
    if (asked.error().not_found()) return false;
    if (asked.error().code != 429) return asked.error().as_error();
    if (until.expired())
      return Error{ExitStatus::unsafe,
                   fmt::format("{} could not be moved: {}", kube::to_string(move.pod), asked.error().message)};
    if (!said) log::progress(asked.error().message + "; waiting for it");
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
  log::progress(fmt::format("{}: replacing {}", move.reason, kube::to_string(move.pod)));
  const Json note = {{"metadata", {{"annotations", {{std::string(move.annotation), move.note}}}}}};
  auto noted = client.merge_patch(ha::state_object, note, {.dry_run = options.dry_run});
  if (!noted) return noted.error().as_error();
  const auto asked = may_go(client, move, options);
  if (!asked) return asked.error();
  if (!*asked)
    return Rebalanced{false, fmt::format("{} has gone by itself: nothing is moved.", kube::to_string(move.pod))};
  // Two runs: where the second fails, the replacement stays, and the pod is left to the next look.
  for (const auto* steps : {&move.replacement, &move.retirement}) {
    const auto acted = act::carry_out(
        *steps, client,
        {.dry_run = options.dry_run, .deadline = options.deadline, .wait_timeout = options.wait_timeout});
    if (acted.error) return *acted.error;
  }
  if (options.dry_run) return Rebalanced{true, fmt::format("{}: one would be moved.", move.reason)};
  return Rebalanced{true, fmt::format("{}: one was moved.", move.reason)};
}

}  // namespace core_ha::cli

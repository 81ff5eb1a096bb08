// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/rebalancing.h"

#include <fmt/format.h>

#include <algorithm>

#include "act/act.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/nodes.h"
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

/// Whether the pod is a replica of the Deployment that answers and stays.
bool serves(const Json& pod) {
  return pod["metadata"].contains("ownerReferences") && !pod["metadata"].contains("deletionTimestamp") &&
         cluster::is_ready(pod);
}

/// Waits until as many replicas as are wished serve besides the pod. The Deployment's own status would not do: it says
/// so of the old ones until its controller has seen that one was let go.
Result<void> wait_for_replacement(kube::Client& client, const ha::Move& move, std::chrono::seconds patience) {
  const kube::ObjectRef all{"v1", "Pod", move.pod.ns, ""};
  int serving = 0;
  const auto enough = [&](const kube::Objects& pods) {
    serving = static_cast<int>(std::count_if(pods.begin(), pods.end(), [&](const auto& pod) {
      return kube::uid_of(pod.second) != move.uid && serves(pod.second);
    }));
    return serving >= move.replicas;
  };
  const auto seen = client.follow({.path = rest_path(all), .list = true, .label_selector = "k8s-app=kube-dns"}, enough,
                                  Deadline::after(patience));
  if (!seen) return seen.error().as_error();
  if (*seen) return {};
  return Error{ExitStatus::rolled_back, fmt::format("after {} s {} of {} replicas serve besides {}", patience.count(),
                                                    serving, move.replicas, kube::to_string(move.pod))};
}

/// The pod is its ReplicaSet's again, which ends the one that it has made instead.
Error taken_back(kube::Client& client, const ha::Move& move, Error error) {
  const InterruptShield shield;
  client.set_deadline(Deadline::after(act::time_to_go_back));
  const auto back = client.merge_patch(move.pod, move.take_back, {});
  if (back || back.error().not_found()) return {error.status, error.message + "; it stays where it is"};
  return {ExitStatus::not_rolled_back,
          fmt::format("{}; letting it stay failed too: {}", error.message, back.error().message)};
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
  auto let_go = client.merge_patch(move.pod, move.let_go, {.dry_run = options.dry_run});
  if (!let_go && let_go.error().sent) return taken_back(client, move, let_go.error().as_error());
  if (!let_go) return let_go.error().as_error();
  if (options.dry_run) return Rebalanced{true, fmt::format("{}: one would be moved.", move.reason)};

  const auto patience =
      std::min(options.wait_timeout, std::chrono::ceil<std::chrono::seconds>(options.deadline.remaining()));
  if (auto replaced = wait_for_replacement(client, move, patience); !replaced)
    return taken_back(client, move, replaced.error());
  const auto retired =
      act::carry_out(move.retirement, client, {.deadline = options.deadline, .wait_timeout = options.wait_timeout});
  if (retired.error) return *retired.error;
  return Rebalanced{true, fmt::format("{}: one was moved.", move.reason)};
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace core_ha::act {

/// How far the rollout of a Deployment or DaemonSet is.
struct Rollout {
  enum class State { waiting, done, failed } state = State::waiting;
  std::string words;  ///< what it waits for, or why it failed
};

/// As `kubectl rollout status` judges it.
Rollout rollout_status(const Json& deployment);
Rollout daemonset_rollout_status(const Json& daemonset);

/// The same for a DaemonSet with nodes that are not ready: no pod of theirs will be available, and it counts them all
/// the same. So what decides are the pods on the others, of which each must have one that is ready. `pods`: the
/// DaemonSet's; `not_ready`: names of nodes.
Rollout daemonset_rollout_status(const Json& daemonset, const std::vector<Json>& pods,
                                 const std::set<std::string>& not_ready);

/// The node that a DaemonSet's pod is for, whether it is bound to it already or not.
std::string node_of_daemon(const Json& pod);

bool is_ready(const Json& object);  ///< by its condition Ready: a pod or a node

}  // namespace core_ha::act

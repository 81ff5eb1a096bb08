// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>

#include "base/json.h"
#include "ha/failover/budget.h"

namespace core_ha::ha {

/// What decides how a cluster's DNS lives through the death of a node.
struct Situation {
  int replicas = 1;                ///< CoreDNS pods, each on a node of its own as far as nodes reach
  int nodes = 1;                   ///< registered
  int servers = 1;                 ///< of them, with a control plane
  bool daemons = false;            ///< a DaemonSet's: none comes up elsewhere for one that is gone
  bool local = false;              ///< a node's queries prefer the replica on that node
  int among = 0;                   ///< of how many replicas any other query goes to one, at the least; 0: of all
  std::optional<bool> kube_proxy;  ///< Services are served by kube-proxy in its usual mode; nothing: not known
  NodeMonitor monitor;             ///< how a node's death is noticed
  int toleration_seconds = 300;    ///< how long pods stay on a node that is not ready
};

/// What a client on a surviving node sees, in closed form: for `node_death` and `lease_holder_death` the share of
/// queries lost and for how long, and for `full_strength` when all replicas are back. Spans are [min, max] seconds,
/// `"unknown"` where nothing is known, null where it lasts until the node is back.
Json predict(const Situation& situation);

}  // namespace core_ha::ha

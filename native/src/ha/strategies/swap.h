// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// Whose the count of replicas is.
enum class Count {
  at_least,  ///< an autoscaler's: raised where it is lower
  fixed,     ///< ours: raised, lowered, and put back when it drifted
  released   ///< nobody's, as k3s leaves it, once it is set back
};

/// What the packaged Deployment is to become.
struct SwapTarget {
  Json body;  ///< our whole set; without fields: as k3s ships it
  int replicas = 1;
  Count count = Count::at_least;
  bool gentle = true;  ///< pods of the new template end gently
};

/// Plans the way from CoreDNS as observed, at whatever point an earlier run was stopped, to the target, without a
/// moment in which a query is lost; one without room for it, where pods end gently, rolls instead, with a warning.
/// Nothing to do plans nothing. `nodes` are judged for CoreDNS's pods. Tells which pods it asks the scheduler to place.
Placement plan_swap(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                    const SwapTarget& target);

}  // namespace core_ha::ha

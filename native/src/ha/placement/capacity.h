// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// New pods of CoreDNS that a plan asks the scheduler to place, beside those of the same template that stay.
struct Placement {
  int pods = 0;
  std::vector<std::string> staying = {};  ///< each one's node
};

/// Refuses where the new pods could not all be placed: worst-case checks in closed form, not a scheduler. Warns where
/// fewer nodes take pods now than the level counts on, or where other pods would be pushed out. What other pods request
/// is asked for (Planner::want_usage) as long as it is not known for enough nodes.
void check_placement(Planner& planner, const Json& pod_spec, const std::vector<cluster::Node>& nodes, int replicas,
                     const Placement& placement);

}  // namespace core_ha::ha

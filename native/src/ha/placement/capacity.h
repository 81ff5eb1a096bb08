// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// Of system-cluster-critical: CoreDNS's.
inline constexpr int critical_priority = 2000000000;

/// New pods of a component that a plan asks the scheduler to place, beside those of the same template that stay.
struct Placement {
  int pods = 0;
  std::vector<std::string> staying = {};  ///< each one's node
  std::vector<std::string> leaving = {};  ///< the nodes of those that end when the new ones are there
  std::string freed = {};                 ///< the node of one that ends before; empty: none does
  int priority = critical_priority;       ///< at least; those of a lower one are pushed out
  int before = 0;   ///< another component's, as large as these, that come first: to which node, the scheduler knows
  int stacked = 0;  ///< of those, so many may come to one host
  int spare = 0;    ///< on so many hosts more there is to be room for one
};

/// Whether the new pods could all be placed beside what runs.
struct Fit {
  std::vector<std::string> unread = {};  ///< nodes whose usage decides and is not known: then nothing else is said
  std::string refusal = {};              ///< a sentence why not; empty: they could
  std::string warning = {};              ///< a sentence: only if others are pushed out
  bool crowded = false;                  ///< they could, but for those that come before
};

/// Whether pods of this template keep away from each other's hosts, whatever else is free there.
bool keep_apart(const Json& pod_template);

/// Whether pods take ports of their host, or its network: two on one host would be in each other's way.
bool has_host_ports(const Json& pod_spec);

/// Worst-case checks in closed form, not a scheduler. `title`: the component's, for the sentences.
Fit judge_fit(const cluster::Snapshot& snapshot, std::string_view title, const Json& pod_template,
              const std::vector<cluster::Node>& nodes, const Placement& placement);

/// Refuses where the new pods could not all be placed; where they could but for what the plan makes before, it is to
/// make less (Planner::crowd). Warns where fewer nodes take pods now than the level counts on,
/// or where other pods would be pushed out. What other pods request is asked for (Planner::want_usage) as long as it is
/// not known for enough nodes.
void check_placement(Planner& planner, std::string_view title, const Json& pod_template,
                     const std::vector<cluster::Node>& nodes, int replicas, const Placement& placement);

/// The same for a DaemonSet's new pods, one on each node that can run them and is ready, cordoned or not.
void check_daemons(Planner& planner, std::string_view title, const Json& pod_template,
                   const std::vector<cluster::Node>& nodes);

}  // namespace core_ha::ha

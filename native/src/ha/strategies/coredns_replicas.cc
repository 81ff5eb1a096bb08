// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_served.h"

namespace core_ha::ha {

void plan_replicas(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                   const std::vector<cluster::Node>& nodes) {
  plan_served(planner, coredns, nodes, sizing.min_replicas, Count::fixed);
}

}  // namespace core_ha::ha

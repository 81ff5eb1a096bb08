// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/coredns.h"
#include "ha/level.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// `autoscaling`: an overlay on the packaged Deployment, a HorizontalPodAutoscaler that holds the count, a
/// PodDisruptionBudget, and queries that prefer their own node's replica.
void plan_autoscaling(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                      const std::vector<cluster::Node>& nodes);

/// The `trafficDistribution` of Service kube-dns under autoscaling.
struct TrafficChoice {
  std::string value;    ///< empty: none
  std::string warning;  ///< why it is less than asked for; empty: it is not
};
TrafficChoice choose_traffic(const Spec& spec, const cluster::Snapshot& snapshot);

/// The nodes whose kube-proxy is too old to prefer its own node's replica, whatever the Service says.
std::vector<std::string> without_same_node(const std::vector<cluster::Node>& nodes);

/// `packaged`: CoreDNS as k3s ships it; nothing of ours is left. `coredns` may have no Deployment.
void plan_packaged(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes);

}  // namespace core_ha::ha

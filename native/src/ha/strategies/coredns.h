// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// `autoscaling`: an overlay on the packaged Deployment, a HorizontalPodAutoscaler that holds the count, a
/// PodDisruptionBudget, and queries that prefer their own node's replica.
void plan_autoscaling(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                      const std::vector<cluster::Node>& nodes);

/// `replicas`: the same with a count that is fixed instead of the autoscaler; one that drifted is put back.
void plan_replicas(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                   const std::vector<cluster::Node>& nodes);

/// `daemonset`: one replica per node that is to have one, from a DaemonSet of ours; the packaged Deployment has none.
void plan_daemonset(Planner& planner, const CoreDns& coredns, const Sizing& sizing);

/// `packaged`: CoreDNS as k3s ships it; nothing of ours is left. `coredns` may have no Deployment.
void plan_packaged(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "cluster/nodes.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/swap.h"

namespace core_ha::ha {

/// What comes first under every strategy of ours, here of so many replicas: which of them queries prefer, and words on
/// what this release cannot do. False where it is refused.
bool plan_service(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas);

/// Says what new pods are derived from, where that is not the Deployment as it stands: from what the release ships,
/// where it is ours or is to be, with what the wish says of pods.
void derive_pods(const Planner& planner, CoreDns& coredns);

/// Our whole set for the Deployment but its count: the overlay, under strategy custom with all that the release ships.
Json wished_deployment(const Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes);

/// What every strategy on the packaged Deployment has in common: what queries prefer, the
/// overlay with so many replicas, the PodDisruptionBudget. Refuses where it could not be carried out.
void plan_served(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas,
                 Count count);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ha/planner.h"
#include "ha/strategies/component.h"

namespace core_ha::ha {

inline const Component metrics_server{
    "metrics-server",
    "metrics-server",
    "metrics_server_strategy",
    "metrics-server",
    cluster::metrics_server_manifest,
    {"apps/v1", "Deployment", "kube-system", "metrics-server"},
    {"policy/v1", "PodDisruptionBudget", "kube-system", "k3s-core-ha-metrics-server"}};

/// `replicas`: two replicas that are never on one node, and a PodDisruptionBudget; where the cluster has no second node
/// for it, as k3s ships it. `packaged`: as k3s ships it, nothing of ours is left. A metrics-server that is not there,
/// or is not k3s's, is left alone.
void plan_metrics_server(Planner& planner);

/// How it stands, for people and programs: the strategy whose fields are there, replicas, ready, nodes.
Json metrics_server_stands(const Planner& planner);

}  // namespace core_ha::ha

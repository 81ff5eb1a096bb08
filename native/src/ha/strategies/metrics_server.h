// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ha/planner.h"
#include "ha/strategies/component.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

inline const Component metrics_server{"metrics-server",
                                      "metrics-server",
                                      "metrics_server_strategy",
                                      "metrics-server",
                                      cluster::metrics_server_manifest,
                                      {"apps/v1", "Deployment", "kube-system", "metrics-server"},
                                      {"policy/v1", "PodDisruptionBudget", "kube-system", "k3s-core-ha-metrics-server"},
                                      "metrics-server",
                                      &Spec::metrics_server_strategy};

/// `replicas`: two replicas that are never on one node, and a PodDisruptionBudget; where the cluster has no second node
/// for it, as k3s ships it. `helm`: from a chart. `packaged`: as k3s ships it, nothing of ours is left. A
/// metrics-server that is not there, or is not k3s's, is left alone. `chart`: what is to become of its chart; true
/// where something of that is to stay, or is left for now.
bool plan_metrics_server(Planner& planner, const ChartWay& chart);

/// How it stands, for people and programs: the strategy whose fields are there, replicas, ready, nodes.
Json metrics_server_stands(const Planner& planner);

}  // namespace core_ha::ha

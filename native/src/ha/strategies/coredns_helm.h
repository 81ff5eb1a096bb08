// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

/// The coredns chart's values with so many replicas: pods as k3s's are and behind its Service, its Corefile, and the
/// user's values over that; nothing where the plan is refused.
std::optional<Json> coredns_values(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                                   int replicas);

/// What is to become of CoreDNS's chart under the wish.
ChartWay design_coredns_chart(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes);

/// `helm`: the chart's Deployment serves behind k3s's own Service, and the packaged one has no replicas.
void plan_helm(Planner& planner, const CoreDns& coredns, const Sizing& sizing, const std::vector<cluster::Node>& nodes,
               const ChartWay& way);

/// Plans the way there from CoreDNS as observed, at whatever point an earlier run was stopped, without a moment in
/// which a query is lost. `deployment`: ours for the packaged Deployment; without fields: as k3s ships it. Nothing to
/// do plans nothing.
void plan_chart_serves(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                       const ChartWay& way, const Json& deployment);

}  // namespace core_ha::ha

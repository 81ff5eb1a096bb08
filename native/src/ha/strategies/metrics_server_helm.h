// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ha/planner.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

/// What is to become of metrics-server's chart under the wish.
ChartWay design_metrics_server_chart(Planner& planner);

/// `helm`: the chart's Deployment answers behind k3s's own Service and APIService, and the packaged one has no
/// replicas.
void plan_metrics_server_helm(Planner& planner, const ChartWay& way);

}  // namespace core_ha::ha

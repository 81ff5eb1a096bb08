// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "ha/planner.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

/// The spec of the pod of local-path-provisioner's chart, as the scheduler will see it: like the packaged Deployment's,
/// with what is wished of it, and kept apart from every other provisioner.
Json local_path_chart_pod(const Planner& planner, const Json& packaged);

/// Selects the chart's pods.
Json local_path_chart_selector();

/// What is to become of local-path-provisioner's chart under the wish.
ChartWay design_local_path_chart(Planner& planner);

/// Whether the Deployment that the chart has made has a pod of it start beside no other provisioner.
bool keeps_others_away(const Json& deployment);

/// A Deployment whose rollout waits for the end of the old pod, which waits for the new one: somebody else changed it.
bool stands_still(const Json& deployment);

}  // namespace core_ha::ha

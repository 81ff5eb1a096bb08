// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"

namespace core_ha::cluster {

/// An amount of what the scheduler counts.
struct Resources {
  double cpu = 0;     ///< cores
  double memory = 0;  ///< bytes
  double pods = 0;
};

/// `100m`, `70Mi`, `4`, `1e3` as a number; 0 for what is no quantity.
double parse_quantity(std::string_view text);

/// What the scheduler sets aside for a pod of this spec, one pod slot included.
Resources requests_of(const Json& pod_spec);

/// What a node offers to pods.
Resources allocatable_of(const Json& node);

/// Sums up what running pods request: for each node a list of {priority, cpu, memory, pods}.
Json sum_usage(const Json& pods);

/// Reads the pods of these nodes that have not ended, in parallel, and adds their sums to the snapshot's usage. Not
/// part of observe: only a plan that brings pods somewhere needs it, and only for some nodes.
Result<void> observe_usage(kube::Client& client, Snapshot& snapshot, const std::vector<std::string>& nodes);

}  // namespace core_ha::cluster

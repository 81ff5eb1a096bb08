// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <map>
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

/// What running pods request: for each node a list of {priority, cpu, memory, pods}.
class UsageSums {
 public:
  void add(const Json& pods);
  Json to_json() const;

 private:
  std::map<std::string, std::map<int, Resources>> sums_;
};

/// Reads the pods that have not ended, page by page, and puts their sums into the snapshot's usage for every node. Not
/// part of observe: in a large cluster these are most of the API's data, and only a saved snapshot needs them all.
Result<void> observe_all_usage(kube::Client& client, Snapshot& snapshot);

/// The same for these nodes alone, in parallel: what a plan that brings pods somewhere needs.
Result<void> observe_usage(kube::Client& client, Snapshot& snapshot, const std::vector<std::string>& nodes);

}  // namespace core_ha::cluster

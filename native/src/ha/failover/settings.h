// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/snapshot.h"

namespace core_ha::ha {

/// What a server was started with, as its node's annotation tells; absent where that is not there or not readable.
struct ServerTimers {
  std::string name;
  std::optional<int> grace_period = {};        ///< seconds
  std::optional<int> monitor_period = {};      ///< seconds
  std::optional<int> toleration_seconds = {};  ///< of pods that this API server admits
  std::optional<bool> etcd_voter = {};         ///< whether it is a voter of etcd; absent where it runs none
  std::string url = {};                        ///< of its own API
};

/// The fail-over timers in force in a cluster.
struct FailoverSettings {
  std::vector<ServerTimers> servers;       ///< those that are nodes
  std::optional<std::string> holder = {};  ///< the node that holds the controller manager's Lease, if it is told

  /// Whether controller managers elect a leader: a single server's does not.
  bool elected() const { return servers.size() > 1; }
};

/// The servers' timers, and who holds the controller manager's Lease where the snapshot has Leases.
FailoverSettings failover_settings(const cluster::Snapshot& snapshot);

/// Seconds of a node's own Lease, as its kubelet wrote it; nothing where the snapshot has no Leases.
std::optional<int> lease_duration(const cluster::Snapshot& snapshot, const std::string& node);

/// A duration as Go writes it (`20s`, `1m30s`, `500ms`), in seconds, rounded up; nothing for anything else.
std::optional<int> go_seconds(std::string_view text);

}  // namespace core_ha::ha

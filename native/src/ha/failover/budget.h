// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/failover/profile.h"

namespace core_ha::ha {

/// At least and at most, in seconds after a node's death.
struct Span {
  int from = 0;
  int to = 0;
};

Json to_json(Span span);

/// What a death is noticed by: the timers of the controller managers that may be in charge then, and of the dead node.
struct NodeMonitor {
  Span grace_period{usual_grace_period, usual_grace_period};
  Span monitor_period{usual_monitor_period, usual_monitor_period};
  int lease_duration = usual_lease_duration;
};

/// By the servers' settings, whichever of them is in charge, and a node's Lease as Kubernetes has it.
NodeMonitor node_monitor(const cluster::Snapshot& snapshot);

/// When the node turns Ready=Unknown, and its pods' endpoints go. `lease_holder`: it dies with the controller manager
/// that would have noticed, so that another has to take the Lease first, and starts the grace period afresh.
Span detected(const NodeMonitor& monitor, bool lease_holder);

/// When the pods on it are deleted, and when their replacements serve.
Span evicted(Span detected, Span toleration_seconds);
Span replaced(Span evicted);

/// The budget of one profile for any cluster of several servers: for `node_death` and `lease_holder_death` the spans
/// `detected`, `evicted`, `replaced`, as [min, max] seconds.
Json budget(const FailoverTimers& timers);

/// The budget of a cluster for the settings in force: `servers` with their timers (null: not known), whether each is a
/// voter of etcd (null: it runs none) and its API's URL, `lease_holder` (null: not known), `nodes` with a span per
/// phase, null where it lasts until the node is back, and `warnings`.
Json budget(const cluster::Snapshot& snapshot);

}  // namespace core_ha::ha

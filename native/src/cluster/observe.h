// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"
#include "kube/object_ref.h"

namespace core_ha::cluster {

/// Reads the cluster once, in parallel. A group that is not served is an empty list; any other failure is the result.
/// `extras`: Deployments of the user's. Where there are any of them, or any that carries fields of ours, their pods,
/// claims, budgets and autoscalers are read in a second round.
Result<Snapshot> observe(kube::Client& client, const std::vector<kube::ObjectRef>& extras = {});

/// Reads who holds the controller manager's Lease, and what each node's own says. Not part of observe: a plan needs
/// none.
Result<void> observe_leases(kube::Client& client, Snapshot& snapshot);

}  // namespace core_ha::cluster

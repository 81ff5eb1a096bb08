// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"
#include "kube/object_ref.h"

namespace core_ha::cluster {

/// What is read beside k3s's own components.
struct Asked {
  std::vector<kube::ObjectRef> deployments = {};  ///< of the user's
  std::set<std::string> charts = {};              ///< by their names: what is of these Helm charts alone
};

/// Reads the cluster once, in parallel. A group that is not served is an empty list; any other failure is the result.
/// Where Deployments of the user's are asked for, or any carries fields of ours, their pods, claims, budgets and
/// autoscalers are read in a second round.
Result<Snapshot> observe(kube::Client& client, const Asked& asked = {});

/// Reads what is of these Helm charts alone into a snapshot that was made without.
Result<void> observe_charts(kube::Client& client, Snapshot& snapshot, const std::set<std::string>& charts);

/// Reads who holds the controller manager's Lease, and what each node's own says. Not part of observe: a plan needs
/// none.
Result<void> observe_leases(kube::Client& client, Snapshot& snapshot);

}  // namespace core_ha::cluster

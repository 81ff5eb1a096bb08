// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"

namespace core_ha::cluster {

/// Reads the cluster once, in parallel; what is traefik's alone only if asked. A group that is not served is an empty
/// list; any other failure is the result.
Result<Snapshot> observe(kube::Client& client, bool traefik = false);

/// Reads what is traefik's alone into a snapshot that was made without.
Result<void> observe_traefik(kube::Client& client, Snapshot& snapshot);

/// Reads who holds the controller manager's Lease, and what each node's own says. Not part of observe: a plan needs
/// none.
Result<void> observe_leases(kube::Client& client, Snapshot& snapshot);

}  // namespace core_ha::cluster

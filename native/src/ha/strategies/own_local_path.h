// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// The manifest of ours (see absent.h), with the registry and the directory that k3s would fill in. Its StorageClass is
/// the default where no other one is.
Json own_local_path_objects(const cluster::Snapshot& snapshot);

/// Its Deployment, as k3s would have it.
Json own_local_path_deployment(const cluster::Snapshot& snapshot);

/// What local-path-provisioner has besides its Deployment: ours where k3s ships none and strategy custom makes one; no
/// longer ours where k3s ships it; gone where no Deployment is left.
void plan_beside_local_path(Planner& planner);

}  // namespace core_ha::ha

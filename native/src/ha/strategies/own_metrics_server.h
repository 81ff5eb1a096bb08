// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/planner.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// The manifest of ours (see absent.h), with the registry and the kinds of addresses that k3s would fill in.
Json own_metrics_server_objects(const cluster::Snapshot& snapshot);

/// What metrics-server has besides its Deployment: ours where k3s ships none and strategy custom makes one; no longer
/// ours where k3s ships it; gone where nothing is left to ask. k3s has each in a manifest of its own, which is never
/// set aside. `last`: the APIService, by which the API server asks it, or else the rest.
void plan_beside_metrics_server(Planner& planner, bool last);

/// The id of the step for one of these objects.
std::string beside_metrics_server_id(const kube::ObjectRef& ref);

}  // namespace core_ha::ha

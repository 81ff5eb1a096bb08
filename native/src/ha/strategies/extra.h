// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "ha/planner.h"

namespace core_ha::ha {

/// Deployments that the user names (`extra_deployments`): several replicas, spread over hosts and zones as far as that
/// can be had, and a PodDisruptionBudget. One that was named and is no more gets back what it had.
void plan_extras(Planner& planner);

/// The same from a change that failed to how things were before it.
void plan_extras_back(Planner& planner, const Planner& earlier);

/// How those stand that are named, or carry fields of ours: by `namespace/name`.
Json extras_stand(const Planner& planner);

}  // namespace core_ha::ha

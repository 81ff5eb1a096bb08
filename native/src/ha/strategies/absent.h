// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/planner.h"
#include "ha/strategies/component.h"

namespace core_ha::ha {

/// Where every server was started with --disable of a component, and so none stages its manifest: puts one of ours in
/// that one's place, for strategy custom to build on, with what k3s would fill in.
void stage_own(cluster::Snapshot& snapshot);

/// Whether that is so.
bool ships_none(const cluster::Snapshot& snapshot, const Component& component);

/// Where there is none, the component's Deployment as strategy custom is to make it; else null.
const Json* to_make(const Planner& planner, const Component& component);

/// Makes it: `body` is our whole set for the Deployment, but for the count; with its PodDisruptionBudget.
void plan_making(Planner& planner, const Component& component, Json body, int replicas);

/// An object of ours beside the component's Deployment, whose manifest k3s never sets aside with that one's: made where
/// k3s ships none and strategy custom makes one; no longer ours where k3s ships it; gone where no Deployment is left.
void plan_beside(Planner& planner, const Component& component, const std::string& id, const Json& object);

/// That there is none, why, and what would make one: a sentence.
std::string missing_words(const Planner& planner, const Component& component);

}  // namespace core_ha::ha

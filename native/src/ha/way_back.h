// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "cluster/snapshot.h"
#include "ha/plan.h"

namespace core_ha::ha {

/// The steps that lead from wherever a change was stopped back to how things were before it: our fields, our objects,
/// the count of replicas and the wish that is kept. What was there already is not judged anew: no sizing and no
/// placement refuses it.
Plan plan_way_back(const cluster::Snapshot& before, const cluster::Snapshot& now);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "ha/planner.h"
#include "ha/strategies/component.h"

namespace core_ha::ha {

/// Plans the way of a component's Deployment to the target by its ordinary rollout: scale out, wait, change the
/// template, wait, scale in. For components whose clients ask again, unlike those of DNS (see swap.h). Nothing to do
/// plans nothing.
void plan_rollout(Planner& planner, const Component& component, const Json& deployment, const Target& target);

}  // namespace core_ha::ha

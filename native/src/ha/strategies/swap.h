// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/planner.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// Plans the way from CoreDNS as observed, at whatever point an earlier run was stopped, to the target, without a
/// moment in which a query is lost; one without room for it, where pods end gently, rolls instead, with a warning.
/// Nothing to do plans nothing. `nodes` are judged for CoreDNS's pods; `gentle`: pods of the target end gently;
/// `makes_room`: of the pods that go, the one in whose place a new one is to come. Tells which pods it asks the
/// scheduler to place.
Placement plan_swap(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                    const Target& target, bool gentle, const CoreDnsPod* makes_room = nullptr);

}  // namespace core_ha::ha

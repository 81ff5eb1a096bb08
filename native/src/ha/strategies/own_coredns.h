// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "cluster/snapshot.h"
#include "ha/placement/level.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// Where every server was started with `--disable coredns`, and so none stages a manifest of it: puts one of ours in
/// that one's place, for strategy custom to build on, with the addresses, the domain, the registry and the nodes' names
/// that k3s would fill in.
void stage_own_coredns(cluster::Snapshot& snapshot);

/// Whether that is so, and CoreDNS is to be made from it.
bool ships_own_coredns(const Planner& planner);

/// Where none is there, has `coredns` be what is to be made, with no pods yet.
void view_absent(const Planner& planner, CoreDns& coredns);

/// Makes it at once as strategy custom has it; what else that strategy needs, an autoscaler say, the look at the run's
/// end finds to do.
void plan_own_coredns(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                      const std::vector<cluster::Node>& nodes);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/nodes.h"
#include "cluster/snapshot.h"
#include "ha/placement/level.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// The manifest of ours (see absent.h), with the addresses, the domain, the registry and the nodes' names that k3s
/// would fill in.
Json own_coredns_objects(const cluster::Snapshot& snapshot);

/// `IP name` of each address of each node, a line each, as k3s writes it.
std::string node_hosts_of(const cluster::Snapshot& snapshot);

/// Where none is there, has `coredns` be what is to be made, with no pods yet.
void view_absent(const Planner& planner, CoreDns& coredns);

/// Makes it at once as strategy custom has it; what else that strategy needs, an autoscaler say, the look at the run's
/// end finds to do.
void plan_absent(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                 const std::vector<cluster::Node>& nodes);

}  // namespace core_ha::ha

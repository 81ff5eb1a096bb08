// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ha/plan.h"
#include "ha/simulated_cluster_testing.h"

namespace core_ha::ha::testing {

inline const Spec autoscaling;
inline const Spec packaged = packaged_spec();
/// CoreDNS as k3s ships it, so that the steps are another component's.
inline const Spec shipped_dns{.coredns_strategy = "packaged"};
inline const Spec by_replicas{.coredns_strategy = "replicas"};

/// A wish that parse_spec takes.
Spec wish(const Json& document = Json::object());

/// The steps' ids, without those that keep the wish itself.
std::vector<std::string> ids(const Plan& plan);

/// The sentence of a plan that is refused with this exit status.
std::string refusal_of(const Plan& plan, ExitStatus status);

void carry_out(SimulatedCluster& cluster, const Plan& plan, std::size_t steps = SIZE_MAX);

/// Plans and carries out; nothing may be lost, and the next plan must be empty.
void reach(SimulatedCluster& cluster, const Spec& spec);

/// The way between two wishes, from a cluster that is at the one, stopped after each number of steps: by `arrive` the
/// next run, to either, comes to its end, and so does a failed one, to what was. `meanwhile`: what happens before that
/// run.
void stop_anywhere(
    const SimulatedCluster& start, const Spec& from, const Spec& to,
    const std::function<void(SimulatedCluster&, const Spec&)>& arrive,
    const std::function<void(SimulatedCluster&)>& meanwhile = [](SimulatedCluster&) {});

/// So many replicas of ours, and nothing half-way; with or without an autoscaler.
void check_ours(const SimulatedCluster& cluster, int replicas, bool autoscaler = true);

/// A replica of our DaemonSet on so many nodes, nothing half-way, and the packaged Deployment out of the way.
void check_daemons(const SimulatedCluster& cluster, int nodes);

/// Somebody else's autoscaler `dns` scales CoreDNS.
void add_foreign_autoscaler(SimulatedCluster& cluster);

/// As k3s ships it; nothing of ours is left.
void check_packaged(const SimulatedCluster& cluster);

}  // namespace core_ha::ha::testing

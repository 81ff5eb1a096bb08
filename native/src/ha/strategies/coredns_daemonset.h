// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "cluster/nodes.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// Our DaemonSet's whole set, its pods' template derived from the live packaged one.
Json daemonset_body(const CoreDns& coredns, const Spec& spec, int minor);

/// Every registered node, judged for pods of that template wherever the control plane is.
std::vector<cluster::Node> judge_daemon_nodes(const cluster::Snapshot& snapshot, const CoreDns& coredns,
                                              const Spec& spec);

/// Where CoreDNS is to be: a DaemonSet serves, and the packaged Deployment has no replicas.
struct DaemonTarget {
  Json daemonset;   ///< our whole set
  Json deployment;  ///< ours for the Deployment; without fields: as k3s ships it
};

/// Plans the way there from CoreDNS as observed, at whatever point an earlier run was stopped, without a moment in
/// which a query is lost. Nothing to do plans nothing. `nodes`: all of them. True when new pods are to come up.
bool plan_daemons(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                  const DaemonTarget& target);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// The `trafficDistribution` of Service kube-dns under any strategy of ours.
struct TrafficChoice {
  std::string value;    ///< empty: none
  std::string warning;  ///< why it is less than asked for; empty: it is not
  int among = 1;        ///< of how many replicas a client without one on its node is sent to one, at the least
};

/// For so many replicas, evenly spread. Where nodes are in several zones, kube-proxy keeps a client that prefers what
/// is near to the replicas of its zone, however few (topologyModeFromHints in Kubernetes' pkg/proxy/topology.go). So
/// `auto` prefers there only where every node has a replica: else the death of one could cost a client everything.
TrafficChoice choose_traffic(const Spec& spec, const cluster::Snapshot& snapshot, int replicas);

/// The nodes whose kube-proxy is too old to prefer its own node's replica, whatever the Service says.
std::vector<std::string> without_same_node(const std::vector<cluster::Node>& nodes);

/// Has k3s know a Service for its own that it did not make, as ours from while it shipped none: without its marks it
/// would create one at each of its starts, and fail at that every 15 s from then on, for the address is taken.
void plan_service_marks(Planner& planner);

/// A Service that is missing, as k3s ships it and knows it for its own.
Json missing_service(const Planner& planner);

/// To be planned first of all: clients that keep their source port choose a replica anew when the old pods' endpoints
/// go, and keep that one. By then each is to prefer its own node's.
void plan_traffic(Planner& planner, const std::vector<cluster::Node>& nodes, int replicas);

}  // namespace core_ha::ha

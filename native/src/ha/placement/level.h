// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/plan.h"
#include "ha/spec.h"

namespace core_ha::ha {

/// What level and counts the cluster allows, or why the wish is refused.
struct Sizing {
  Level level;
  int min_replicas = 1;  ///< under strategy replicas, and from a DaemonSet, the count itself
  int max_replicas = 5;
  std::vector<std::string> warnings;
  std::optional<Error> refusal;
};

/// Chooses the level and CoreDNS's counts for these nodes. Pure arithmetic over registered nodes: one that is down, or
/// drained, counts until it was not heard of for longer than the spec says.
Sizing size_coredns(const Spec& spec, const std::vector<cluster::Node>& nodes);

/// The same for CoreDNS from a DaemonSet, one replica per node that is to have one. `nodes` are judged for its pods
/// without regard to the control plane.
Sizing size_daemonset(const Spec& spec, const std::vector<cluster::Node>& nodes);

/// The same for metrics-server, whose replicas are never on one node: 2, where there are two for it. Only
/// `min_replicas` and `refusal` are filled in: the level is CoreDNS's.
Sizing size_metrics_server(const Spec& spec, const std::vector<cluster::Node>& nodes);

/// The same for a Deployment of the user's, which has so many replicas, or had before we came: 2 where two hosts can
/// run it, or those. Where its pods keep apart, or each needs its host's ports, more than hosts are refused.
Sizing size_extra(const Spec& spec, const ExtraDeployment& extra, const std::vector<cluster::Node>& nodes, int had,
                  bool one_per_host);

/// The same for local-path-provisioner, of whose replicas one is active: 2 on different ones of the nodes that carry
/// the helper, where there are as many. `min_replicas` 0: there is nothing to be had, as where one node is all there
/// is. `eligible`: nodes that can run it, with the helper or without.
Sizing size_local_path(const Spec& spec, const std::vector<cluster::Node>& carriers, int eligible);

/// The same for traefik, whose spread is soft: 2 where there are two nodes for it, or what values say. `given`: the
/// count in values of others, which is not lowered; `wished`: in the user's own; 0: none.
Sizing size_traefik(const Spec& spec, const std::vector<cluster::Node>& nodes, int given, int wished);

}  // namespace core_ha::ha

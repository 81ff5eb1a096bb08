// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "ha/planner.h"
#include "ha/strategies/component.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

inline const Component local_path{"local-path-provisioner",
                                  "local-path-provisioner",
                                  "local_path_provisioner_strategy",
                                  "local-storage",
                                  "",
                                  {"apps/v1", "Deployment", "kube-system", "local-path-provisioner"},
                                  {},
                                  "local-path-provisioner",
                                  &Spec::local_path_provisioner_strategy};
/// What serves in its place: our Deployment, what its pods may do, and the Lease by which one of them is active.
inline const kube::ObjectRef local_path_standby{"apps/v1", "Deployment", "kube-system",
                                                "k3s-core-ha-local-path-provisioner"};
inline const kube::ObjectRef local_path_role{"rbac.authorization.k8s.io/v1", "Role", "kube-system",
                                             local_path_standby.name};
inline const kube::ObjectRef local_path_role_binding{"rbac.authorization.k8s.io/v1", "RoleBinding", "kube-system",
                                                     local_path_standby.name};
inline const kube::ObjectRef local_path_lease{"coordination.k8s.io/v1", "Lease", "kube-system",
                                              local_path_standby.name};

/// Where nodes that carry the helper have it.
inline constexpr const char* helper_path = "/usr/local/bin/k3s-core-ha";

/// The packaged Deployment with what is wished of its pods, and without what keeps it set aside: what others are
/// derived from.
Json local_path_model(const Planner& planner, const Json& packaged);

/// `replicas`: several from a Deployment of ours, of which one is active while it holds a Lease; the packaged one has
/// none and can have none. Where no node carries the helper, or there is only one node, as k3s ships it. `helm`: one,
/// from its chart, in the place of the packaged one. `custom`: as `replicas`, also where every server was started with
/// --disable local-storage, from a manifest of ours. `packaged`: as k3s ships it, nothing of ours is left. One that is
/// not there, or is not k3s's, is left alone. `carriers`: as make_plan has it. False: nothing of the chart is to be
/// left.
bool plan_local_path(Planner& planner, const std::vector<std::string>& carriers, const ChartWay& chart);

/// Back to what was before a change.
void plan_local_path_back(Planner& planner, const Planner& earlier);

/// How it stands, for people and programs: the strategy whose objects are there, replicas, ready, nodes, and the pod
/// that holds the Lease.
Json local_path_stands(const Planner& planner);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_view.h"

#include <algorithm>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/plan.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

namespace {

const Json& labels_of(const Json& object) {
  static const Json none = Json::object();
  const auto it = object["metadata"].find("labels");
  return it != object["metadata"].end() && it->is_object() ? *it : none;
}

/// uid of the controller that owns the object; empty: none.
std::string controller_of(const Json& object) {
  for (const auto& owner : object["metadata"].value("ownerReferences", Json::array()))
    if (owner.value("controller", false)) return owner.value("uid", "");
  return {};
}

bool ending(const Json& object) {
  return object["metadata"].contains("deletionTimestamp");
}

/// Also one that a swap has taken the label from.
bool of_coredns(const Json& pod) {
  const Json& labels = labels_of(pod);
  return labels.value("k8s-app", "") == "kube-dns" || labels.contains(cluster::retiring_label);
}

}  // namespace

bool ends_gently(const Json& pod_spec) {
  const auto containers = pod_spec.find("containers");
  if (containers == pod_spec.end()) return false;
  return std::any_of(containers->begin(), containers->end(), [](const Json& container) {
    const auto lifecycle = container.find("lifecycle");
    return lifecycle != container.end() && lifecycle->contains("preStop");
  });
}

bool CoreDns::served_by_daemons() const {
  return daemonset != nullptr || std::any_of(pods.begin(), pods.end(), [](const auto& pod) { return pod.daemonic; });
}

CoreDns view_coredns(const cluster::Snapshot& snapshot) {
  CoreDns view;
  view.deployment = cluster::find_named(snapshot.deployments, coredns_deployment.name);
  view.daemonset = cluster::find_named(snapshot.daemonsets, coredns_daemonset.name);
  const std::string uid = view.deployment == nullptr ? "" : (*view.deployment)["metadata"].value("uid", "");
  const bool charted = own_chart(snapshot, coredns_chart) != nullptr;
  if (charted) view.chart = cluster::find_named(snapshot.deployments, coredns_chart.chart.name);
  for (const auto& object : snapshot.replicasets) {
    if (charted && labels_of(object).value("app.kubernetes.io/instance", "") == coredns_chart.chart.name) {
      CoreDnsReplicaSet set{
          .ref = kube::ref_of(object), .uid = object["metadata"].value("uid", ""), .deleting = ending(object)};
      view.chart_sets.insert(object["spec"].value("replicas", 0) > 0 ? view.chart_sets.end() : view.chart_sets.begin(),
                             std::move(set));
    }
    if (uid.empty() || controller_of(object) != uid) continue;
    const bool pods =
        object["spec"].value("replicas", 0) > 0 || object.value("status", Json::object()).value("replicas", 0) > 0;
    if (!pods && !ending(object)) continue;
    view.replica_sets.push_back({.ref = kube::ref_of(object),
                                 .uid = object["metadata"].value("uid", ""),
                                 .gentle = ends_gently(object["spec"]["template"]["spec"]),
                                 .deleting = ending(object)});
  }
  for (const auto& object : snapshot.pods) {
    const std::string phase = object.value("status", Json::object()).value("phase", "");
    if (ending(object) || !of_coredns(object)) continue;
    const bool ended = phase == "Succeeded" || phase == "Failed";
    const Json& labels = labels_of(object);
    const std::string maker = object["metadata"].value("generateName", "");
    const std::string owner = controller_of(object);
    const bool of_chart = std::any_of(view.chart_sets.begin(), view.chart_sets.end(),
                                      [&](const auto& set) { return !owner.empty() && set.uid == owner; });
    (ended ? view.ended : view.pods)
        .push_back({.ref = kube::ref_of(object),
                    .uid = object["metadata"].value("uid", ""),
                    .owner = owner,
                    .gentle = ends_gently(object["spec"]),
                    .retiring = labels.contains(cluster::retiring_label),
                    .hashed = labels.contains("pod-template-hash"),
                    .daemon = labels.value(cluster::component_label, "") == component_value,
                    .made = maker.starts_with("coredns-"),
                    .daemonic = maker == coredns_daemonset.name + "-",
                    .charted = of_chart,
                    .chartic = maker.starts_with(coredns_chart.chart.name + "-"),
                    .serves = labels.contains("k8s-app"),
                    .ready = cluster::is_ready(object),
                    .node = object["spec"].value("nodeName", "")});
  }
  return view;
}

}  // namespace core_ha::ha

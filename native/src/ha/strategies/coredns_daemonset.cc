// SPDX-License-Identifier: GPL-3.0-or-later
//
// One pod per node is what a Deployment cannot promise, and a DaemonSet of k3s's own there is none. So it is one of
// ours, with the pods' template of the live Deployment: a release of k3s that ships another image changes the
// Deployment, which has no replicas, and the next run takes the new template over.
//
// The way there. The new pods come up beside the old ones, and when they answer, these are taken out of the
// Deployment's hands and retired as in swap.cc:
//
//   1. make the DaemonSet, and wait for it;
//   2. pause the Deployment, delete its ReplicaSet and leave the pods to themselves (propagation Orphan);
//   3. set the count to 0: a ReplicaSet would end its pods for that, and there is none any more;
//   4. take the pods' hash label, so that the ReplicaSet of 0 that the Deployment makes when it goes on does not adopt
//      them, and end the pause: no field of ours is left in k3s's Deployment;
//   5. retire the pods.
//
// Another template goes the same way, for what a DaemonSet's own rollout costs clients that use a source port again,
// and for the nodes that it leaves: it would end their pods at once. The DaemonSet is deleted with propagation Orphan,
// its pods lose our component's label, by which the next one would adopt them, and the next one is made.
//
// The way out is a swap (swap.cc): the DaemonSet owns its pods until the Deployment serves. What it ships besides, the
// ControllerRevisions of its templates, stays behind when it is deleted with Orphan, and is deleted, too.
//
// Steps 2 to 4 are coredns_aside.cc's, for whatever serves instead.
#include "ha/strategies/coredns_daemonset.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cluster/managed_fields.h"
#include "ha/placement/capacity.h"
#include "ha/placement/words.h"
#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_aside.h"
#include "ha/strategies/coredns_overlay.h"
#include "ha/strategies/coredns_served.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/retire.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr const char* control_plane_label = "node-role.kubernetes.io/control-plane";

Json daemon_template(const CoreDns& coredns, const Spec& spec, bool control_plane, int minor) {
  Json pod_template = coredns.pod_template();
  Json& metadata = pod_template["metadata"];
  metadata.erase("creationTimestamp");
  metadata["labels"].erase("pod-template-hash");
  metadata["labels"][cluster::component_label] = component_value;
  Json& pod = pod_template["spec"];
  pod = wished_pod_spec(coredns.model(), spec);
  pod.erase("topologySpreadConstraints");
  pod["terminationGracePeriodSeconds"] = coredns_grace_period(coredns);
  if (control_plane) narrow_nodes(pod, Json::array({{{"key", control_plane_label}, {"operator", "Exists"}}}));
  if (minor >= pre_stop_sleep_minor)
    coredns_container(pod)["lifecycle"]["preStop"] = {{"sleep", {{"seconds", pre_stop_seconds}}}};
  return pod_template;
}

bool updating_daemons(const Json& daemonset) {
  const Json status = daemonset.value("status", Json::object());
  return daemonset["metadata"].value("generation", 0) > status.value("observedGeneration", 0) ||
         status.value("updatedNumberScheduled", 0) < status.value("desiredNumberScheduled", 0);
}

class Daemons {
 public:
  Daemons(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, const DaemonTarget& target)
      : planner_(planner),
        coredns_(coredns),
        nodes_(nodes),
        target_(target),
        aside_(planner, coredns, target.deployment, "the DaemonSet's serve"),
        pods_stay_(coredns.daemonset != nullptr && keeps_template(*coredns.daemonset, target.daemonset)) {}

  bool plan() {
    if (aside_.refuse()) return false;
    for (const auto& pod : coredns_.pods)
      if (leaves(pod)) leaving_.push_back(&pod);
    bring_in();
    if (!pods_stay_ || !leaving_.empty() || !aside_.done() || updating_daemons(*coredns_.daemonset))
      planner_.add({.id = "coredns-daemons",
                    .action = Action::wait_rollout,
                    .object = coredns_daemonset,
                    .reason = "a replica of the wished template is available on every node that is ready"});
    plan_freeing_chart(planner_, coredns_);
    aside_.plan(leaving_);
    plan_retirement(planner_, leaving_, nodes_);
    clear_ended();
    return !pods_stay_;
  }

 private:
  bool of_daemonset(const CoreDnsPod& pod) const {
    return coredns_.daemonset != nullptr && pod.owner == coredns_.daemonset_uid();
  }

  bool leaves(const CoreDnsPod& pod) const {
    if (of_daemonset(pod)) return !pods_stay_;
    const bool of_deployment = std::any_of(coredns_.replica_sets.begin(), coredns_.replica_sets.end(),
                                           [&](const auto& set) { return set.uid == pod.owner; });
    const bool about_to_be_adopted = pods_stay_ && pod.daemon && pod.serves && !pod.retiring;
    return of_deployment || pod.charted || (left_over(pod) && !about_to_be_adopted);
  }

  void bring_in() {
    if (pods_stay_ && keeps_rest(*coredns_.daemonset, target_.daemonset)) {
      planner_.wish(target_.daemonset);
    } else {
      if (!pods_stay_) {
        plan_freeing_daemons(planner_, coredns_);
        for (const auto* pod : leaving_)
          if (pod->daemon)
            plan_labels(planner_, "forget-" + pod->ref.name, *pod,
                        {{cluster::component_label, nullptr}, {cluster::retiring_label, "true"}},
                        "the new DaemonSet must not adopt it");
      }
      planner_.apply("coredns-daemonset", target_.daemonset, "a replica on every node that is to have one");
    }
    for (const auto& pod : coredns_.pods)
      if (of_daemonset(pod) && pods_stay_ && pod.retiring)
        plan_labels(planner_, "keep-" + pod.ref.name, pod, {{cluster::retiring_label, nullptr}},
                    "it stays: a change that was to replace it was not finished");
  }

  void clear_ended() {
    std::vector<const CoreDnsPod*> gone;
    for (const auto& pod : coredns_.ended)
      if (leaves(pod)) gone.push_back(&pod);
    plan_clearing(planner_, gone);
  }

  Planner& planner_;
  const CoreDns& coredns_;
  const std::vector<cluster::Node>& nodes_;
  const DaemonTarget& target_;
  const CoreDnsAside aside_;
  const bool pods_stay_;
  std::vector<const CoreDnsPod*> leaving_;
};

}  // namespace

Json daemonset_body(const CoreDns& coredns, const Spec& spec, int minor) {
  Json body = apply_body(coredns_daemonset);
  body["metadata"]["labels"] = own_labels(component_value);
  body["spec"] = {
      {"revisionHistoryLimit", 0},
      {"selector", {{"matchLabels", {{"k8s-app", "kube-dns"}, {cluster::component_label, component_value}}}}},
      {"updateStrategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 1}, {"maxUnavailable", 0}}}}},
      {"template", daemon_template(coredns, spec, spec.coredns_daemonset_nodes == "control_plane", minor)}};
  return body;
}

std::vector<cluster::Node> judge_daemon_nodes(const cluster::Snapshot& snapshot, const CoreDns& coredns,
                                              const Spec& spec) {
  return cluster::judge_nodes(snapshot, daemon_template(coredns, spec, false, snapshot.minor())["spec"],
                              spec.zone_label);
}

bool plan_daemons(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                  const DaemonTarget& target) {
  return Daemons(planner, coredns, nodes, target).plan();
}

void plan_daemonset(Planner& planner, const CoreDns& coredns, const Sizing& sizing) {
  const Json body = daemonset_body(coredns, planner.spec, planner.snapshot.minor());
  const Json& pod_template = body["spec"]["template"];
  const auto nodes = cluster::judge_nodes(planner.snapshot, pod_template["spec"]);
  if (!plan_service(planner, coredns, nodes, sizing.min_replicas)) return;
  planner.fix_count(coredns_deployment, 0);
  planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count follows the nodes");
  planner.remove_own("coredns-budget", coredns_budget, "none can be kept over a DaemonSet's pods");
  const Json nothing = apply_body(coredns_deployment);
  const HandBack back = hand_back(planner, *coredns.deployment, nothing);
  if (back.disowns) planner.set_aside(coredns_deployment);
  const bool comes = plan_daemons(planner, coredns, nodes, {.daemonset = body, .deployment = back.body});
  if (back.disowns) planner.disown("coredns-back", nothing);
  if (comes) check_daemons(planner, coredns_component.title, pod_template, nodes);
  std::vector<std::string> absent;
  for (const auto& node : nodes)
    if (node.eligible() && !node.ready) absent.push_back(node.name);
  if (!absent.empty())
    planner.warn(
        fmt::format("Not ready, so CoreDNS comes up there when they are, and is not waited for: {}.", few(absent)));
}

}  // namespace core_ha::ha

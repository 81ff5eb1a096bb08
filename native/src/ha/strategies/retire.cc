// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/retire.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

namespace {

constexpr std::chrono::seconds proxies_follow{8};

/// A dead node's kubelet confirms no deletion: such a pod goes when the node is back, or is removed.
bool on_living_node(const CoreDnsPod& pod, const std::vector<cluster::Node>& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node.name == pod.node && node.ready; });
}

}  // namespace

bool left_over(const CoreDnsPod& pod) {
  return pod.owner.empty() && (pod.retiring || pod.hashed || pod.made || pod.daemonic);
}

void plan_labels(Planner& planner, std::string id, const CoreDnsPod& pod, const Json& labels, std::string reason) {
  planner.add({.id = std::move(id),
               .action = Action::patch,
               .object = pod.ref,
               .reason = std::move(reason),
               .body = {{"metadata", {{"labels", labels}}}},
               .uid = pod.uid});
}

void plan_freeing(Planner& planner, const std::vector<const CoreDnsReplicaSet*>& sets) {
  for (const auto* set : sets) {
    if (!set->deleting)
      planner.add({.id = "free-" + set->ref.name,
                   .action = Action::remove,
                   .object = set->ref,
                   .reason = "its pods go on serving by themselves, so that no rollout ends them too early",
                   .uid = set->uid,
                   .propagation = "Orphan"});
    planner.add({.id = "freed-" + set->ref.name,
                 .action = Action::wait_gone,
                 .object = set->ref,
                 .reason = "its pods have no owner any more",
                 .uid = set->uid});
  }
}

void plan_freeing_daemons(Planner& planner, const CoreDns& coredns) {
  if (coredns.daemonset == nullptr) return;
  planner.unguard(coredns_daemonset);
  planner.remove_own("free-" + coredns_daemonset.name, coredns_daemonset,
                     "its pods go on serving by themselves, so that it ends none too early", "Orphan");
  planner.add({.id = "freed-" + coredns_daemonset.name,
               .action = Action::wait_gone,
               .object = coredns_daemonset,
               .reason = "its pods have no owner any more",
               .uid = coredns.daemonset_uid()});
}

void plan_freeing_chart(Planner& planner, const CoreDns& coredns) {
  const auto ref = coredns_chart.chart.deployment();
  const std::string uid = coredns.chart == nullptr ? "" : (*coredns.chart)["metadata"].value("uid", "");
  if (coredns.chart != nullptr && !(*coredns.chart)["spec"].value("paused", false))
    planner.add({.id = "pause-" + ref.name,
                 .action = Action::patch,
                 .object = ref,
                 .reason = "it makes no new ReplicaSet when it loses the one that it has",
                 .body = {{"spec", {{"paused", true}}}},
                 .uid = uid});
  std::vector<const CoreDnsReplicaSet*> sets;
  sets.reserve(coredns.chart_sets.size());
  for (const auto& set : coredns.chart_sets)
    sets.push_back(&set);
  plan_freeing(planner, sets);
  if (coredns.chart == nullptr) return;
  planner.add({.id = "free-" + ref.name,
               .action = Action::remove,
               .object = ref,
               .reason = "its pods have no owner any more, and it is to make no others",
               .uid = uid,
               .propagation = "Orphan"});
  planner.only_by_plan();  // it is Helm's: nothing that we could write is what it was
  planner.add({.id = "freed-" + ref.name,
               .action = Action::wait_gone,
               .object = ref,
               .reason = "no run of the chart's finds it paused",
               .uid = uid});
}

void plan_no_revisions(Planner& planner) {
  for (const auto& revision : planner.snapshot.controllerrevisions) {
    const auto ref = kube::ref_of(revision);
    planner.add({.id = "forget-" + ref.name,
                 .action = Action::remove,
                 .object = ref,
                 .reason = "it describes pods of a DaemonSet that is gone",
                 .uid = revision["metadata"].value("uid", "")});
  }
}

void plan_dropping(Planner& planner, std::vector<const CoreDnsPod*>& pods) {
  std::erase_if(pods, [&](const auto* pod) {
    if (pod->node.empty())
      planner.add({.id = "drop-" + pod->ref.name,
                   .action = Action::remove,
                   .object = pod->ref,
                   .reason = "it has no node, and is to take no place on one any more",
                   .uid = pod->uid,
                   .unscheduled = true});
    return pod->node.empty();
  });
}

void plan_retirement(Planner& planner, std::vector<const CoreDnsPod*> pods, const std::vector<cluster::Node>& nodes,
                     std::string drained) {
  plan_dropping(planner, pods);
  if (pods.empty()) return;
  std::vector<std::string> uids;
  for (const auto* pod : pods) {
    uids.push_back(pod->uid);
    if (!pod->serves) continue;
    // One that was not marked before it was let go must be found again once it serves no more.
    Json labels = {{"k8s-app", nullptr}};
    if ((pod->owner.empty() || pod->daemon || pod->charted) && !pod->retiring) labels[cluster::retiring_label] = "true";
    plan_labels(planner, "quiet-" + pod->ref.name, *pod, labels, "its endpoint goes; it answers on");
  }
  planner.add({.id = std::move(drained),
               .action = Action::wait_endpoints_gone,
               .object = coredns_service,
               .reason = "no node sends queries to the old pods any more",
               .pod_uids = uids,
               .settle = proxies_follow});
  for (const auto* pod : pods)
    planner.add({.id = "end-" + pod->ref.name,
                 .action = Action::remove,
                 .object = pod->ref,
                 .reason = "it is replaced and nobody asks it any more",
                 .uid = pod->uid});
  for (const auto* pod : pods)
    if (on_living_node(*pod, nodes))
      planner.add({.id = "ended-" + pod->ref.name,
                   .action = Action::wait_gone,
                   .object = pod->ref,
                   .reason = "nothing of the swap is left",
                   .uid = pod->uid});
}

void plan_clearing(Planner& planner, const std::vector<const CoreDnsPod*>& ended) {
  for (const auto* pod : ended)
    planner.add({.id = "clear-" + pod->ref.name,
                 .action = Action::remove,
                 .object = pod->ref,
                 .reason = "it ended long ago, and nobody owns it any more",
                 .uid = pod->uid});
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// What Kubernetes' controllers, its scheduler and its kubelets make of what is written, all at once after each step.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "cluster/nodes.h"
#include "ha/shipped_manifests_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

using cluster::FieldPath;
using namespace testing;

namespace {

Json owner_reference(const Json& owner) {
  return Json::array({{{"uid", owner["metadata"]["uid"]}, {"kind", owner["kind"]}, {"controller", true}}});
}

/// Whose a pod of local-path-provisioner is: k3s's, ours behind the Lease, or the chart's; empty: it is none.
std::string provisioner(const Json& pod) {
  for (const char* key : {"app", "app.kubernetes.io/name"})
    if (std::string name = pod["metadata"]["labels"].value(key, ""); name.find("local-path") != std::string::npos)
      return name;
  return {};
}

bool asked(const Json& pod) {
  return runs(pod, "kube-dns");
}

}  // namespace

void SimulatedCluster::end_pod(std::size_t index, bool by_controller) {
  const Json pod = snapshot.pods[index];
  const std::string name = pod["metadata"]["name"];
  if (asked(pod) && by_controller) ++rolled;
  const bool lame = pod["metadata"]["labels"].contains("app.kubernetes.io/instance");
  if (asked(pod) && !(by_controller && (lame || ends_gently(pod["spec"]))))
    losses.push_back(name + " ended while it was asked");
  snapshot.pods.erase(index);
  least_serving = std::min(least_serving, serving());
  if (serving() == 0) losses.push_back("nobody left to ask after " + name);
  const auto& pods = snapshot.pods;
  const auto measures = [](const Json& other) { return runs(other, "metrics-server"); };
  if (measures(pod) && std::none_of(pods.begin(), pods.end(), measures)) losses.push_back("no metrics after " + name);
}

void SimulatedCluster::run_autoscaler() {
  for (const auto& object : snapshot.horizontalpodautoscalers) {
    Json* target = find(
        {"apps/v1", "Deployment", object["metadata"]["namespace"], object["spec"]["scaleTargetRef"].value("name", "")});
    if (target == nullptr) continue;
    const int replicas = (*target)["spec"]["replicas"];
    const int wanted = std::clamp<int>(replicas, object["spec"]["minReplicas"], object["spec"]["maxReplicas"]);
    if (wanted != replicas && replicas > 0)
      set_field(*target, {"f:spec", "f:replicas"}, wanted, "kube-controller-manager");
  }
}

void SimulatedCluster::run_deployment(Json& deployment) {
  Json& spec = deployment["spec"];
  std::vector<Json*> sets;
  for (auto& set : snapshot.replicasets) {
    const Json& metadata = set["metadata"];
    if (!metadata.contains("ownerReferences") && metadata["namespace"] == deployment["metadata"]["namespace"] &&
        cluster::selects(spec["selector"], metadata["labels"]))
      set["metadata"]["ownerReferences"] = owner_reference(deployment);
    if (owned_by(set, deployment)) sets.push_back(&set);
  }
  if (spec.value("paused", false)) {
    if (sets.size() == 1) (*sets[0])["spec"]["replicas"] = spec["replicas"];
    return;
  }
  const std::string hash = hash_of(spec["template"]);
  const std::string name = fmt::format("{}-{}", deployment["metadata"]["name"].get<std::string>(), hash);
  for (auto* set : sets)
    (*set)["spec"]["replicas"] = 0;
  Json fresh;
  Json others = Json::array();
  for (auto& set : snapshot.replicasets)
    (set["metadata"]["name"] == name ? fresh : others.emplace_back()) = set;
  if (fresh.is_null()) {
    const bool asked_always = &deployment == &snapshot.deployments[0] || deployment["metadata"]["namespace"] == "web";
    if (!sets.empty() && spec["replicas"] == 1 && asked_always)
      losses.emplace_back("a lone replica is replaced by a rollout");
    Json pod_template = spec["template"];
    pod_template["metadata"]["labels"]["pod-template-hash"] = hash;
    fresh = {{"apiVersion", "apps/v1"},
             {"kind", "ReplicaSet"},
             {"metadata",
              {{"name", name},
               {"namespace", deployment["metadata"]["namespace"]},
               {"uid", next_uid()},
               {"labels", pod_template["metadata"]["labels"]},
               {"ownerReferences", owner_reference(deployment)}}},
             {"spec", {{"template", pod_template}}}};
  }
  fresh["spec"]["replicas"] = spec["replicas"];
  // New pods first, then the end of the old: with several replicas a rollout has that order as long as it matters.
  others.insert(others.begin(), fresh);
  snapshot.replicasets = others;
}

Json SimulatedCluster::make_pod(const Json& owner, const Json& labels, const std::string& node) {
  const std::string uid = next_uid();
  const std::string prefix = owner["metadata"]["name"].get<std::string>() + "-";
  Json spec = owner["spec"]["template"]["spec"];
  spec["nodeName"] = node;
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"name", prefix + uid},
            {"generateName", prefix},
            {"namespace", owner["metadata"]["namespace"]},
            {"uid", uid},
            {"labels", labels},
            {"ownerReferences", owner_reference(owner)}}},
          {"spec", spec},
          {"status", {{"phase", "Running"}, {"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}}}};
}

/// As the DaemonSet controller with maxSurge 1: a new pod first, then the end of the old one; at once where none
/// belongs.
void SimulatedCluster::run_daemonset(Json& daemonset) {
  const Json selector = daemonset["spec"]["selector"];
  const std::string hash = hash_of(daemonset["spec"]["template"]);
  Json labels = daemonset["spec"]["template"]["metadata"]["labels"];
  labels["controller-revision-hash"] = hash;
  for (auto& pod : snapshot.pods) {
    const bool matches = cluster::selects(selector, pod["metadata"]["labels"]);
    if (owned_by(pod, daemonset) && !matches) pod["metadata"].erase("ownerReferences");
    if (!pod["metadata"].contains("ownerReferences") && matches)
      pod["metadata"]["ownerReferences"] = owner_reference(daemonset);
  }
  const auto new_on = [&](const std::string& node) {
    return std::any_of(snapshot.pods.begin(), snapshot.pods.end(), [&](const Json& pod) {
      return owned_by(pod, daemonset) && pod["spec"].value("nodeName", "") == node &&
             pod["metadata"]["labels"]["controller-revision-hash"] == hash;
    });
  };
  int desired = 0;
  int available = 0;
  std::set<std::string> wanted;
  for (const auto& node : cluster::judge_nodes(snapshot, daemonset["spec"]["template"]["spec"])) {
    if (!node.eligible()) continue;
    ++desired;
    wanted.insert(node.name);
    if (node.ready) ++available;
    if (new_on(node.name)) continue;
    Json pod = make_pod(daemonset, labels, node.name);
    if (!node.ready) pod["status"]["phase"] = "Pending";
    snapshot.pods.push_back(pod);
  }
  for (std::size_t i = snapshot.pods.size(); i-- > 0;) {
    const Json& pod = snapshot.pods[i];
    if (!owned_by(pod, daemonset)) continue;
    const bool old = pod["metadata"]["labels"]["controller-revision-hash"] != hash;
    if (old || !wanted.contains(pod["spec"].value("nodeName", ""))) end_pod(i, true);
  }
  const std::string revision = fmt::format("{}-{}", daemonset["metadata"]["name"].get<std::string>(), hash);
  snapshot.controllerrevisions = Json::array(
      {{{"apiVersion", "apps/v1"},
        {"kind", "ControllerRevision"},
        {"metadata",
         {{"name", revision}, {"namespace", "kube-system"}, {"uid", "uid-" + revision}, {"labels", labels}}}}});
  daemonset["status"] = {{"desiredNumberScheduled", desired},
                         {"updatedNumberScheduled", desired},
                         {"numberAvailable", available},
                         {"numberReady", available}};
}

/// The node for a ReplicaSet's next pod, of so many; empty: none. Of what scheduling looks at, only an affinity to
/// nodes is looked at, and where there is one, whether the pods keep away from each other.
std::string SimulatedCluster::host_for(const Json& set, std::size_t pods) const {
  const Json& spec = set["spec"]["template"]["spec"];
  const Json affinity = spec.value("affinity", Json::object());
  const bool narrowed = affinity.contains("nodeAffinity");
  const bool apart = narrowed && affinity.contains("podAntiAffinity");
  std::vector<std::string> hosts;
  for (const auto& node : cluster::judge_nodes(snapshot, spec)) {
    const bool has_one = std::any_of(snapshot.pods.begin(), snapshot.pods.end(), [&](const Json& pod) {
      return owned_by(pod, set) && pod["spec"].value("nodeName", "") == node.name;
    });
    if (!narrowed || (node.eligible() && !(apart && has_one))) hosts.push_back(node.name);
  }
  if (hosts.empty()) return {};
  return apart ? hosts.back() : hosts[hosts.size() - 1 - pods % hosts.size()];
}

void SimulatedCluster::begin_pod(Json pod) {
  const std::string kind = provisioner(pod);
  const std::string charted = local_path_chart.chart.name;
  for (const auto& other : snapshot.pods)
    if (const std::string beside = provisioner(other);
        !kind.empty() && !beside.empty() && (kind == charted || beside == charted))
      losses.push_back(fmt::format("a provisioner {} beside {}", kind, beside));
  snapshot.pods.push_back(std::move(pod));
}

void SimulatedCluster::run_replica_sets() {
  for (auto& set : snapshot.replicasets) {
    const Json labels = set["spec"]["template"]["metadata"]["labels"];
    std::vector<std::size_t> mine;
    for (std::size_t i = 0; i < snapshot.pods.size(); ++i) {
      Json& pod = snapshot.pods[i];
      const bool matches = std::all_of(labels.items().begin(), labels.items().end(), [&](const auto& label) {
        return label.value() == Json(pod["metadata"]["labels"].value(label.key(), ""));
      });
      if (owned_by(pod, set) && !matches) pod["metadata"].erase("ownerReferences");
      if (!pod["metadata"].contains("ownerReferences") && matches)
        pod["metadata"]["ownerReferences"] = owner_reference(set);
      if (owned_by(pod, set)) mine.push_back(i);
    }
    const auto wanted = static_cast<std::size_t>(set["spec"]["replicas"].get<int>());
    for (std::size_t i = mine.size(); i < wanted; ++i)
      if (const std::string host = host_for(set, i); !host.empty()) begin_pod(make_pod(set, labels, host));
    for (; mine.size() > wanted; mine.pop_back())
      end_pod(mine.back(), true);
    set["status"] = {{"replicas", wanted}};
  }
}

void SimulatedCluster::settle() {
  run_autoscaler();
  run_helm_controller();
  for (auto& deployment : snapshot.deployments)
    run_deployment(deployment);
  run_replica_sets();
  for (auto& daemonset : snapshot.daemonsets)
    run_daemonset(daemonset);
  Json& sets = snapshot.replicasets;
  for (std::size_t i = sets.size(); i-- > 0;)
    if (sets[i]["spec"]["replicas"] == 0) sets.erase(i);  // revisionHistoryLimit is 0
  for (auto& deployment : snapshot.deployments) {
    const int replicas = deployment["spec"]["replicas"];
    deployment["status"] = {{"observedGeneration", 1},
                            {"replicas", replicas},
                            {"updatedReplicas", replicas},
                            {"availableReplicas", replicas}};
  }
  snapshot.extra_pods = Json::array();
  for (const auto& pod : snapshot.pods)
    if (pod["metadata"]["namespace"] == "web") snapshot.extra_pods.push_back(pod);
  note_provisioners();
}

void SimulatedCluster::note_provisioners() {
  const auto& pods = snapshot.pods;
  const auto count = [&](const char* app) {
    return std::count_if(pods.begin(), pods.end(),
                         [&](const Json& pod) { return pod["metadata"]["labels"].value("app", "") == app; });
  };
  // Ours are passive while a packaged one may run; one that begins beside ours is not.
  const auto packaged = count("local-path-provisioner");
  const auto standby = count("k3s-core-ha-local-path-provisioner");
  if (packaged > packaged_ && standby_ > 0 && standby > 0) losses.emplace_back("a packaged provisioner beside ours");
  if (packaged > 1) losses.emplace_back("two packaged provisioners");
  packaged_ = packaged;
  standby_ = standby;
}

int SimulatedCluster::serving() const {
  return static_cast<int>(std::count_if(snapshot.pods.begin(), snapshot.pods.end(), asked));
}

}  // namespace core_ha::ha

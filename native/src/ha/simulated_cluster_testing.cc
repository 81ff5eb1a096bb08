// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/simulated_cluster_testing.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <sstream>
#include <utility>

#include "cluster/helm.h"
#include "cluster/nodes.h"
#include "cluster/time.h"
#include "ha/shipped_manifests_testing.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

namespace {

using cluster::FieldPath;
using namespace testing;

constexpr const char* taken = "2026-06-01T12:00:00Z";

void add_field(Json& fields, const FieldPath& path) {
  Json* at = &fields;
  for (const auto& element : path) {
    at = &(*at)[element];
    if (at->is_null()) *at = Json::object();
    if (element.starts_with("k:")) (*at)["."] = Json::object();
  }
}

Json fields_v1(const std::set<FieldPath>& paths) {
  Json fields = Json::object();
  for (const auto& path : paths)
    add_field(fields, path);
  return fields;
}

void set_fields(Json& object, const std::string& manager, const std::string& operation, const std::string& subresource,
                const std::set<FieldPath>& paths) {
  Json& entries = object["metadata"]["managedFields"];
  if (entries.is_null()) entries = Json::array();
  const auto it = std::find_if(entries.begin(), entries.end(), [&](const Json& entry) {
    return entry["manager"] == manager && entry["operation"] == operation &&
           entry.value("subresource", "") == subresource;
  });
  if (it != entries.end()) entries.erase(it);
  if (paths.empty()) return;
  Json entry = {{"manager", manager}, {"operation", operation}, {"fieldsV1", fields_v1(paths)}};
  if (!subresource.empty()) entry["subresource"] = subresource;
  entries.push_back(entry);
}

/// Whoever held the field with its old value holds it no more.
void disown(Json& object, const FieldPath& path) {
  const Json entries = object["metadata"].value("managedFields", Json::array());
  for (const auto& entry : entries) {
    auto fields = cluster::fields_of(entry["fieldsV1"]);
    if (fields.erase(path) > 0)
      set_fields(object, entry["manager"], entry["operation"], entry.value("subresource", ""), fields);
  }
}

/// What the server fills in.
void fill_defaults(Json& object) {
  if (object.value("kind", "") == "HelmChartConfig" && !object["spec"].contains("failurePolicy"))
    object["spec"]["failurePolicy"] = "reinstall";
  if (object.value("kind", "") != "Deployment") return;
  Json& spec = object["spec"];
  if (!spec.contains("replicas")) spec["replicas"] = 1;
  if (!spec["strategy"]["rollingUpdate"].contains("maxSurge")) spec["strategy"]["rollingUpdate"]["maxSurge"] = "25%";
  Json& pod = spec["template"]["spec"];
  if (!pod.contains("terminationGracePeriodSeconds")) pod["terminationGracePeriodSeconds"] = 30;
}

bool owned_by(const Json& object, const Json& owner) {
  for (const auto& reference : object["metadata"].value("ownerReferences", Json::array()))
    if (reference["uid"] == owner["metadata"]["uid"]) return true;
  return false;
}

Json owner_reference(const Json& owner) {
  return Json::array({{{"uid", owner["metadata"]["uid"]}, {"kind", owner["kind"]}, {"controller", true}}});
}

bool runs(const Json& pod, const char* app) {
  return pod["metadata"]["labels"].value("k8s-app", "") == app && pod["status"]["phase"] == "Running";
}

/// `selector`: `key=value,…`
bool is_selected(const Json& pod, const std::string& selector) {
  std::istringstream terms(selector);
  for (std::string term; std::getline(terms, term, ',');) {
    const auto equals = term.find('=');
    if (pod["metadata"]["labels"].value(term.substr(0, equals), "") != term.substr(equals + 1)) return false;
  }
  return true;
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

std::string hash_of(const Json& content) {
  return fmt::format("{:08x}", static_cast<unsigned>(std::hash<std::string>{}(content.dump())));
}

SimulatedCluster::SimulatedCluster(int nodes, int minor) {
  snapshot.taken = taken;
  snapshot.version = {{"major", "1"}, {"minor", std::to_string(minor)}};
  snapshot.groups = {"v1", "apps/v1", "autoscaling/v2", "policy/v1", "discovery.k8s.io/v1"};
  for (int i = 0; i < nodes; ++i) {
    const std::string name = i == 0 ? "server-1" : fmt::format("agent-{}", i);
    Json labels = {{"kubernetes.io/hostname", name}, {"kubernetes.io/os", "linux"}};
    if (i == 0) labels["node-role.kubernetes.io/control-plane"] = "true";
    add_node(name, labels, i == 0 ? R"(["server"])" : R"(["agent"])");
  }
  ship(packaged_manifest());

  ship(service_manifest());
  snapshot.apiservices.push_back(
      {{"apiVersion", "apiregistration.k8s.io/v1"},
       {"kind", "APIService"},
       {"metadata", {{"name", "v1beta1.metrics.k8s.io"}}},
       {"status", {{"conditions", Json::array({{{"type", "Available"}, {"status", "True"}}})}}}});
  settle();
}

void SimulatedCluster::add_node(const std::string& name, const Json& labels, const char* args) {
  snapshot.nodes.push_back(
      {{"apiVersion", "v1"},
       {"kind", "Node"},
       {"metadata",
        {{"name", name}, {"uid", next_uid()}, {"labels", labels}, {"annotations", {{"k3s.io/node-args", args}}}}},
       {"spec", Json::object()},
       {"status",
        {{"capacity", {{"cpu", "4"}}}, {"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}}}});
}

void SimulatedCluster::join(const std::string& name) {
  add_node(name, {{"kubernetes.io/hostname", name}, {"kubernetes.io/os", "linux"}}, R"(["agent"])");
  settle();
}

void SimulatedCluster::ship(const Json& manifest) {
  Json object = manifest;
  fill_defaults(object);
  object["metadata"]["uid"] = next_uid();
  object["metadata"]["generation"] = 1;
  object["metadata"]["annotations"] = {{"objectset.rio.cattle.io/applied", manifest.dump()}};
  auto fields = cluster::fields_in(object);
  for (const char* own : {"f:uid", "f:generation"})
    fields.erase({"f:metadata", own});
  set_fields(object, "deploy@server-1", "Update", "", fields);
  list_of(object["kind"])->push_back(object);
}

void SimulatedCluster::stage() {
  const Json head = {{"namespace", "kube-system"}, {"name", "coredns"}};
  const Json wide = {{"name", "system:coredns"}};
  const std::string rbac = "rbac.authorization.k8s.io/v1";
  Json service = service_manifest();
  Json objects = {{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", head}},
                  {{"apiVersion", rbac},
                   {"kind", "ClusterRole"},
                   {"metadata", wide},
                   {"rules", Json::array({{{"apiGroups", {""}}, {"resources", {"pods"}}, {"verbs", {"list"}}}})}},
                  {{"apiVersion", rbac},
                   {"kind", "ClusterRoleBinding"},
                   {"metadata", wide},
                   {"roleRef", {{"kind", "ClusterRole"}, {"name", "system:coredns"}}}},
                  {{"apiVersion", "v1"},
                   {"kind", "ConfigMap"},
                   {"metadata", head},
                   {"data", {{"Corefile", ".:53 {\n    errors\n    health\n    ready\n}\n"}}}},
                  packaged_manifest(),
                  std::move(service)};
  for (const auto& object : objects)
    if (find(kube::ref_of(object)) == nullptr) ship(object);
  find({"v1", "ConfigMap", "kube-system", "coredns"})->at("data")["NodeHosts"] = "10.0.0.1 server-1\n";
  snapshot.manifests["coredns"] = std::move(objects);
}

Json& SimulatedCluster::staged_deployment() {
  return snapshot.manifests["coredns"][4];
}

void SimulatedCluster::start_k3s(bool leaves_alone) {
  if (leaves_alone) return;
  for (const auto& manifest : snapshot.manifests["coredns"]) {
    Json& object = *find(kube::ref_of(manifest));
    const Json::json_pointer applied("/metadata/annotations/objectset.rio.cattle.io~1applied");
    const Json last = Json::parse(object[applied].get<std::string>());
    for (const auto& path : cluster::fields_in(last))
      if (cluster::value_at(manifest, path) == nullptr && cluster::value_at(object, path) != nullptr) {
        disown(object, path);
        cluster::erase_at(object, path);
      }
    std::set<FieldPath> written;
    for (const auto& path : cluster::fields_in(manifest)) {
      const Json* live = cluster::value_at(object, path);
      if (live != nullptr && *live == *cluster::value_at(manifest, path)) continue;
      disown(object, path);
      written.insert(path);
    }
    object = cluster::overlay(object, manifest);
    for (const auto& entry : object["metadata"]["managedFields"])
      if (entry["manager"] == "deploy@server-1") written.merge(cluster::fields_of(entry["fieldsV1"]));
    set_fields(object, "deploy@server-1", "Update", "", written);
    object[applied] = manifest.dump();
  }
  settle();
}

void SimulatedCluster::ship_metrics_server() {
  ship(metrics_server_manifest());
  settle();
}

void SimulatedCluster::ship_local_path() {
  ship(local_path_manifest());
  ship(local_path_config_manifest());
  settle();
}

Json& SimulatedCluster::add_site(int replicas) {
  const Json labels = {{"app", "site"}};
  Json body = {
      {"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"metadata", {{"name", "site"}, {"namespace", "web"}}}};
  body["spec"]["selector"]["matchLabels"] = labels;
  body["spec"]["template"]["metadata"]["labels"] = labels;
  body["spec"]["template"]["spec"]["containers"] = Json::array({{{"name", "site"}, {"image", "example.org/site:1"}}});
  apply(body, "kubectl");
  site()["spec"]["replicas"] = replicas;  // whose it is, nothing tells
  site()["metadata"]["annotations"] = Json::object();
  settle();
  return site();
}

std::string SimulatedCluster::next_uid() {
  return fmt::format("uid-{}", ++uids_);
}

void SimulatedCluster::taint(int index, const std::string& key, const std::string& effect) {
  node(index)["spec"]["taints"].push_back({{"key", key}, {"effect", effect}});
}

void SimulatedCluster::cordon(int index) {
  node(index)["spec"]["unschedulable"] = true;
  taint(index, "node.kubernetes.io/unschedulable", "NoSchedule");
}

void SimulatedCluster::silence(int index, int seconds) {
  const auto since = *cluster::parse_time(taken) - std::chrono::seconds(seconds);
  node(index)["status"]["conditions"][0] = {
      {"type", "Ready"}, {"status", "Unknown"}, {"lastTransitionTime", cluster::format_time(since)}};
  taint(index, "node.kubernetes.io/unreachable", "NoExecute");
}

Json* SimulatedCluster::list_of(const std::string& kind) {
  if (kind == "Deployment") return &snapshot.deployments;
  if (kind == "DaemonSet") return &snapshot.daemonsets;
  if (kind == "ControllerRevision") return &snapshot.controllerrevisions;
  if (kind == "ReplicaSet") return &snapshot.replicasets;
  if (kind == "Pod") return &snapshot.pods;
  if (kind == "Node") return &snapshot.nodes;
  if (kind == "Service") return &snapshot.services;
  if (kind == "ConfigMap") return &snapshot.configmaps;
  if (kind == "ServiceAccount") return &snapshot.serviceaccounts;
  if (kind == "ClusterRole") return &snapshot.clusterroles;
  if (kind == "ClusterRoleBinding") return &snapshot.clusterrolebindings;
  if (kind == "Role") return &snapshot.roles;
  if (kind == "RoleBinding") return &snapshot.rolebindings;
  if (kind == "Lease") return &snapshot.leases;
  if (kind == "APIService") return &snapshot.apiservices;
  if (kind == "HelmChart") return &snapshot.helmcharts;
  if (kind == "Job") return &snapshot.jobs;
  if (kind == "HelmChartConfig") return &snapshot.helmchartconfigs;
  if (kind == "HorizontalPodAutoscaler") return &snapshot.horizontalpodautoscalers;
  return &snapshot.poddisruptionbudgets;
}

Json* SimulatedCluster::find(const kube::ObjectRef& ref) {
  for (auto& object : *list_of(ref.kind))
    if (object["metadata"]["name"] == ref.name && object["metadata"].value("namespace", "") == ref.ns) return &object;
  return nullptr;
}

void SimulatedCluster::apply(const Json& body, const std::string& manager) {
  const auto ref = kube::ref_of(body);
  Json* object = find(ref);
  if (object == nullptr) {
    Json fresh = body;
    fresh["metadata"]["uid"] = next_uid();
    list_of(ref.kind)->push_back(fresh);
    object = &list_of(ref.kind)->back();
  }
  const auto wished = cluster::fields_in(body);
  const auto held = cluster::applied_fields(*object, manager);
  set_fields(*object, manager, "Apply", "", {});
  for (const auto& path : held)
    if (!wished.contains(path) && cluster::owners_of(*object, path).empty()) cluster::erase_at(*object, path);
  for (const auto& path : wished) {
    const Json* present = cluster::value_at(*object, path);
    if (present != nullptr && *present != *cluster::value_at(body, path)) disown(*object, path);
  }
  *object = cluster::overlay(*object, body);
  set_fields(*object, manager, "Apply", "", wished);
  fill_defaults(*object);
}

void SimulatedCluster::set_field(Json& object, const FieldPath& path, const Json& value, const std::string& manager) {
  disown(object, path);
  Json* at = &object;
  for (const auto& element : path)
    at = &(*at)[element.substr(2)];
  *at = value;
  set_fields(object, manager, "Update", "", {path});
}

void SimulatedCluster::scale_by(const std::string& manager, int replicas, int index) {
  scale(deployment(index), manager, replicas);
}

void SimulatedCluster::scale(Json& deployment, const std::string& manager, int replicas) {
  const FieldPath field{"f:spec", "f:replicas"};
  disown(deployment, field);
  deployment["spec"]["replicas"] = replicas;
  set_fields(deployment, manager, "Update", "scale", {field});
  settle();
}

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

void SimulatedCluster::carry_out(const Step& step) {
  if (step.action == Action::apply) {
    apply(step.body, step.manager);
  } else if (step.action == Action::scale) {
    if (Json* deployment = find(step.object))
      scale(*deployment, step.manager, step.body["spec"]["replicas"]);
    else
      losses.push_back("scales what is not there: " + step.object.name);
  } else if (step.action == Action::patch) {
    Json* object = find(step.object);
    if (object == nullptr || (*object)["metadata"]["uid"] != step.uid)
      losses.push_back("stale: " + step.object.name);
    else
      object->merge_patch(step.body);
    if (object != nullptr && step.body.contains("spec")) {
      const bool paused = (*object)["spec"].contains("paused");
      set_fields(*object, step.manager, "Update", "",
                 paused ? std::set<FieldPath>{{"f:spec", "f:paused"}} : std::set<FieldPath>{});
    }
  } else if (step.action == Action::disown) {
    if (Json* object = find(step.object))
      (*object)["metadata"]["managedFields"] =
          cluster::managed_fields_without(*object, step.manager, cluster::fields_in(step.body));
  } else if (step.action == Action::remove) {
    Json& list = *list_of(step.object.kind);
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i]["metadata"]["uid"] != step.uid) continue;
      if (step.object.kind == "Pod") {
        end_pod(i, false);
        break;
      }
      const bool orphans = step.object.kind == "ReplicaSet" || step.propagation == "Orphan";
      if (step.object.kind == "Deployment") {
        for (auto& set : snapshot.replicasets)
          if (owned_by(set, list[i]) && orphans)
            set["metadata"].erase("ownerReferences");
          else if (owned_by(set, list[i]))
            set["spec"]["replicas"] = 0;
        run_replica_sets();
      }
      for (std::size_t pod = snapshot.pods.size(); pod-- > 0;) {
        if (!owned_by(snapshot.pods[pod], list[i])) continue;
        if (orphans)
          snapshot.pods[pod]["metadata"].erase("ownerReferences");
        else
          end_pod(pod, true);
      }
      list.erase(i);
      break;
    }
  } else if (step.action == Action::wait_endpoints_gone) {
    for (const auto& pod : snapshot.pods)
      if (asked(pod) && std::find(step.pod_uids.begin(), step.pod_uids.end(), pod["metadata"].value("uid", "")) !=
                            step.pod_uids.end())
        losses.push_back(fmt::format("waits for ever for the endpoint of {}", pod["metadata"]["name"].dump()));
  } else if (step.action == Action::wait_chart) {
    const Json* job = find(step.object);
    if (job == nullptr || !cluster::is_complete(*job) ||
        (!step.former.empty() && cluster::config_hash(*job) == step.former))
      losses.emplace_back("waits for ever for the chart");
  } else if (step.action == Action::wait_pods_gone) {
    for (const auto& pod : snapshot.pods)
      if (is_selected(pod, step.selector))
        losses.push_back(fmt::format("waits for ever for the end of {}", pod["metadata"]["name"].dump()));
  } else if (step.action == Action::wait_rollout && find(step.object) == nullptr) {
    losses.push_back("waits for what is not there: " + step.object.name);
  } else if (step.action == Action::wait_rollout && step.object.kind == "DaemonSet" &&
             (*find(step.object))["status"]["numberAvailable"] == 0) {
    losses.push_back("waits for ever for " + step.object.name);
  }
  settle();
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
      return owned_by(pod, daemonset) && pod["spec"]["nodeName"] == node &&
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
    if (old || !wanted.contains(pod["spec"]["nodeName"])) end_pod(i, true);
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
      return owned_by(pod, set) && pod["spec"]["nodeName"] == node.name;
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

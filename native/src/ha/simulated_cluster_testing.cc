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

/// `selector`: `key=value,…`
bool is_selected(const Json& pod, const std::string& selector) {
  std::istringstream terms(selector);
  for (std::string term; std::getline(terms, term, ',');) {
    const auto equals = term.find('=');
    if (pod["metadata"]["labels"].value(term.substr(0, equals), "") != term.substr(equals + 1)) return false;
  }
  return true;
}

}  // namespace

bool owned_by(const Json& object, const Json& owner) {
  for (const auto& reference : object["metadata"].value("ownerReferences", Json::array()))
    if (reference["uid"] == owner["metadata"]["uid"]) return true;
  return false;
}

bool runs(const Json& pod, const char* app) {
  return pod["metadata"]["labels"].value("k8s-app", "") == app && pod["status"]["phase"] == "Running";
}

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

void SimulatedCluster::unschedule(std::size_t pod) {
  snapshot.pods[pod]["spec"].erase("nodeName");
  snapshot.pods[pod]["status"] = {{"phase", "Pending"}};
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
  hold(object, "deploy@server-1");
  list_of(object["kind"])->push_back(object);
}

void SimulatedCluster::hold(Json& object, const std::string& manager) {
  auto fields = cluster::fields_in(object);
  for (const char* own : {"f:uid", "f:generation"})
    fields.erase({"f:metadata", own});
  set_fields(object, manager, "Update", "", fields);
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
  body["spec"]["replicas"] = replicas;
  body["metadata"]["annotations"] = Json::object();
  fill_defaults(body);
  hold(body, "kubectl-create");
  body["metadata"]["uid"] = next_uid();
  snapshot.deployments.push_back(body);
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
  if (kind == "StorageClass") return &snapshot.storageclasses;
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
  const bool held = !cluster::owners_of(deployment, field).empty();
  disown(deployment, field);
  deployment["spec"]["replicas"] = replicas;
  // The server keeps no manager of a count that nobody held before it was scaled.
  if (held) set_fields(deployment, manager, "Update", "scale", {field});
  settle();
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
    // k3s's spread rule counts by that label, the pod's own included: without it, every node will do.
    if (step.object.kind == "Pod" && object != nullptr && !(*object)["spec"].contains("nodeName") &&
        !(*object)["metadata"]["labels"].contains("k8s-app"))
      losses.push_back(step.object.name + " may have a node now");
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
        if (step.unscheduled && list[i]["spec"].contains("nodeName")) break;
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
      if (runs(pod, "kube-dns") && std::find(step.pod_uids.begin(), step.pod_uids.end(),
                                             pod["metadata"].value("uid", "")) != step.pod_uids.end())
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

}  // namespace core_ha::ha

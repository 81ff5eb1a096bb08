// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/planner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "cluster/k3s.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

const Json* list_of(const cluster::Snapshot& snapshot, const std::string& kind) {
  if (kind == "Deployment") return &snapshot.deployments;
  if (kind == "DaemonSet") return &snapshot.daemonsets;
  if (kind == "Service") return &snapshot.services;
  if (kind == "HorizontalPodAutoscaler") return &snapshot.horizontalpodautoscalers;
  if (kind == "ConfigMap") return &snapshot.configmaps;
  if (kind == "PodDisruptionBudget") return &snapshot.poddisruptionbudgets;
  if (kind == "ServiceAccount") return &snapshot.serviceaccounts;
  if (kind == "ClusterRole") return &snapshot.clusterroles;
  if (kind == "ClusterRoleBinding") return &snapshot.clusterrolebindings;
  if (kind == "Role") return &snapshot.roles;
  if (kind == "RoleBinding") return &snapshot.rolebindings;
  if (kind == "StorageClass") return &snapshot.storageclasses;
  if (kind == "Lease") return &snapshot.leases;
  if (kind == "APIService") return &snapshot.apiservices;
  if (kind == "HelmChart") return &snapshot.helmcharts;
  if (kind == "HelmChartConfig") return &snapshot.helmchartconfigs;
  if (kind == "Job") return &snapshot.jobs;
  return nullptr;
}

}  // namespace

Json own_labels(std::string_view component) {
  return {{"app.kubernetes.io/managed-by", "k3s-core-ha"}, {cluster::component_label, component}};
}

Json apply_body(const kube::ObjectRef& ref) {
  return {
      {"apiVersion", ref.api_version}, {"kind", ref.kind}, {"metadata", {{"name", ref.name}, {"namespace", ref.ns}}}};
}

Planner::Planner(const Spec& spec_, const cluster::Snapshot& snapshot_, Plan& plan)
    : spec(spec_), snapshot(snapshot_), plan_(plan) {}

void Planner::refuse(ExitStatus status, std::string sentence) {
  if (!plan_.refusal) plan_.refusal = Error{status, std::move(sentence)};  // the first is the one to mend first
}

const Json* Planner::live(const kube::ObjectRef& ref) const {
  const Json* list = list_of(snapshot, ref.kind);
  return list == nullptr ? nullptr : cluster::find_named(*list, ref.name, ref.ns);
}

bool Planner::reads(std::string_view kind) const {
  return list_of(snapshot, std::string(kind)) != nullptr;
}

bool Planner::holds(const Json& body) const {
  const Json* object = live(kube::ref_of(body));
  const auto wished = cluster::fields_in(body);
  if (object == nullptr) return wished.empty();
  if (cluster::applied_fields(*object, kube::field_manager) != wished) return false;
  return std::all_of(wished.begin(), wished.end(), [&](const auto& path) {
    return cluster::has_value(*object, path, *cluster::value_at(body, path));
  });
}

void Planner::check(const Json& body, const Json* object) {
  if (object == nullptr) return;
  const auto ref = kube::ref_of(body);
  const auto manifest = aside_.contains(ref) ? std::nullopt : cluster::applied_manifest(*object);
  const std::string name = kube::to_string(ref);
  for (const auto& path : cluster::fields_in(body)) {
    const Json* wish = cluster::value_at(body, path);
    const Json* value = cluster::value_at(*object, path);
    if (cluster::durability(manifest, path, *wish) == cluster::Durability::contested) {
      // A HelmChartConfig is none of k3s's own: somebody put it into the directory of manifests.
      const bool own = ref.kind != "HelmChartConfig";
      refuse(ExitStatus::unsafe,
             fmt::format("{} of {} is {} in {}, which would set it back from {} at the next start of a server. {}",
                         cluster::to_string(path), name, cluster::value_at(*manifest, path)->dump(),
                         own ? "k3s's own manifest" : "a file among k3s's manifests", wish->dump(),
                         own ? "Strategy custom, which sets that manifest aside, can hold it." : "Change it there."));
      return;
    }
    if (value == nullptr || *value == *wish) continue;
    const std::string field = cluster::to_string(path);
    for (const auto& owner : cluster::owners_of(*object, path)) {
      if (may_force(owner, field)) continue;
      refuse(ExitStatus::conflict, fmt::format("{} of {} is held by {}, at {}; ours would be {}.", field, name, owner,
                                               value->dump(), wish->dump()));
      return;
    }
  }
}

Planner::Touched& Planner::touch(const kube::ObjectRef& ref) {
  for (auto& touched : touched_)
    if (touched.ref == ref) return touched;
  Touched touched{.ref = ref, .before = {}, .after = {}, .held = {}};
  if (const Json* object = live(ref)) {
    touched.before = touched.after = cluster::lasting(*object);
    touched.held = cluster::applied_fields(*object, kube::field_manager);
  }
  touched_.push_back(std::move(touched));
  return touched_.back();
}

void Planner::note_wish(const Json& body) {
  const auto ref = kube::ref_of(body);
  for (auto& wished : plan_.wished)
    if (kube::ref_of(wished) == ref) {
      wished = body;  // what an object passes through on its way is not what it is to be
      return;
    }
  plan_.wished.push_back(body);
}

void Planner::apply(std::string id, const Json& body, std::string reason) {
  note_wish(body);
  const auto ref = kube::ref_of(body);
  const Json* object = live(ref);
  check(body, object);
  Touched& touched = touch(ref);
  const auto wished = cluster::fields_in(body);
  for (const auto& path : touched.held) {
    if (wished.contains(path)) continue;
    // A field goes with its last holder.
    const auto owners = object == nullptr ? std::vector<std::string>{} : cluster::owners_of(*object, path);
    if (std::all_of(owners.begin(), owners.end(), [](const auto& owner) { return owner == kube::field_manager; }))
      cluster::erase_at(touched.after, path);
  }
  touched.after = touched.after.is_null() ? body : cluster::overlay(touched.after, body);
  touched.held = wished;
  plan_.steps.push_back(
      {.id = std::move(id), .action = Action::apply, .object = ref, .reason = std::move(reason), .body = body});
}

bool Planner::ensure(std::string id, const Json& body, std::string reason) {
  note_wish(body);
  if (holds(body)) return false;
  apply(std::move(id), body, std::move(reason));
  return true;
}

void Planner::disown(std::string id, const Json& body) {
  note_wish(body);
  touch(kube::ref_of(body)).held = cluster::fields_in(body);
  plan_.steps.push_back({.id = std::move(id),
                         .action = Action::disown,
                         .object = kube::ref_of(body),
                         .reason = "what k3s ships is as k3s ships it, and no longer ours",
                         .body = body});
}

void Planner::only_as_observed() {
  Step& step = plan_.steps.back();
  if (const Json* object = live(step.object)) step.version = (*object)["metadata"].value("resourceVersion", "");
}

void Planner::unguard(const kube::ObjectRef& ref) {
  const Json* object = live(ref);
  if (object == nullptr || !(*object)["metadata"].value("annotations", Json::object()).contains(keep_annotation))
    return;
  plan_.steps.push_back({.id = fmt::format("unguard-{}-{}", kube::resource_of(ref.kind), ref.name),
                         .action = Action::patch,
                         .object = ref,
                         .reason = "the guard that manifests of ours bring lets it go",
                         .body = {{"metadata", {{"annotations", {{keep_annotation, nullptr}}}}}},
                         .uid = (*object)["metadata"].value("uid", "")});
}

void Planner::scale(std::string id, const kube::ObjectRef& ref, int replicas, std::string reason) {
  touch(ref).after["spec"]["replicas"] = replicas;
  plan_.steps.push_back({.id = std::move(id),
                         .action = Action::scale,
                         .object = ref,
                         .reason = std::move(reason),
                         .body = {{"spec", {{"replicas", replicas}}}}});
}

void Planner::remove_own(std::string id, const kube::ObjectRef& ref, std::string reason, std::string propagation) {
  const Json* object = live(ref);
  if (object == nullptr || (*object)["metadata"].contains("deletionTimestamp")) return;
  Touched& touched = touch(ref);
  touched.after = Json();
  touched.held.clear();
  plan_.steps.push_back({.id = std::move(id),
                         .action = Action::remove,
                         .object = ref,
                         .reason = std::move(reason),
                         .uid = (*object)["metadata"].value("uid", ""),
                         .propagation = std::move(propagation)});
}

void Planner::want_usage(const std::vector<std::string>& nodes) {
  for (const auto& node : nodes)
    if (std::find(plan_.unread.begin(), plan_.unread.end(), node) == plan_.unread.end()) plan_.unread.push_back(node);
}

void Planner::add(Step step) {
  plan_.steps.push_back(std::move(step));
}

void Planner::finish() {
  for (const auto& touched : touched_)
    if (Json after = cluster::lasting(touched.after); touched.before != after)
      plan_.diff.push_back({touched.ref, touched.before, std::move(after)});
}

}  // namespace core_ha::ha

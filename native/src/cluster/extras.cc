// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/extras.h"

#include <fmt/format.h>

#include <initializer_list>
#include <set>
#include <string>
#include <utility>

#include "cluster/k3s.h"
#include "cluster/nodes.h"

namespace core_ha::cluster {

namespace {

constexpr const char* apps = "apps/v1";
constexpr const char* policy = "policy/v1";

std::string path_in(const char* group, const std::string& ns, const char* resource) {
  return fmt::format("{}/namespaces/{}/{}", group, ns, resource);
}

Json keeping(const Json& object, std::initializer_list<const char*> keys) {
  Json kept = Json::object();
  for (const char* key : keys)
    if (const auto found = object.find(key); found != object.end()) kept[key] = *found;
  return kept;
}

/// Of all that the user's manifest says, what may be contested.
Json narrowed_manifest(const Json& manifest) {
  Json spec = Json::object();
  for (const char* key : {"replicas", "strategy"})
    if (const auto found = manifest.value("spec", Json::object()).value(key, Json()); !found.is_null())
      spec[key] = found;
  return {{"spec", spec}};
}

void narrow_deployment(Json& deployment) {
  Json& pod = deployment["spec"]["template"]["spec"];
  for (const char* list : {"containers", "initContainers"}) {
    if (!pod.contains(list)) continue;
    for (auto& container : pod[list])
      container = keeping(container, {"name", "ports", "resources", "restartPolicy"});
  }
  Json annotations = deployment["metadata"].value("annotations", Json::object());
  if (const auto manifest = applied_manifest(deployment))
    annotations[applied_annotation] = narrowed_manifest(*manifest).dump();
  if (const auto last = annotations.find(kubectl_annotation); last != annotations.end()) {
    const Json manifest = Json::parse(last->get<std::string>(), nullptr, false);
    *last = narrowed_manifest(manifest.is_object() ? manifest : Json::object()).dump();
  }
  deployment["metadata"]["annotations"] = annotations;
}

void narrow_pod(Json& pod) {
  const Json spec = keeping(pod["spec"], {"nodeName", "priority"});
  const Json metadata = keeping(pod["metadata"], {"name", "namespace", "labels", "deletionTimestamp"});
  pod = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", metadata}, {"spec", spec}};
}

}  // namespace

std::vector<Listing> extra_listings(const std::vector<kube::ObjectRef>& extras) {
  std::vector<Listing> listings{{{.path = "/apis/apps/v1/deployments", .list = true, .label_selector = extra_label},
                                 apps,
                                 "Deployment",
                                 &Snapshot::deployments},
                                {{.path = "/apis/policy/v1/poddisruptionbudgets",
                                  .list = true,
                                  .label_selector = fmt::format("{}={}", component_label, extra_component)},
                                 policy,
                                 "PodDisruptionBudget",
                                 &Snapshot::poddisruptionbudgets}};
  for (const auto& ref : extras)
    listings.push_back({{.path = path_in("/apis/apps/v1", ref.ns, "deployments"),
                         .list = true,
                         .field_selector = "metadata.name=" + ref.name},
                        apps,
                        "Deployment",
                        &Snapshot::deployments});
  return listings;
}

std::vector<Listing> listings_beside(const std::vector<Json>& deployments) {
  std::vector<Listing> listings;
  std::set<std::string> namespaces;
  for (const auto& deployment : deployments) {
    const std::string ns = deployment["metadata"]["namespace"];
    listings.push_back({{.path = path_in("/api/v1", ns, "pods"),
                         .list = true,
                         .label_selector = selector_words(deployment["spec"]["selector"]),
                         .field_selector = kube::pods_that_run},
                        "v1",
                        "Pod",
                        &Snapshot::extra_pods});
    for (const auto& volume : deployment["spec"]["template"]["spec"].value("volumes", Json::array()))
      if (volume.contains("persistentVolumeClaim"))
        listings.push_back(
            {{.path = path_in("/api/v1", ns, "persistentvolumeclaims"),
              .list = true,
              .field_selector = "metadata.name=" + volume["persistentVolumeClaim"].value("claimName", "")},
             "v1",
             "PersistentVolumeClaim",
             &Snapshot::persistentvolumeclaims});
    if (!namespaces.insert(ns).second || ns == "kube-system") continue;  // of that one all are read anyway
    listings.push_back({{.path = path_in("/apis/policy/v1", ns, "poddisruptionbudgets"), .list = true},
                        policy,
                        "PodDisruptionBudget",
                        &Snapshot::poddisruptionbudgets});
    listings.push_back({{.path = path_in("/apis/autoscaling/v2", ns, "horizontalpodautoscalers"), .list = true},
                        "autoscaling/v2",
                        "HorizontalPodAutoscaler",
                        &Snapshot::horizontalpodautoscalers});
  }
  return listings;
}

Result<std::vector<Json>> take(Snapshot& snapshot, const Listing& listing, kube::ApiResult<Json>& answer) {
  if (!answer && answer.error().not_found()) return std::vector<Json>();  // the group is not served
  if (!answer) return answer.error().as_error();
  std::vector<Json> fresh;
  for (auto& item : (*answer)["items"]) {
    item["apiVersion"] = listing.api_version;
    item["kind"] = listing.kind;
    const Json& metadata = item["metadata"];
    if (find_named(snapshot.*listing.list, metadata.value("name", ""), metadata.value("namespace", "")) != nullptr)
      continue;
    if (listing.list == &Snapshot::deployments) narrow_deployment(item);
    if (listing.list == &Snapshot::extra_pods) narrow_pod(item);
    fresh.push_back(item);
    (snapshot.*listing.list).push_back(std::move(item));
  }
  return fresh;
}

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/snapshot.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace core_ha::cluster {

namespace {

constexpr std::string_view api_version = "k3s-core-ha/v1";
constexpr std::string_view kind = "Snapshot";

struct ListField {
  const char* name;
  Json Snapshot::* list;
  bool required = true;  ///< an older release wrote none of the others
};

constexpr std::array lists{ListField{"nodes", &Snapshot::nodes},
                           ListField{"deployments", &Snapshot::deployments},
                           ListField{"daemonsets", &Snapshot::daemonsets, false},
                           ListField{"controllerrevisions", &Snapshot::controllerrevisions, false},
                           ListField{"replicasets", &Snapshot::replicasets},
                           ListField{"pods", &Snapshot::pods},
                           ListField{"services", &Snapshot::services},
                           ListField{"endpointslices", &Snapshot::endpointslices},
                           ListField{"horizontalpodautoscalers", &Snapshot::horizontalpodautoscalers},
                           ListField{"poddisruptionbudgets", &Snapshot::poddisruptionbudgets},
                           ListField{"apiservices", &Snapshot::apiservices},
                           ListField{"configmaps", &Snapshot::configmaps},
                           ListField{"serviceaccounts", &Snapshot::serviceaccounts, false},
                           ListField{"clusterroles", &Snapshot::clusterroles, false},
                           ListField{"clusterrolebindings", &Snapshot::clusterrolebindings, false},
                           ListField{"roles", &Snapshot::roles, false},
                           ListField{"rolebindings", &Snapshot::rolebindings, false},
                           ListField{"storageclasses", &Snapshot::storageclasses, false},
                           ListField{"leases", &Snapshot::leases, false},
                           ListField{"extra_pods", &Snapshot::extra_pods, false},
                           ListField{"persistentvolumeclaims", &Snapshot::persistentvolumeclaims, false},
                           ListField{"helmcharts", &Snapshot::helmcharts, false},
                           ListField{"helmchartconfigs", &Snapshot::helmchartconfigs, false},
                           ListField{"customresourcedefinitions", &Snapshot::customresourcedefinitions, false},
                           ListField{"jobs", &Snapshot::jobs, false},
                           ListField{"releases", &Snapshot::releases, false},
                           ListField{"rivals", &Snapshot::rivals, false}};

Error malformed(const std::string& what) {
  return Error{ExitStatus::usage, fmt::format("This is not a snapshot as `observe` writes one: {}.", what)};
}

/// An API object as far as decisions rely on it without asking again.
bool is_object(const Json& item) {
  return item.is_object() && item.contains("metadata") && item["metadata"].is_object() &&
         item["metadata"].contains("name") && item["metadata"]["name"].is_string();
}

}  // namespace

int Snapshot::minor() const {
  const auto it = version.find("minor");
  if (it == version.end() || !it->is_string()) return 0;
  const auto& text = it->get_ref<const std::string&>();  // "36", or "36+" from some vendors
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() ? value : 0;
}

const Json* find_named(const Json& items, std::string_view name, std::string_view ns) {
  for (const auto& item : items)
    if (item["metadata"]["name"] == name && item["metadata"].value("namespace", "") == ns) return &item;
  return nullptr;
}

Json lasting(Json object) {
  if (!object.is_object()) return object;
  object.erase("status");
  if (const Json::json_pointer pod("/spec/template/spec"); object.contains(pod))
    for (const char* list : {"containers", "initContainers"}) {
      if (!object[pod].contains(list)) continue;
      for (auto& container : object[pod][list]) {
        if (!container.contains("env")) continue;
        for (auto& variable : container["env"])
          variable.erase("value");
      }
    }
  // A whole archive says nothing to people; what tells one from another is kept.
  if (const Json::json_pointer content("/spec/chartContent"); object.contains(content)) {
    const std::string text = object[content].is_string() ? object[content].get<std::string>() : "";
    if (text.size() > 100)
      object[content] =
          fmt::format("{} characters, crc32 {:08x}", text.size(),
                      crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
  }
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return object;
  for (const char* key : {"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"})
    metadata->erase(key);
  if (const auto annotations = metadata->find("annotations"); annotations != metadata->end()) {
    for (const char* key : {"objectset.rio.cattle.io/applied", "kubectl.kubernetes.io/last-applied-configuration",
                            "deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"})
      annotations->erase(key);
    if (annotations->empty()) metadata->erase(annotations);  // as where the controller has not added its own yet
  }
  return object;
}

Json to_json(const Snapshot& snapshot) {
  Json document = {{"apiVersion", api_version}, {"kind", kind},
                   {"taken", snapshot.taken},   {"version", snapshot.version},
                   {"groups", snapshot.groups}, {"charts", snapshot.charts}};
  for (const auto& field : lists)
    document[field.name] = snapshot.*field.list;
  document["usage"] = snapshot.usage;
  document["manifests"] = snapshot.manifests;
  return document;
}

Result<Snapshot> snapshot_from_json(const Json& document) {
  if (!document.is_object()) return malformed("it is not an object");
  if (document.value("apiVersion", Json()) != api_version || document.value("kind", Json()) != kind)
    return malformed(fmt::format("it lacks apiVersion {} and kind {}", api_version, kind));
  Snapshot snapshot;
  if (const auto it = document.find("taken"); it != document.end() && it->is_string())
    snapshot.taken = it->get<std::string>();
  else
    return malformed("`taken` is not a time");
  if (const auto it = document.find("version"); it != document.end() && it->is_object())
    snapshot.version = *it;
  else
    return malformed("`version` is not an object");
  const auto groups = document.find("groups");
  if (groups == document.end() || !groups->is_array()) return malformed("`groups` is not a list");
  for (const auto& group : *groups) {
    if (!group.is_string()) return malformed("`groups` holds something else than names");
    snapshot.groups.insert(group.get<std::string>());
  }
  for (const auto& chart : document.value("charts", Json::array())) {
    if (!chart.is_string()) return malformed("`charts` holds something else than names");
    snapshot.charts.insert(chart.get<std::string>());
  }
  for (const auto& field : lists) {
    const auto it = document.find(field.name);
    if (it == document.end() && !field.required) continue;
    if (it == document.end() || !it->is_array()) return malformed(fmt::format("`{}` is not a list", field.name));
    for (const auto& item : *it)
      if (!is_object(item)) return malformed(fmt::format("`{}` holds something without metadata.name", field.name));
    snapshot.*field.list = *it;
  }
  const auto usage = document.find("usage");
  if (usage == document.end() || !usage->is_object()) return malformed("`usage` is not an object");
  snapshot.usage = *usage;
  if (const auto manifests = document.find("manifests"); manifests != document.end()) {
    if (!manifests->is_object()) return malformed("`manifests` is not an object");
    for (const auto& [name, objects] : manifests->items())
      if (!objects.is_array() || !std::all_of(objects.begin(), objects.end(), is_object))
        return malformed(fmt::format("`manifests` holds something without metadata.name in {}", name));
    snapshot.manifests = *manifests;
  }
  return snapshot;
}

}  // namespace core_ha::cluster

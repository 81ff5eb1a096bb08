// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/own_manifest.h"

#include <fmt/format.h>

#include <set>

#include "ha/settings.h"
#include "ha/words.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

namespace {

bool has_text(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_string() && !object[key].get_ref<const std::string&>().empty();
}

bool is_named(const Json& object) {
  return object.is_object() && has_text(object, "apiVersion") && has_text(object, "kind") &&
         object.contains("metadata") && object["metadata"].is_object() && has_text(object["metadata"], "name") &&
         (!object["metadata"].contains("namespace") || has_text(object["metadata"], "namespace"));
}

/// What a server adds is not for a manifest, and what has a key or a keeper of its own would be held by two.
struct Reserved {
  const char* kind;  ///< empty: any
  const char* path;
  const char* words;
};
constexpr Reserved reserved[] = {
    {"", "/status", "which a server adds"},
    {"", "/metadata/managedFields", "which a server adds"},
    {"", "/metadata/resourceVersion", "which a server adds"},
    {"", "/metadata/uid", "which a server adds"},
    {"ConfigMap", "/data/NodeHosts", "which k3s keeps"},
    {"Deployment", "/spec/replicas", "for which there is a key of its own"},
};

std::optional<std::string> fault_of_containers(const Json& deployment) {
  const Json::json_pointer at("/spec/template/spec/containers");
  const Json* containers = deployment.contains(at) ? &deployment[at] : nullptr;
  if (containers == nullptr || !containers->is_array() || containers->empty())
    return dotted(at.to_string()) + " is missing; a Deployment has at least one container";
  for (std::size_t i = 0; i < containers->size(); ++i) {
    const Json& container = (*containers)[i];
    const std::string place = fmt::format("{}[{}]", dotted(at.to_string()), i);
    if (!container.is_object() || !has_text(container, "name"))
      return fmt::format("{} is {}; allowed is a container with a name", place, found_words(container));
    if (!container.contains("resources")) continue;
    if (const auto fault = fault_of_resources(container["resources"])) return place + ".resources" + *fault;
  }
  return std::nullopt;
}

std::optional<std::string> fault_of_object(const Json& object) {
  if (!is_named(object))
    return fmt::format(" is {}; allowed is an object with apiVersion, kind and metadata.name", found_words(object));
  for (const auto& [kind, path, words] : reserved)
    if ((*kind == '\0' || object["kind"] == kind) && object.contains(Json::json_pointer(path)))
      return fmt::format("{} is given, {}; leave it out", dotted(path), words);
  return object["kind"] == "Deployment" ? fault_of_containers(object) : std::nullopt;
}

}  // namespace

std::optional<std::string> fault_of_manifest(const Json& value) {
  if (!value.is_array()) return fmt::format(" is {}; allowed is a list of objects", found_words(value));
  std::set<kube::ObjectRef> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (const auto fault = fault_of_object(value[i])) return fmt::format("[{}]{}", i, *fault);
    const auto ref = kube::ref_of(value[i]);
    if (!seen.insert(ref).second) return fmt::format("[{}] is {} a second time", i, kube::to_string(ref));
  }
  return std::nullopt;
}

Json canonical_manifest(Json objects) {
  for (auto& object : objects) {
    if (object["kind"] != "Deployment") continue;
    for (auto& container : object["spec"]["template"]["spec"]["containers"])
      if (container.contains("resources")) container["resources"] = canonical_resources(container["resources"]);
  }
  return objects;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// Server-side apply keeps, for each manager, the set of fields it holds (managedFields). What is ours, what we would
// hold, and who else holds a field is answered from these sets, never from values alone: a value that happens to be
// right may be gone tomorrow if its owner drops it.
//
// Which lists merge by key and which maps are one value is a property of the API's schema. The few kinds that we write
// need few of its rules, so they are stated here instead of reading the server's OpenAPI (several MB) on every run.
#include "cluster/managed_fields.h"

#include <algorithm>
#include <array>
#include <utility>

namespace core_ha::cluster {

namespace {

struct ListKeys {
  std::string_view list;
  std::vector<std::string_view> keys;
};

/// The key fields of a list that merges entry by entry; null for a list that is one value.
const std::vector<std::string_view>* keys_of_list(std::string_view name) {
  static const std::array<ListKeys, 8> table{{{"containers", {"name"}},
                                              {"initContainers", {"name"}},
                                              {"imagePullSecrets", {"name"}},
                                              {"ports", {"containerPort", "port", "protocol"}},
                                              {"env", {"name"}},
                                              {"volumes", {"name"}},
                                              {"volumeMounts", {"mountPath"}},
                                              {"topologySpreadConstraints", {"topologyKey", "whenUnsatisfiable"}}}};
  for (const auto& row : table)
    if (row.list == name) return &row.keys;
  return nullptr;
}

/// Values of a Helm chart have no schema: there every list is one value, and every map is taken key by key, whatever
/// its name is elsewhere (kube-openapi, pkg/schemaconv: a field that preserves unknown fields is deduced).
bool is_untyped(const Json& object) {
  return object.is_object() && object.value("kind", Json()) == "HelmChartConfig";
}

/// Maps that are replaced as a whole. required… is a node selector; in pod affinity its name is that of a list.
bool atomic_map(std::string_view name) {
  constexpr std::array<std::string_view, 6> names{"selector",     "labelSelector",
                                                  "nodeSelector", "requiredDuringSchedulingIgnoredDuringExecution",
                                                  "roleRef",      "fieldRef"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Apply bodies name their object, and say which of its versions they are for; nobody holds that.
bool identity(const FieldPath& path) {
  if (path.size() == 1) return path[0] == "f:apiVersion" || path[0] == "f:kind";
  return path.size() == 2 && path[0] == "f:metadata" &&
         (path[1] == "f:name" || path[1] == "f:namespace" || path[1] == "f:uid" || path[1] == "f:resourceVersion");
}

std::string normalised(const std::string& element) {
  if (!element.starts_with("k:") && !element.starts_with("v:")) return element;
  const Json parsed = Json::parse(element.substr(2), nullptr, false);
  return parsed.is_discarded() ? element : element.substr(0, 2) + parsed.dump();
}

/// A container's port has a containerPort, a Service's a port; one without a protocol is TCP.
std::string entry_element(const Json& entry, const std::vector<std::string_view>& keys) {
  Json values = Json::object();
  for (const auto key : keys) {
    if (const auto it = entry.find(key); it != entry.end())
      values[std::string(key)] = *it;
    else if (key == "protocol")
      values["protocol"] = "TCP";
  }
  return "k:" + values.dump();
}

bool mergeable_entries(const Json& list) {
  return std::all_of(list.begin(), list.end(), [](const Json& entry) { return entry.is_object(); });
}

void collect_marked(const Json& node, FieldPath& path, std::set<FieldPath>& out) {
  for (const auto& [key, child] : node.items()) {
    if (key == ".") continue;
    path.push_back(normalised(key));
    if (!child.is_object() || child.empty())
      out.insert(path);
    else
      collect_marked(child, path, out);
    path.pop_back();
  }
}

/// Takes the marks of all fields but those of `keep` out.
void erase_marked(Json& node, FieldPath& path, const std::set<FieldPath>& keep) {
  for (auto it = node.begin(); it != node.end();) {
    if (it.key() == ".") {
      ++it;
      continue;
    }
    path.push_back(normalised(it.key()));
    const bool leaf = !it->is_object() || it->empty();
    if (!leaf) erase_marked(*it, path, keep);
    const bool goes = leaf ? !keep.contains(path) : it->empty() || (it->size() == 1 && it->contains("."));
    path.pop_back();
    it = goes ? node.erase(it) : std::next(it);
  }
}

/// `typed`: names mean what they mean in the API's own kinds.
void collect_leaves(const Json& value, std::string_view name, bool typed, FieldPath& path, std::set<FieldPath>& out) {
  if (value.is_object() && !value.empty() && !(typed && atomic_map(name))) {
    for (const auto& [key, child] : value.items()) {
      path.push_back("f:" + key);
      collect_leaves(child, typed ? key : "", typed, path, out);
      path.pop_back();
    }
    return;
  }
  if (const auto* keys = keys_of_list(name); keys != nullptr && value.is_array() && mergeable_entries(value)) {
    for (const auto& entry : value) {
      path.push_back(entry_element(entry, *keys));
      collect_leaves(entry, {}, typed, path, out);
      path.pop_back();
    }
    return;
  }
  if (!identity(path)) out.insert(path);
}

template <class J>  // Json or const Json
J* entry_of(J& list, const Json& keys) {
  if (!list.is_array() || !keys.is_object()) return nullptr;
  for (auto& entry : list) {
    const bool same = std::all_of(keys.items().begin(), keys.items().end(), [&](const auto& item) {
      const auto it = entry.find(item.key());
      return entry.is_object() && it != entry.end() && *it == item.value();
    });
    if (same) return &entry;
  }
  return nullptr;
}

/// The place of one path element inside `at`, made when it is missing; null for elements that name no place.
Json* make_child(Json& at, const std::string& element) {
  if (element.starts_with("f:")) return at.is_null() || at.is_object() ? &at[element.substr(2)] : nullptr;
  if (!element.starts_with("k:")) return nullptr;
  const Json keys = Json::parse(element.substr(2), nullptr, false);
  if (!keys.is_object()) return nullptr;
  if (at.is_null()) at = Json::array();
  if (!at.is_array()) return nullptr;
  if (Json* entry = entry_of(at, keys)) return entry;
  at.push_back(keys);
  return &at.back();
}

void merge(Json& into, const Json& from, std::string_view name, bool typed) {
  if (from.is_object() && into.is_object() && !(typed && atomic_map(name))) {
    for (const auto& [key, child] : from.items())
      merge(into[key], child, typed ? key : "", typed);
    return;
  }
  const auto* keys = keys_of_list(name);
  if (keys == nullptr || !from.is_array() || !into.is_array() || !mergeable_entries(from)) {
    into = from;
    return;
  }
  for (const auto& entry : from) {
    const Json values = Json::parse(entry_element(entry, *keys).substr(2));
    if (Json* present = entry_of(into, values))
      merge(*present, entry, {}, typed);
    else
      into.push_back(entry);
  }
}

void erase_below(Json& object, const FieldPath& path, std::size_t depth) {
  const std::string& element = path[depth];
  auto* const child = const_cast<Json*>(value_at(object, {element}));
  if (child == nullptr) return;
  if (depth + 2 == path.size() && is_entry_key(path)) {
    object.erase(static_cast<std::size_t>(child - object.get_ptr<Json::array_t*>()->data()));
    return;
  }
  const bool last = depth + 1 == path.size();
  if (!last) erase_below(*child, path, depth + 1);
  if (element.starts_with("f:") && (last || child->empty())) object.erase(element.substr(2));
}

/// Where in its list each entry on the path is; 0 for other elements.
std::vector<std::ptrdiff_t> places_in(const Json& object, const FieldPath& path) {
  std::vector<std::ptrdiff_t> places;
  const Json* at = &object;
  for (const auto& element : path) {
    const Json* child = value_at(*at, {element});
    const bool entry = element.starts_with("k:") && child != nullptr;
    places.push_back(entry ? child - at->get_ptr<const Json::array_t*>()->data() : 0);
    if (child == nullptr) break;
    at = child;
  }
  return places;
}

const Json& managed_fields(const Json& object) {
  static const Json none = Json::array();
  const auto metadata = object.find("metadata");
  if (metadata == object.end() || !metadata->is_object()) return none;
  const auto entries = metadata->find("managedFields");
  return entries != metadata->end() && entries->is_array() ? *entries : none;
}

}  // namespace

std::string to_string(const FieldPath& path) {
  std::string text;
  for (const auto& element : path) {
    if (element.starts_with("f:")) {
      text += "." + element.substr(2);
      continue;
    }
    const Json keys = element.starts_with("k:") ? Json::parse(element.substr(2), nullptr, false) : Json();
    if (!keys.is_object()) {
      text += "[" + element.substr(2) + "]";
      continue;
    }
    std::string inside;
    for (const auto& [key, value] : keys.items())
      inside += (inside.empty() ? "" : ",") + key + "=" + value.dump();
    text += "[" + inside + "]";
  }
  return text;
}

const Json* value_at(const Json& object, const FieldPath& path) {
  const Json* at = &object;
  for (const auto& element : path) {
    if (element.starts_with("f:")) {
      if (!at->is_object()) return nullptr;
      const auto it = at->find(element.substr(2));
      if (it == at->end()) return nullptr;
      at = &*it;
    } else if (element.starts_with("k:")) {
      at = entry_of(*at, Json::parse(element.substr(2), nullptr, false));
      if (at == nullptr) return nullptr;
    } else {
      return nullptr;
    }
  }
  return at;
}

bool has_value(const Json& object, const FieldPath& path, const Json& value) {
  if (const Json* present = value_at(object, path)) return *present == value;
  static const Json left_out{nullptr, 0, false, ""};
  return std::find(left_out.begin(), left_out.end(), value) != left_out.end();
}

void erase_at(Json& object, const FieldPath& path) {
  erase_below(object, path, 0);
}

Json without_applied(Json object, std::string_view manager) {
  const Json live = object;
  for (const auto& path : applied_fields(live, manager))
    if (owners_of(live, path).size() == 1) erase_at(object, path);
  return object;
}

bool is_entry_key(const FieldPath& path) {
  if (path.size() < 2 || !path.back().starts_with("f:")) return false;
  const std::string& entry = path[path.size() - 2];
  if (!entry.starts_with("k:")) return false;
  const Json keys = Json::parse(entry.substr(2), nullptr, false);
  return keys.is_object() && keys.contains(path.back().substr(2));
}

std::set<FieldPath> fields_of(const Json& fields_v1) {
  std::set<FieldPath> out;
  FieldPath path;
  if (fields_v1.is_object()) collect_marked(fields_v1, path, out);
  return out;
}

std::set<FieldPath> applied_fields(const Json& object, std::string_view manager) {
  std::set<FieldPath> out;
  for (const auto& entry : managed_fields(object))
    if (entry.value("manager", "") == manager && entry.value("operation", "") == "Apply" &&
        entry.value("subresource", "").empty())
      out.merge(fields_of(entry.value("fieldsV1", Json::object())));
  return out;
}

std::vector<std::string> owners_of(const Json& object, const FieldPath& path) {
  std::vector<std::string> owners;
  for (const auto& entry : managed_fields(object)) {
    const std::string manager = entry.value("manager", "");
    if (std::find(owners.begin(), owners.end(), manager) != owners.end()) continue;
    if (fields_of(entry.value("fieldsV1", Json::object())).contains(path)) owners.push_back(manager);
  }
  return owners;
}

Json managed_fields_without(const Json& object, std::string_view manager, const std::set<FieldPath>& keep) {
  Json entries = Json::array();
  for (Json entry : managed_fields(object)) {
    if (entry.value("manager", "") == manager && entry.value("operation", "") == "Apply" &&
        entry.value("subresource", "").empty()) {
      FieldPath path;
      erase_marked(entry["fieldsV1"], path, keep);
      if (entry["fieldsV1"].empty()) continue;
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::set<FieldPath> fields_in(const Json& body) {
  std::set<FieldPath> out;
  FieldPath path;
  for (const auto& [key, child] : body.items()) {
    path.push_back("f:" + key);
    collect_leaves(child, key, !is_untyped(body), path, out);
    path.pop_back();
  }
  return out;
}

Json body_from_fields(const Json& object, const std::set<FieldPath>& fields) {
  Json body = {{"apiVersion", object.value("apiVersion", "")}, {"kind", object.value("kind", "")}};
  const Json metadata = object.value("metadata", Json::object());
  for (const char* key : {"name", "namespace"})
    if (metadata.contains(key)) body["metadata"][key] = metadata[key];
  // Lists keep their order: another one would be another template of pods.
  std::vector<FieldPath> ordered(fields.begin(), fields.end());
  std::sort(ordered.begin(), ordered.end(), [&](const auto& a, const auto& b) {
    return std::pair(places_in(object, a), a) < std::pair(places_in(object, b), b);
  });
  for (const auto& path : ordered) {
    const Json* value = value_at(object, path);
    if (value == nullptr) continue;
    Json* at = &body;
    for (const auto& element : path)
      if (at != nullptr) at = make_child(*at, element);
    if (at != nullptr) *at = *value;
  }
  return body;
}

Json overlay(Json object, const Json& body) {
  merge(object, body, {}, !is_untyped(body));
  return object;
}

}  // namespace core_ha::cluster

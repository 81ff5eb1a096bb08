// SPDX-License-Identifier: GPL-3.0-or-later
//
// One table is the whole schema: parse_spec reads a document by it and spec_schema prints it. The options of the
// Ansible module and the role's argument_specs carry the same names; a test of theirs compares them with the schema.
#include "ha/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "ha/labels.h"

namespace core_ha::ha {

namespace {

enum class Type {
  plain,  ///< a string of `choices`; without them an integer
  label,  ///< a label's key
  labels  ///< a mapping of labels to a value or several
};

struct Key {
  std::string name;
  std::string description;
  std::vector<std::string> choices = {};  ///< a string key's values
  Type type = Type::plain;
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
  const char* unit = "";  ///< of an integer that is no plain count
  Json fallback = {};     ///< what absence means; null: decided from the cluster
  std::function<void(Spec&, const Json&)> store;
  std::function<Json(const Spec&)> load;  ///< what store took; null: nothing was given
};

Json optional(const std::optional<int>& value) {
  return value ? Json(*value) : Json();
}

/// Each label with its values in one order, so that the same wish is always the same text.
std::map<std::string, std::vector<std::string>> labels_of(const Json& value) {
  std::map<std::string, std::vector<std::string>> labels;
  for (const auto& [key, values] : value.items()) {
    auto& list = labels[key];
    list = values.is_string() ? std::vector<std::string>{values} : values.get<std::vector<std::string>>();
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return labels;
}

const std::vector<Key>& table() {
  static const std::vector<Key> keys{
      {.name = "level",
       .description = "What may fail without an outage: auto takes the highest that the cluster can give.",
       .choices = {"auto", "none", "node", "zone"},
       .fallback = "auto",
       .store = [](Spec& spec, const Json& value) { spec.level = value; },
       .load = [](const Spec& spec) { return Json(spec.level); }},
      {.name = "zone_label",
       .description = "The label of nodes that tells their zone, for level zone and the spread of replicas.",
       .type = Type::label,
       .fallback = cluster::usual_zone_label,
       .store = [](Spec& spec, const Json& value) { spec.zone_label = value; },
       .load = [](const Spec& spec) { return Json(spec.zone_label); }},
      {.name = "node_affinity",
       .description = "Labels that a node must carry to run a replica of any component, each with its value or a list "
                      "of values of which one is enough; absent: every node will do.",
       .type = Type::labels,
       .store = [](Spec& spec, const Json& value) { spec.node_affinity = labels_of(value); },
       .load = [](const Spec& spec) { return spec.node_affinity.empty() ? Json() : Json(spec.node_affinity); }},
      {.name = "coredns_strategy",
       .description = "How CoreDNS gets there: autoscaling lays an overlay, a HorizontalPodAutoscaler and a "
                      "PodDisruptionBudget over what k3s ships; replicas does so with a fixed count instead of the "
                      "autoscaler; daemonset runs one replica per node from a DaemonSet instead; packaged leaves it as "
                      "k3s ships it, or brings it back.",
       .choices = {"autoscaling", "replicas", "daemonset", "packaged"},
       .fallback = "autoscaling",
       .store = [](Spec& spec, const Json& value) { spec.coredns_strategy = value; },
       .load = [](const Spec& spec) { return Json(spec.coredns_strategy); }},
      {.name = "coredns_min_replicas",
       .description =
           "Replicas of CoreDNS that the autoscaler keeps at least; absent: by level and size of the cluster.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.coredns_min_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.coredns_min_replicas); }},
      {.name = "coredns_max_replicas",
       .description = "Replicas of CoreDNS that the autoscaler runs at most; absent: twice the minimum, at least 5.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.coredns_max_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.coredns_max_replicas); }},
      {.name = "coredns_replicas",
       .description = "Replicas of CoreDNS under strategy replicas; absent: by level and size of the cluster.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.coredns_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.coredns_replicas); }},
      {.name = "coredns_daemonset_nodes",
       .description =
           "Where CoreDNS runs under strategy daemonset: on every node of the control plane, or on all nodes.",
       .choices = {"control_plane", "all"},
       .fallback = "control_plane",
       .store = [](Spec& spec, const Json& value) { spec.coredns_daemonset_nodes = value; },
       .load = [](const Spec& spec) { return Json(spec.coredns_daemonset_nodes); }},
      {.name = "coredns_cpu_utilization",
       .description = "Average CPU use, in percent of the request, above which the autoscaler adds a replica.",
       .lowest = 1,
       .highest = 100,
       .unit = " (percent)",
       .fallback = 75,
       .store = [](Spec& spec, const Json& value) { spec.coredns_cpu_utilization = value.get<int>(); },
       .load = [](const Spec& spec) { return Json(spec.coredns_cpu_utilization); }},
      {.name = "coredns_traffic_distribution",
       .description = "Which CoreDNS pods a node's queries prefer; auto is PreferSameNode where the server knows it.",
       .choices = {"auto", "PreferSameNode", "PreferSameZone", "none"},
       .fallback = "auto",
       .store = [](Spec& spec, const Json& value) { spec.coredns_traffic_distribution = value; },
       .load = [](const Spec& spec) { return Json(spec.coredns_traffic_distribution); }},
      {.name = "metrics_server_strategy",
       .description = "How metrics-server gets there: replicas lays an overlay over what k3s ships, so that two "
                      "replicas are never on one node, and adds a PodDisruptionBudget; packaged leaves it as k3s ships "
                      "it, or brings it back.",
       .choices = {"replicas", "packaged"},
       .fallback = "replicas",
       .store = [](Spec& spec, const Json& value) { spec.metrics_server_strategy = value; },
       .load = [](const Spec& spec) { return Json(spec.metrics_server_strategy); }},
      {.name = "metrics_server_replicas",
       .description = "Replicas of metrics-server; absent: 2 where two nodes can run it.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.metrics_server_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.metrics_server_replicas); }},
      {.name = "local_path_provisioner_strategy",
       .description =
           "How local-path-provisioner gets there: replicas runs several from a Deployment of ours, of which "
           "one is active while it holds a Lease, and sets the packaged one aside; packaged leaves it as k3s "
           "ships it, or brings it back.",
       .choices = {"replicas", "packaged"},
       .fallback = "replicas",
       .store = [](Spec& spec, const Json& value) { spec.local_path_provisioner_strategy = value; },
       .load = [](const Spec& spec) { return Json(spec.local_path_provisioner_strategy); }},
      {.name = "local_path_provisioner_replicas",
       .description = "Replicas of local-path-provisioner, of which one is active; absent: 2 where two nodes carry the "
                      "helper, else 1.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.local_path_provisioner_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.local_path_provisioner_replicas); }},
      {.name = "wait_timeout",
       .description = "Seconds that each wait (a rollout, a deletion) may take before the change is taken back.",
       .lowest = 10,
       .highest = 3600,
       .unit = " (seconds)",
       .fallback = 300,
       .store = [](Spec& spec, const Json& value) { spec.wait_timeout = std::chrono::seconds(value.get<int>()); },
       .load = [](const Spec& spec) { return Json(spec.wait_timeout.count()); }},
      {.name = "unreachable_counts_for",
       .description = "Seconds for which a node that is not heard of still counts, so that an outage shrinks nothing.",
       .lowest = 0,
       .highest = std::int64_t{100} * 365 * 86400,
       .unit = " (seconds)",
       .fallback = 604800,
       .store =
           [](Spec& spec, const Json& value) {
             spec.unreachable_counts_for = std::chrono::seconds(value.get<std::int64_t>());
           },
       .load = [](const Spec& spec) { return Json(spec.unreachable_counts_for.count()); }}};
  return keys;
}

std::string allowed(const Key& key) {
  if (key.type == Type::label) return "a label's key, as example.org/rack";
  if (key.type == Type::labels) return "a mapping of labels to their values";
  if (!key.choices.empty()) return fmt::format("one of {}", fmt::join(key.choices, ", "));
  return fmt::format("an integer from {} to {}{}", key.lowest, key.highest, key.unit);
}

/// What was found, short enough for a sentence.
std::string found(const Json& value) {
  if (value.is_object()) return "a mapping";
  if (value.is_array()) return "a list";
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t longest = 60;
  if (text.size() > longest) text = text.substr(0, longest) + "…";
  return text;
}

Error bad_spec(const std::string& sentence) {
  return Error{ExitStatus::usage, sentence};
}

bool is_value(const Json& value) {
  return value.is_string() && is_label_value(value.get_ref<const std::string&>());
}

bool fits(const Key& key, const Json& value) {
  if (key.type == Type::label) return value.is_string() && is_label_key(value.get_ref<const std::string&>());
  if (key.type == Type::labels) return value.is_object();
  if (!key.choices.empty()) {
    for (const auto& choice : key.choices)
      if (value == choice) return true;
    return false;
  }
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return false;
  return value.is_number_integer() && value.get<std::int64_t>() >= key.lowest &&
         value.get<std::int64_t>() <= key.highest;
}

/// What is wrong with one of the labels of such a mapping, in a sentence; empty: nothing.
std::string wrong_label(const std::string& name, const Json& labels) {
  for (const auto& [label, value] : labels.items()) {
    if (!is_label_key(label)) return fmt::format("{} has {}, which is no label's key.", name, found(label));
    const bool list = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_value);
    if (is_value(value) || list) continue;
    return fmt::format(
        "{}.{} is {}; allowed is a label's value, or a list of them (numbers and true, as YAML has them, are none: put "
        "them in quotes).",
        name, label, found(value));
  }
  return {};
}

/// What is wrong with the value, in a sentence; empty: nothing.
std::string wrong(const Key& key, const Json& value) {
  if (!fits(key, value)) return fmt::format("{} is {}; allowed is {}.", key.name, found(value), allowed(key));
  return key.type == Type::labels ? wrong_label(key.name, value) : std::string();
}

Json schema_of(const Key& key) {
  // As Kubernetes has them; lengths are left to parse_spec.
  const std::string name = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?";
  const std::string label = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?" + name + "$";
  const Json value = {{"type", "string"}, {"pattern", "^(" + name + ")?$"}};
  const Json values = {{"type", "array"}, {"minItems", 1}, {"items", value}};
  if (key.type == Type::label) return {{"type", "string"}, {"pattern", label}};
  if (key.type == Type::labels)
    return {{"type", "object"},
            {"propertyNames", {{"pattern", label}}},
            {"additionalProperties", {{"oneOf", Json::array({value, values})}}}};
  if (!key.choices.empty()) return {{"type", "string"}, {"enum", key.choices}};
  return {{"type", "integer"}, {"minimum", key.lowest}, {"maximum", key.highest}};
}

}  // namespace

Result<Spec> parse_spec(const Json& document) {
  Spec spec;
  if (document.is_null()) return spec;
  if (!document.is_object())
    return bad_spec(fmt::format("The spec is {}; it must be a mapping of keys to values.", found(document)));
  for (const auto& [name, value] : document.items()) {
    const Key* key = nullptr;
    for (const auto& row : table())
      if (row.name == name) key = &row;
    if (key == nullptr) {
      std::vector<std::string> names;
      for (const auto& row : table())
        names.push_back(row.name);
      return bad_spec(fmt::format("Unknown key {} in the spec; known are {}.", found(name), fmt::join(names, ", ")));
    }
    if (value.is_null()) continue;  // as if absent: how Ansible passes an option that is not given
    if (const std::string sentence = wrong(*key, value); !sentence.empty()) return bad_spec(sentence);
    key->store(spec, value);
  }
  if (spec.coredns_min_replicas && spec.coredns_max_replicas && *spec.coredns_min_replicas > *spec.coredns_max_replicas)
    return bad_spec(fmt::format("coredns_min_replicas is {}, above coredns_max_replicas, which is {}.",
                                *spec.coredns_min_replicas, *spec.coredns_max_replicas));
  if (spec.zone_label == "kubernetes.io/hostname")
    return bad_spec("zone_label is kubernetes.io/hostname, which tells nodes apart: that is level node.");
  return spec;
}

Spec packaged_spec() {
  Spec spec;
  spec.coredns_strategy = spec.metrics_server_strategy = spec.local_path_provisioner_strategy = "packaged";
  return spec;
}

Json to_json(const Spec& spec) {
  Json document = Json::object();
  for (const auto& key : table())
    if (Json value = key.load(spec); !value.is_null() && value != key.fallback) document[key.name] = std::move(value);
  return document;
}

Json spec_schema() {
  Json properties = Json::object();
  for (const auto& key : table()) {
    Json property = schema_of(key);
    property["description"] = key.description;
    if (!key.fallback.is_null()) property["default"] = key.fallback;
    properties[key.name] = property;
  }
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "k3s-core-ha spec"},
          {"type", "object"},
          {"additionalProperties", false},
          {"properties", properties}};
}

}  // namespace core_ha::ha

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
#include "ha/own_charts.h"
#include "ha/own_manifest.h"
#include "ha/traefik_values.h"
#include "ha/words.h"

namespace core_ha::ha {

namespace {

struct Key {
  std::string name;
  std::string description;
  const char* type = "integer";           ///< of the schema; a string has choices, or `fault`
  std::vector<std::string> choices = {};  ///< a string key's values
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
  const char* unit = "";                                       ///< of an integer that is no plain count
  std::optional<std::string> (*fault)(const Json&) = nullptr;  ///< what is wrong with a value, for other types
  Json more = Json::object();                                  ///< what the schema says besides of such a value
  Json fallback = {};                                          ///< what absence means; null: decided from the cluster
  std::function<void(Spec&, const Json&)> store;
  std::function<Json(const Spec&)> load;  ///< what store took; null: nothing was given
};

Json optional(const std::optional<int>& value) {
  return value ? Json(*value) : Json();
}

/// As Kubernetes has them; lengths are left to `fault`.
constexpr const char* label_key_pattern =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
constexpr const char* label_value_pattern = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

bool is_value(const Json& value) {
  return value.is_string() && is_label_value(value.get_ref<const std::string&>());
}

std::optional<std::string> fault_of_label_key(const Json& value) {
  if (value.is_string() && is_label_key(value.get_ref<const std::string&>())) return std::nullopt;
  return fmt::format(" is {}; allowed is a label's key, as example.org/rack", found_words(value));
}

std::optional<std::string> fault_of_labels(const Json& labels) {
  if (!labels.is_object())
    return fmt::format(" is {}; allowed is a mapping of labels to their values", found_words(labels));
  for (const auto& [label, value] : labels.items()) {
    if (!is_label_key(label)) return fmt::format(" has {}, which is no label's key", found_words(label));
    const bool list = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_value);
    if (is_value(value) || list) continue;
    return fmt::format(
        ".{} is {}; allowed is a label's value, or a list of them (numbers and true, as YAML has them, are none: put "
        "them in quotes)",
        label, found_words(value));
  }
  return std::nullopt;
}

Json labels_schema() {
  const Json value = {{"type", "string"}, {"pattern", label_value_pattern}};
  const Json values = {{"type", "array"}, {"minItems", 1}, {"items", value}};
  return {{"propertyNames", {{"pattern", label_key_pattern}}},
          {"additionalProperties", {{"oneOf", Json::array({value, values})}}}};
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

/// The keys of what of a component's pods is wished otherwise.
void add_pod_keys(std::vector<Key>& keys, const std::string& component, const std::string& title,
                  const std::string& strategies, PodSettings Spec::* pods) {
  const auto key = [&](const char* name, const char* what, const char* type, auto member, auto fault) {
    keys.push_back(
        {.name = component + "_" + name,
         .description = fmt::format("{} {} Held by {}; elsewhere k3s would set it back.", what, title, strategies),
         .type = type,
         .fault = fault,
         .store = [=](Spec& spec, const Json& value) { spec.*pods.*member = value; },
         .load =
             [=](const Spec& spec) {
               const Json value = spec.*pods.*member;
               const bool absent = value.is_string() ? value.get_ref<const std::string&>().empty() : value.empty();
               return absent ? Json() : value;
             }});
  };
  key("image", "The image of", "string", &PodSettings::image, fault_of_image);
  key("resources", "Requests and limits, beside those that k3s ships, of the container of", "object",
      &PodSettings::resources, fault_of_resources);
  keys.back().store = [=](Spec& spec, const Json& value) { (spec.*pods).resources = canonical_resources(value); };
  key("tolerations", "Tolerations, beside those that k3s ships, of the pods of", "array", &PodSettings::tolerations,
      fault_of_tolerations);
}

void add_manifest_key(std::vector<Key>& keys, const std::string& component, const std::string& title,
                      Json Spec::* manifest) {
  keys.push_back({.name = component + "_manifest",
                  .description = fmt::format("Objects that strategy custom applies in the place of those with the same "
                                             "kind and name in k3s's manifest of {}; what is not among them follows "
                                             "each release.",
                                             title),
                  .type = "array",
                  .fault = fault_of_manifest,
                  .store = [=](Spec& spec, const Json& value) { spec.*manifest = canonical_manifest(value); },
                  .load = [=](const Spec& spec) { return (spec.*manifest).empty() ? Json() : spec.*manifest; }});
}

/// The keys of a component's own Helm chart.
void add_chart_keys(std::vector<Key>& keys, const std::string& component, const char* usual, Json Spec::* chart,
                    Json Spec::* values, std::optional<std::string> (*fault)(const Json&)) {
  const auto add = [&](const char* name, std::string description, Json Spec::* member, auto fault_of) {
    keys.push_back({.name = component + name,
                    .description = std::move(description),
                    .type = "object",
                    .fault = fault_of,
                    .store = [=](Spec& spec, const Json& value) { spec.*member = value; },
                    .load = [=](const Spec& spec) { return (spec.*member).empty() ? Json() : spec.*member; }});
  };
  add("_chart",
      fmt::format("Where strategy helm has the chart from: version, and if it is not {}, repo and name; or content, "
                  "the chart's .tgz in base64.",
                  usual),
      chart, fault_of_chart);
  keys.back().store = [=](Spec& spec, const Json& value) {
    for (const auto& [key, word] : value.items())
      if (!word.is_null()) (spec.*chart)[key] = word;
  };
  add("_values", "Values of the chart under strategy helm, merged over ours: maps merge, lists replace.", values,
      fault);
}

std::vector<Key> make_table() {
  std::vector<Key> keys{
      {.name = "level",
       .description = "What may fail without an outage: auto takes the highest that the cluster can give.",
       .type = "string",
       .choices = {"auto", "none", "node", "zone"},
       .fallback = "auto",
       .store = [](Spec& spec, const Json& value) { spec.level = value; },
       .load = [](const Spec& spec) { return Json(spec.level); }},
      {.name = "zone_label",
       .description = "The label of nodes that tells their zone, for level zone and the spread of replicas.",
       .type = "string",
       .fault = fault_of_label_key,
       .more = {{"pattern", label_key_pattern}},
       .fallback = cluster::usual_zone_label,
       .store = [](Spec& spec, const Json& value) { spec.zone_label = value; },
       .load = [](const Spec& spec) { return Json(spec.zone_label); }},
      {.name = "node_affinity",
       .description = "Labels that a node must carry to run a replica of any component, each with its value or a list "
                      "of values of which one is enough; absent: every node will do.",
       .type = "object",
       .fault = fault_of_labels,
       .more = labels_schema(),
       .store = [](Spec& spec, const Json& value) { spec.node_affinity = labels_of(value); },
       .load = [](const Spec& spec) { return spec.node_affinity.empty() ? Json() : Json(spec.node_affinity); }},
      {.name = "coredns_strategy",
       .description = "How CoreDNS gets there: autoscaling lays an overlay, a HorizontalPodAutoscaler and a "
                      "PodDisruptionBudget over what k3s ships; replicas does so with a fixed count instead of the "
                      "autoscaler; daemonset runs one replica per node from a DaemonSet instead; custom sets k3s's "
                      "manifest aside on every server, so that what it declares can be changed, too, and follows "
                      "each release by itself; helm runs it from a Helm chart of coredns_chart, behind k3s's own "
                      "Service, and gives the packaged Deployment no replicas; packaged leaves it as k3s ships it, or "
                      "brings it back.",
       .type = "string",
       .choices = {"autoscaling", "replicas", "daemonset", "custom", "helm", "packaged"},
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
       .description =
           "Replicas of CoreDNS under strategies replicas and helm, absent: by level and size of the cluster; and "
           "under custom, absent: the autoscaler's.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.coredns_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.coredns_replicas); }},
      {.name = "coredns_daemonset_nodes",
       .description =
           "Where CoreDNS runs under strategy daemonset: on every node of the control plane, or on all nodes.",
       .type = "string",
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
       .description =
           "Which CoreDNS pods a node's queries prefer; auto is PreferSameNode where the server knows it and "
           "nodes are in one zone, or each has a pod, else none.",
       .type = "string",
       .choices = {"auto", "PreferSameNode", "PreferSameZone", "none"},
       .fallback = "auto",
       .store = [](Spec& spec, const Json& value) { spec.coredns_traffic_distribution = value; },
       .load = [](const Spec& spec) { return Json(spec.coredns_traffic_distribution); }},
      {.name = "coredns_lameduck",
       .description = "Seconds that CoreDNS answers on after it was told to end (health's lameduck in the Corefile), "
                      "under strategy custom; absent: as k3s ships it, without.",
       .lowest = 1,
       .highest = 60,
       .unit = " (seconds)",
       .store = [](Spec& spec, const Json& value) { spec.coredns_lameduck = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.coredns_lameduck); }},
      {.name = "metrics_server_strategy",
       .description = "How metrics-server gets there: replicas lays an overlay over what k3s ships, so that two "
                      "replicas are never on one node, and adds a PodDisruptionBudget; custom does so with k3s's "
                      "manifest set aside on every server, so that what it declares can be changed, too; helm runs it "
                      "from a Helm chart of metrics_server_chart, behind k3s's own Service and APIService, and gives "
                      "the packaged Deployment no replicas; packaged leaves it as k3s ships it, or brings it back.",
       .type = "string",
       .choices = {"replicas", "custom", "helm", "packaged"},
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
           "one is active while it holds a Lease, and sets the packaged one aside; custom does so, too, and makes all "
           "of it where k3s was started with --disable local-storage; helm runs one from a Helm chart of "
           "local_path_provisioner_chart in its place; packaged leaves it as k3s ships it, or brings it back.",
       .type = "string",
       .choices = {"replicas", "custom", "helm", "packaged"},
       .fallback = "replicas",
       .store = [](Spec& spec, const Json& value) { spec.local_path_provisioner_strategy = value; },
       .load = [](const Spec& spec) { return Json(spec.local_path_provisioner_strategy); }},
      {.name = "local_path_provisioner_replicas",
       .description = "Replicas of local-path-provisioner, of which one is active; absent: 2 where two nodes carry the "
                      "helper, else 1. Under strategy helm 1 alone.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.local_path_provisioner_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.local_path_provisioner_replicas); }},
      {.name = "extra_deployments",
       .description = "Deployments beside k3s's own, each by namespace and name, that get replicas (absent: 2, or as "
                      "many as they have), spread over hosts and zones, and a PodDisruptionBudget.",
       .type = "array",
       .fault = fault_of_extras,
       .more = extras_schema(),
       .store = [](Spec& spec, const Json& value) { spec.extra_deployments = extras_of(value); },
       .load =
           [](const Spec& spec) { return spec.extra_deployments.empty() ? Json() : to_json(spec.extra_deployments); }},
      {.name = "traefik_strategy",
       .description =
           "How traefik gets there: helm gives the chart that k3s ships values in a HelmChartConfig, so that "
           "several replicas are spread over the nodes behind a PodDisruptionBudget; packaged leaves it as "
           "k3s ships it, or brings it back.",
       .type = "string",
       .choices = {"helm", "packaged"},
       .fallback = "packaged",
       .store = [](Spec& spec, const Json& value) { spec.traefik_strategy = value; },
       .load = [](const Spec& spec) { return Json(spec.traefik_strategy); }},
      {.name = "traefik_replicas",
       .description = "Replicas of traefik under strategy helm; absent: 2 where two nodes can run it, else 1.",
       .lowest = 1,
       .highest = 1000,
       .store = [](Spec& spec, const Json& value) { spec.traefik_replicas = value.get<int>(); },
       .load = [](const Spec& spec) { return optional(spec.traefik_replicas); }},
      {.name = "traefik_values",
       .description = "Values of the traefik chart under strategy helm, merged over ours: maps merge, lists replace.",
       .type = "object",
       .fault = fault_of_traefik_values,
       .store = [](Spec& spec, const Json& value) { spec.traefik_values = value; },
       .load = [](const Spec& spec) { return spec.traefik_values.empty() ? Json() : spec.traefik_values; }},
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
  add_pod_keys(keys, "coredns", "CoreDNS.", "coredns_strategy custom, daemonset and helm", &Spec::coredns_pods);
  add_manifest_key(keys, "coredns", "CoreDNS", &Spec::coredns_manifest);
  add_chart_keys(keys, "coredns", "coredns of https://coredns.github.io/helm", &Spec::coredns_chart,
                 &Spec::coredns_values, fault_of_coredns_values);
  add_pod_keys(keys, "metrics_server", "metrics-server.", "metrics_server_strategy custom and helm",
               &Spec::metrics_server_pods);
  add_manifest_key(keys, "metrics_server", "metrics-server's Deployment", &Spec::metrics_server_manifest);
  add_chart_keys(keys, "metrics_server", "metrics-server of https://kubernetes-sigs.github.io/metrics-server/",
                 &Spec::metrics_server_chart, &Spec::metrics_server_values, fault_of_metrics_server_values);
  add_pod_keys(keys, "local_path_provisioner", "local-path-provisioner.",
               "local_path_provisioner_strategy replicas, custom and helm", &Spec::local_path_provisioner_pods);
  add_chart_keys(keys, "local_path_provisioner", "local-path-provisioner, whose repo has no default",
                 &Spec::local_path_provisioner_chart, &Spec::local_path_provisioner_values, fault_of_local_path_values);
  return keys;
}

const std::vector<Key>& table() {
  static const std::vector<Key> keys = make_table();
  return keys;
}

std::string allowed(const Key& key) {
  if (!key.choices.empty()) return fmt::format("one of {}", fmt::join(key.choices, ", "));
  return fmt::format("an integer from {} to {}{}", key.lowest, key.highest, key.unit);
}

Error bad_spec(const std::string& sentence) {
  return Error{ExitStatus::usage, sentence};
}

bool fits(const Key& key, const Json& value) {
  if (!key.choices.empty()) {
    for (const auto& choice : key.choices)
      if (value == choice) return true;
    return false;
  }
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return false;
  return value.is_number_integer() && value.get<std::int64_t>() >= key.lowest &&
         value.get<std::int64_t>() <= key.highest;
}

}  // namespace

Result<Spec> parse_spec(const Json& document) {
  Spec spec;
  if (document.is_null()) return spec;
  if (!document.is_object())
    return bad_spec(fmt::format("The spec is {}; it must be a mapping of keys to values.", found_words(document)));
  for (const auto& [name, value] : document.items()) {
    const Key* key = nullptr;
    for (const auto& row : table())
      if (row.name == name) key = &row;
    if (key == nullptr) {
      std::vector<std::string> names;
      for (const auto& row : table())
        names.push_back(row.name);
      return bad_spec(
          fmt::format("Unknown key {} in the spec; known are {}.", found_words(name), fmt::join(names, ", ")));
    }
    if (value.is_null()) continue;  // as if absent: how Ansible passes an option that is not given
    if (key->fault != nullptr) {
      if (const auto fault = key->fault(value)) return bad_spec(fmt::format("{}{}.", name, *fault));
    } else if (!fits(*key, value)) {
      return bad_spec(fmt::format("{} is {}; allowed is {}.", name, found_words(value), allowed(*key)));
    }
    key->store(spec, value);
  }
  if (spec.coredns_min_replicas && spec.coredns_max_replicas && *spec.coredns_min_replicas > *spec.coredns_max_replicas)
    return bad_spec(fmt::format("coredns_min_replicas is {}, above coredns_max_replicas, which is {}.",
                                *spec.coredns_min_replicas, *spec.coredns_max_replicas));
  if (spec.zone_label == "kubernetes.io/hostname")
    return bad_spec("zone_label is kubernetes.io/hostname, which tells nodes apart: that is level node.");
  for (const auto& fault : {fault_of_traefik(spec), fault_of_own_charts(spec)})
    if (fault) return bad_spec(*fault);
  return spec;
}

Spec packaged_spec() {
  Spec spec;
  spec.coredns_strategy = spec.metrics_server_strategy = spec.local_path_provisioner_strategy = "packaged";
  spec.traefik_strategy = "packaged";
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
    Json property = {{"description", key.description}};
    property["type"] = key.type;
    if (!key.choices.empty()) {
      property["enum"] = key.choices;
    } else if (key.fault == nullptr) {
      property["minimum"] = key.lowest;
      property["maximum"] = key.highest;
    } else {
      property.update(key.more);
    }
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

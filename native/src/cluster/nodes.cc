// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "cluster/time.h"

namespace core_ha::cluster {

namespace {

const Json& at(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto it = object.find(key);
  return it != object.end() ? *it : none;
}

std::string text(const Json& object, const char* key) {
  const Json& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

/// Taints that Kubernetes itself sets and lifts as a node's state changes.
bool passing_taint(const std::string& key) {
  constexpr std::array<std::string_view, 8> keys{
      "node.kubernetes.io/not-ready",           "node.kubernetes.io/unreachable",   "node.kubernetes.io/unschedulable",
      "node.kubernetes.io/memory-pressure",     "node.kubernetes.io/disk-pressure", "node.kubernetes.io/pid-pressure",
      "node.kubernetes.io/network-unavailable", "node.kubernetes.io/out-of-service"};
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

bool tolerates(const Json& toleration, const Json& taint) {
  const std::string effect = text(toleration, "effect");
  if (!effect.empty() && effect != text(taint, "effect")) return false;
  const std::string key = text(toleration, "key");
  const bool exists = text(toleration, "operator") == "Exists";
  if (key.empty()) return exists;
  if (key != text(taint, "key")) return false;
  return exists || text(toleration, "value") == text(taint, "value");
}

std::optional<long> integer(const std::string& word) {
  long value = 0;
  const auto parsed = std::from_chars(word.data(), word.data() + word.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) return std::nullopt;
  return value;
}

/// One requirement of a node selector term, over labels or over the field metadata.name.
bool satisfies(const Json& requirement, const Json& values_of_node) {
  const std::string op = text(requirement, "operator");
  const auto found = values_of_node.find(text(requirement, "key"));
  const bool present = found != values_of_node.end();
  if (op == "Exists") return present;
  if (op == "DoesNotExist") return !present;
  const Json& values = at(requirement, "values");
  const bool listed = present && std::find(values.begin(), values.end(), *found) != values.end();
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (!present || !found->is_string() || values.size() != 1 || !values[0].is_string()) return false;
  const auto have = integer(*found);
  const auto bound = integer(values[0]);
  if (!have || !bound) return false;
  return op == "Gt" ? *have > *bound : op == "Lt" && *have < *bound;
}

bool matches_term(const Json& term, const Json& labels, const Json& fields) {
  const Json& expressions = at(term, "matchExpressions");
  const Json& on_fields = at(term, "matchFields");
  if (expressions.empty() && on_fields.empty()) return false;  // an empty term selects nothing
  return std::all_of(expressions.begin(), expressions.end(), [&](const Json& r) { return satisfies(r, labels); }) &&
         std::all_of(on_fields.begin(), on_fields.end(), [&](const Json& r) { return satisfies(r, fields); });
}

/// What of a term the labels lack, where that is said in a word: `no label disk in fast, faster`.
std::string unmet_words(const Json& term, const Json& labels) {
  for (const auto& requirement : at(term, "matchExpressions")) {
    if (satisfies(requirement, labels)) continue;
    const std::string key = text(requirement, "key");
    const std::string op = text(requirement, "operator");
    const Json& values = at(requirement, "values");
    if (op == "Exists") return "no label " + key;
    if (op != "In" || values.empty()) break;
    std::string words;
    for (const auto& value : values)
      words += (words.empty() ? "" : ", ") + value.get<std::string>();
    return fmt::format("no label {}{}{}", key, values.size() == 1 ? "=" : " in ", words);
  }
  return "node affinity";
}

/// Why the pod does not ask for this node; empty: it does.
std::string why_not_selected(const Json& node, const Json& pod_spec) {
  const Json labels = at(node["metadata"], "labels").is_object() ? at(node["metadata"], "labels") : Json::object();
  for (const auto& [key, value] : at(pod_spec, "nodeSelector").items())
    if (value != Json(text(labels, key.c_str()))) return fmt::format("no label {}={}", key, value.get<std::string>());
  const Json& required =
      at(at(at(pod_spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution");
  if (required.is_object()) {
    const Json fields = {{"metadata.name", node["metadata"]["name"]}};
    const Json& terms = at(required, "nodeSelectorTerms");
    if (std::none_of(terms.begin(), terms.end(), [&](const Json& t) { return matches_term(t, labels, fields); }))
      return terms.size() == 1 ? unmet_words(terms[0], labels) : "node affinity";
  }
  return {};
}

/// The taint that keeps the pod away for good; empty: none.
std::string why_not_tolerated(const Json& node, const Json& pod_spec) {
  const Json& tolerations = at(pod_spec, "tolerations");
  for (const auto& taint : at(at(node, "spec"), "taints")) {
    const std::string key = text(taint, "key");
    const std::string effect = text(taint, "effect");
    if (effect == "PreferNoSchedule" || passing_taint(key)) continue;
    if (std::none_of(tolerations.begin(), tolerations.end(), [&](const Json& t) { return tolerates(t, taint); })) {
      const std::string value = text(taint, "value");
      return fmt::format("taint {}{}{}:{}", key, value.empty() ? "" : "=", value, effect);
    }
  }
  return {};
}

/// What keeps a new pod away as long as it lasts: a node under pressure is Ready all the same. The one that a
/// DaemonSet's pods mind, too, if there are several.
std::string why_barred(const Json& node, const Json& pod_spec) {
  constexpr std::string_view prefix = "node.kubernetes.io/";
  const Json& tolerations = at(pod_spec, "tolerations");
  std::string barred;
  for (const auto& taint : at(at(node, "spec"), "taints")) {
    const std::string key = text(taint, "key");
    if (!passing_taint(key) || key.ends_with("/unschedulable") || text(taint, "effect") == "PreferNoSchedule") continue;
    if (std::any_of(tolerations.begin(), tolerations.end(), [&](const Json& t) { return tolerates(t, taint); }))
      continue;
    if (barred.empty() || barred.ends_with("-pressure")) barred = key.substr(prefix.size());
  }
  return barred;
}

/// A CPU quantity: `4`, `3920m`, `0.5`.
double cores_of(const Json& node) {
  const std::string quantity = text(at(at(node, "status"), "capacity"), "cpu");
  if (quantity.empty()) return 0;
  char* end = nullptr;
  const double value = std::strtod(quantity.c_str(), &end);
  return std::string_view(end) == "m" ? value / 1000 : value;
}

/// 36 for `v1.36.3+k3s1`.
int kubelet_minor(const Json& node) {
  const std::string version = text(at(at(node, "status"), "nodeInfo"), "kubeletVersion");
  constexpr std::string_view major = "v1.";
  if (!version.starts_with(major)) return 0;
  int minor = 0;
  std::from_chars(version.data() + major.size(), version.data() + version.size(), minor);
  return minor;
}

}  // namespace

std::string selector_words(const Json& selector) {
  std::vector<std::string> words;
  const Json labels = selector.value("matchLabels", Json::object());
  for (const auto& [label, value] : labels.items())
    words.push_back(fmt::format("{}={}", label, value.get<std::string>()));
  for (const auto& expression : selector.value("matchExpressions", Json::array())) {
    const std::string key = expression.value("key", "");
    const std::string op = expression.value("operator", "");
    const auto values = expression.value("values", std::vector<std::string>());
    words.push_back(op == "Exists" ? key
                    : op == "DoesNotExist"
                        ? "!" + key
                        : fmt::format("{} {} ({})", key, op == "In" ? "in" : "notin", fmt::join(values, ",")));
  }
  return fmt::format("{}", fmt::join(words, ","));
}

bool selects(const Json& selector, const Json& labels) {
  for (const auto& [key, value] : at(selector, "matchLabels").items())
    if (at(labels, key.c_str()) != value) return false;
  const Json& expressions = at(selector, "matchExpressions");
  return std::all_of(expressions.begin(), expressions.end(), [&](const Json& r) { return satisfies(r, labels); });
}

bool is_ready(const Json& object) {
  const Json& conditions = at(at(object, "status"), "conditions");
  return std::any_of(conditions.begin(), conditions.end(), [](const Json& condition) {
    return text(condition, "type") == "Ready" && text(condition, "status") == "True";
  });
}

bool is_server(const Json& node) {
  return at(at(node["metadata"], "labels"), "node-role.kubernetes.io/control-plane").is_string();
}

std::vector<Node> judge_nodes(const Snapshot& snapshot, const Json& pod_spec, const std::string& zone_label) {
  const auto taken = parse_time(snapshot.taken);
  std::vector<Node> nodes;
  for (const auto& object : snapshot.nodes) {
    Node node;
    node.name = text(object["metadata"], "name");
    const Json& labels = at(object["metadata"], "labels");
    node.host = text(labels, "kubernetes.io/hostname");
    if (node.host.empty()) node.host = node.name;
    node.zone = text(labels, zone_label.c_str());
    node.server = is_server(object);
    node.excluded = why_not_selected(object, pod_spec);
    if (node.eligible()) {
      node.excluded = why_not_tolerated(object, pod_spec);
      node.tainted = !node.eligible();
    }
    node.cordoned = at(at(object, "spec"), "unschedulable") == true;
    node.barred = why_barred(object, pod_spec);
    node.cores = cores_of(object);
    node.minor = kubelet_minor(object);
    for (const auto& condition : at(at(object, "status"), "conditions")) {
      if (text(condition, "type") != "Ready") continue;
      node.ready = text(condition, "status") == "True";
      const auto since = parse_time(text(condition, "lastTransitionTime"));
      if (text(condition, "status") == "Unknown" && since && taken && *taken >= *since)
        node.silent_for = *taken - *since;
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace core_ha::cluster

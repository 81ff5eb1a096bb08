// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/extra_deployments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <utility>

#include "ha/labels.h"
#include "ha/words.h"

namespace core_ha::ha {

namespace {

constexpr int most_replicas = 1000;
constexpr std::size_t longest_extra_name = 241;  // with `k3s-core-ha-` before it, it names the PodDisruptionBudget
constexpr const char* label_pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
constexpr const char* subdomain_pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Deployments in kube-system that another key is for, or that are ours.
constexpr std::array<std::pair<const char*, const char*>, 5> others{
    {{"coredns", "coredns_strategy"},
     {"metrics-server", "metrics_server_strategy"},
     {"local-path-provisioner", "local_path_provisioner_strategy"},
     {"k3s-core-ha-local-path-provisioner", "local_path_provisioner_strategy"},
     {"traefik", "traefik_strategy"}}};

bool is_count(const Json& value) {
  return value.is_number_integer() && value >= 1 && value <= most_replicas;
}

std::optional<std::string> fault_of_extra(const Json& item) {
  if (!item.is_object())
    return fmt::format(" is {}; allowed is a mapping with namespace, name and perhaps replicas", found_words(item));
  for (const auto& [key, value] : item.items()) {
    if (key == "namespace") {
      if (!value.is_string() || !is_dns_label(value.get_ref<const std::string&>()))
        return fmt::format(".namespace is {}; allowed is a namespace's name, as web", found_words(value));
    } else if (key == "name") {
      if (!value.is_string() || !is_dns_subdomain(value.get_ref<const std::string&>()) ||
          value.get_ref<const std::string&>().size() > longest_extra_name)
        return fmt::format(".name is {}; allowed is a Deployment's name of at most {} characters, as site",
                           found_words(value), longest_extra_name);
    } else if (key != "replicas") {
      return fmt::format(" has a key {}; known are namespace, name, replicas", found_words(key));
    } else if (!value.is_null() && !is_count(value)) {
      return fmt::format(".replicas is {}; allowed is an integer from 1 to {}", found_words(value), most_replicas);
    }
  }
  for (const char* key : {"namespace", "name"})
    if (!item.contains(key)) return fmt::format(" lacks {}", key);
  return std::nullopt;
}

}  // namespace

std::vector<kube::ObjectRef> refs_of(const std::vector<ExtraDeployment>& extras) {
  std::vector<kube::ObjectRef> refs;
  refs.reserve(extras.size());
  for (const auto& extra : extras)
    refs.push_back(extra.ref());
  return refs;
}

std::optional<std::string> fault_of_extras(const Json& value) {
  if (!value.is_array())
    return fmt::format(" is {}; allowed is a list of mappings with namespace, name and perhaps replicas",
                       found_words(value));
  std::set<std::pair<std::string, std::string>> seen;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (const auto fault = fault_of_extra(value[i])) return fmt::format("[{}]{}", i, *fault);
    const std::string ns = value[i]["namespace"];
    const std::string name = value[i]["name"];
    for (const auto& [theirs, key] : others)
      if (ns == "kube-system" && name == theirs)
        return fmt::format("[{}] is Deployment {}/{}, which has a key of its own: {}", i, ns, name, key);
    if (!seen.emplace(ns, name).second) return fmt::format("[{}] names Deployment {}/{} once more", i, ns, name);
  }
  return std::nullopt;
}

std::vector<ExtraDeployment> extras_of(const Json& value) {
  std::vector<ExtraDeployment> extras;
  for (const auto& item : value) {
    extras.push_back({.ns = item["namespace"], .name = item["name"]});
    if (const Json replicas = item.value("replicas", Json()); !replicas.is_null())
      extras.back().replicas = replicas.get<int>();
  }
  std::sort(extras.begin(), extras.end());
  return extras;
}

Json to_json(const std::vector<ExtraDeployment>& extras) {
  Json list = Json::array();
  for (const auto& extra : extras) {
    list.push_back({{"namespace", extra.ns}, {"name", extra.name}});
    if (extra.replicas) list.back()["replicas"] = *extra.replicas;
  }
  return list;
}

Json extras_schema() {
  const Json properties = {
      {"namespace", {{"type", "string"}, {"pattern", label_pattern}, {"maxLength", 63}}},
      {"name", {{"type", "string"}, {"pattern", subdomain_pattern}, {"maxLength", longest_extra_name}}},
      {"replicas", {{"type", "integer"}, {"minimum", 1}, {"maximum", most_replicas}}}};
  return {{"items",
           {{"type", "object"},
            {"required", {"namespace", "name"}},
            {"additionalProperties", false},
            {"properties", properties}}}};
}

}  // namespace core_ha::ha

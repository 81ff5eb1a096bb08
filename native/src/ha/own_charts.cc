// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/own_charts.h"

#include <fmt/format.h>

#include <array>

#include "base/encoding.h"
#include "ha/spec.h"
#include "ha/traefik_values.h"
#include "ha/words.h"

namespace core_ha::ha {

namespace {

/// The wish is kept in a ConfigMap, which takes 1 MiB: two charts, with room for the rest.
constexpr std::size_t longest_content = 500'000;

constexpr std::array coredns_mappings{"/image",       "/resources",      "/nodeSelector",
                                      "/affinity",    "/rollingUpdate",  "/podDisruptionBudget",
                                      "/extraConfig", "/podAnnotations", "/affinity/nodeAffinity"};
constexpr std::array coredns_lists{"/servers", "/tolerations", "/topologySpreadConstraints", "/extraVolumes",
                                   "/extraVolumeMounts"};
constexpr std::array metrics_server_mappings{"/image",
                                             "/resources",
                                             "/nodeSelector",
                                             "/affinity",
                                             "/updateStrategy",
                                             "/podLabels",
                                             "/apiService",
                                             "/podDisruptionBudget",
                                             "/updateStrategy/rollingUpdate",
                                             "/podAnnotations",
                                             "/affinity/nodeAffinity"};
constexpr std::array metrics_server_lists{"/defaultArgs", "/args", "/tolerations", "/topologySpreadConstraints"};

/// A value that strategy helm rests on, or for which there is a key of its own.
struct Fixed {
  const char* pointer;
  const char* reason;
};

constexpr std::array coredns_fixed{
    Fixed{"/replicaCount", "coredns_replicas says how many there are"},
    Fixed{"/autoscaler/enabled", "an autoscaler would fight with the count that strategy helm keeps"},
    Fixed{"/fullnameOverride", "strategy helm knows the chart's objects by it"},
    Fixed{"/nameOverride", "strategy helm knows the chart's objects by it"},
    Fixed{"/deployment", "strategy helm knows the chart's Deployment by its name"},
    Fixed{"/isClusterService", "k3s's Service kube-dns finds the pods by what it brings"},
    Fixed{"/k8sAppLabelOverride", "k3s's Service kube-dns finds the pods by it"}};
constexpr std::array metrics_server_fixed{
    Fixed{"/replicas", "metrics_server_replicas says how many there are"},
    Fixed{"/fullnameOverride", "strategy helm knows the chart's objects by it"},
    Fixed{"/nameOverride", "strategy helm knows the chart's objects by it"},
    Fixed{"/podLabels/k8s-app", "k3s's Service metrics-server finds the pods by it"},
    Fixed{"/apiService/create", "k3s's own APIService stays"}};

template <std::size_t N>
std::optional<std::string> fault_of_fixed(const Json& values, const std::array<Fixed, N>& fixed) {
  for (const auto& [pointer, reason] : fixed)
    if (!value_of(values, pointer).is_null())
      return fmt::format("{} is given, and cannot be: {}", dotted(pointer), reason);
  return std::nullopt;
}

std::optional<std::string> fault_of_content(const Json& content) {
  if (!content.is_string() || content.get_ref<const std::string&>().empty())
    return fmt::format(".content is {}; allowed is a chart's .tgz in base64", found_words(content));
  const auto& text = content.get_ref<const std::string&>();
  if (text.size() > longest_content)
    return fmt::format(".content has {} characters; allowed are {}", text.size(), longest_content);
  const auto archive = decode_base64(text);
  if (!archive || !archive->starts_with("\x1f\x8b"))
    return fmt::format(".content is {}; allowed is a chart's .tgz in base64", found_words(content));
  return std::nullopt;
}

std::optional<std::string> fault_of_affinity(const Spec& spec, const std::string& strategy, const Json& values,
                                             const char* key) {
  const char* required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
  if (strategy != "helm" || spec.node_affinity.empty() || value_of(values, required).is_null()) return std::nullopt;
  return fmt::format("{}{} is given, and so is node_affinity: say it in one of them.", key, dotted(required));
}

}  // namespace

std::optional<std::string> fault_of_chart(const Json& chart) {
  if (!chart.is_object())
    return fmt::format(" is {}; allowed is a mapping of version, repo and name, or of content", found_words(chart));
  for (const auto& [key, value] : chart.items()) {
    if (key != "repo" && key != "version" && key != "name" && key != "content")
      return fmt::format(" has the key {}; allowed are repo, version and name, or content", found_words(key));
    if (value.is_null() || key == "content") continue;
    const bool word = value.is_string() && !value.get_ref<const std::string&>().empty() &&
                      value.get_ref<const std::string&>().find_first_of(" \t\n") == std::string::npos;
    if (!word) return fmt::format(".{} is {}; allowed is a word", key, found_words(value));
  }
  const auto given = [&](const char* key) { return !value_of(chart, key).is_null(); };
  if (given("/content")) {
    for (const char* key : {"/repo", "/version", "/name"})
      if (given(key)) return fmt::format(" has content and {}; allowed is one way to get the chart", key + 1);
    return fault_of_content(chart["content"]);
  }
  if (!given("/version"))
    return std::string(" has no version; allowed is that of a chart in the repository, as \"1.2.3\", or content");
  const std::string repo = chart.contains("repo") && given("/repo") ? chart["repo"].get<std::string>() : "https://";
  if (!repo.starts_with("https://") && !repo.starts_with("http://") && !repo.starts_with("oci://"))
    return fmt::format(".repo is {}; allowed is a URL of https, http or oci", found_words(chart["repo"]));
  return std::nullopt;
}

std::optional<std::string> fault_of_coredns_values(const Json& values) {
  if (auto fault = fault_of_values(values, "coredns", coredns_mappings, coredns_lists)) return fault;
  return fault_of_fixed(values, coredns_fixed);
}

std::optional<std::string> fault_of_metrics_server_values(const Json& values) {
  if (auto fault = fault_of_values(values, "metrics-server", metrics_server_mappings, metrics_server_lists))
    return fault;
  return fault_of_fixed(values, metrics_server_fixed);
}

std::optional<std::string> fault_of_own_charts(const Spec& spec) {
  const auto needed = [](const char* component) {
    return fmt::format(
        "{0}_strategy is helm, and {0}_chart is not given: name the chart's version, or give its content.", component);
  };
  if (spec.coredns_strategy == "helm" && spec.coredns_chart.empty()) return needed("coredns");
  if (spec.metrics_server_strategy == "helm" && spec.metrics_server_chart.empty()) return needed("metrics_server");
  if (auto fault = fault_of_affinity(spec, spec.coredns_strategy, spec.coredns_values, "coredns_values")) return fault;
  return fault_of_affinity(spec, spec.metrics_server_strategy, spec.metrics_server_values, "metrics_server_values");
}

}  // namespace core_ha::ha

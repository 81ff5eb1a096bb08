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

/// The wish is kept in a ConfigMap, which takes 1 MiB: two large charts, with room for the rest.
constexpr std::size_t longest_content = 500'000;
constexpr std::size_t most_content = 2 * longest_content;

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
constexpr std::array local_path_mappings{
    "/image",    "/helperImage", "/privateRegistry",       "/storageClass", "/resources",     "/nodeSelector",
    "/affinity", "/configmap",   "/affinity/nodeAffinity", "/commonLabels", "/podAnnotations"};
constexpr std::array local_path_lists{"/nodePathMap", "/tolerations", "/imagePullSecrets", "/extraArgs"};

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

constexpr std::array local_path_fixed{
    Fixed{"/replicaCount", "two that are active can delete each other's volumes"},
    Fixed{"/fullnameOverride", "strategy helm knows the chart's objects by it"},
    Fixed{"/nameOverride", "strategy helm knows the chart's pods by it"},
    Fixed{"/namespaceOverride", "strategy helm keeps its pods and k3s's apart within kube-system"},
    Fixed{"/affinity/podAntiAffinity", "by it no second one starts while another is there"},
    Fixed{"/nodeSelector/kubernetes.io~1os", "pods keep apart over all nodes of one operating system"},
    Fixed{"/commonLabels/app", "by it no second one starts while another is there"},
    Fixed{"/configmap/name", "local-path-config is k3s's own"},
    Fixed{"/storageClass/create", "k3s's own StorageClass stays"},
    Fixed{"/storageClass/provisionerName", "k3s's StorageClass, and the volumes that are there, name it"}};

/// Whether the values say something of that place; null does, too, and above it: it takes away what is there.
bool says(const Json& values, const char* pointer) {
  const Json::json_pointer place(pointer);
  for (Json::json_pointer at = place; !at.empty(); at = at.parent_pointer())
    if (values.contains(at)) return at == place || values.at(at).is_null();
  return false;
}

template <std::size_t N>
std::optional<std::string> fault_of_fixed(const Json& values, const std::array<Fixed, N>& fixed) {
  for (const auto& [pointer, reason] : fixed)
    if (says(values, pointer)) return fmt::format("{} is given, and cannot be: {}", dotted(pointer), reason);
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

std::optional<std::string> fault_of_affinity(const Spec& spec, const Json& values, const char* component) {
  const char* required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
  if (spec.node_affinity.empty() || value_of(values, required).is_null()) return std::nullopt;
  return fmt::format("{}_values{} is given, and so is node_affinity: say it in one of them.", component,
                     dotted(required));
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

std::optional<std::string> fault_of_local_path_values(const Json& values) {
  if (auto fault = fault_of_values(values, "local-path-provisioner", local_path_mappings, local_path_lists))
    return fault;
  return fault_of_fixed(values, local_path_fixed);
}

std::optional<std::string> fault_of_own_charts(const Spec& spec) {
  struct Component {
    const char* name;
    const std::string& strategy;
    const Json& chart;
    const Json& values;
  };
  std::size_t content = 0;
  for (const auto& [name, strategy, chart, values] :
       {Component{"coredns", spec.coredns_strategy, spec.coredns_chart, spec.coredns_values},
        Component{"metrics_server", spec.metrics_server_strategy, spec.metrics_server_chart,
                  spec.metrics_server_values},
        Component{"local_path_provisioner", spec.local_path_provisioner_strategy, spec.local_path_provisioner_chart,
                  spec.local_path_provisioner_values}}) {
    content += chart.value("content", "").size();
    if (strategy != "helm") continue;
    if (chart.empty())
      return fmt::format(
          "{0}_strategy is helm, and {0}_chart is not given: name the chart's version, or give its content.", name);
    if (auto fault = fault_of_affinity(spec, values, name)) return fault;
  }
  const Json& chart = spec.local_path_provisioner_chart;
  if (!chart.empty() && !chart.contains("repo") && !chart.contains("content"))
    return std::string(
        "local_path_provisioner_chart has no repo, and there is no usual one, for the project of that chart keeps "
        "none: name the repository, or give the chart's content.");
  if (content > most_content)
    return fmt::format("The charts' content is {} characters in all; allowed are {}.", content, most_content);
  return std::nullopt;
}

}  // namespace core_ha::ha

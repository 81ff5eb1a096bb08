// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/nodes.h"
#include "ha/extra_deployments.h"
#include "ha/settings.h"

namespace core_ha::ha {

/// What the user wishes. Every value is allowed and the set fits together: only parse_spec makes one from a document.
struct Spec {
  std::string level = "auto";
  std::string zone_label = cluster::usual_zone_label;
  std::map<std::string, std::vector<std::string>> node_affinity = {};  ///< label → values, of which one is asked for
  std::string coredns_strategy = "autoscaling";
  std::optional<int> coredns_min_replicas = {};
  std::optional<int> coredns_max_replicas = {};
  std::optional<int> coredns_replicas = {};
  std::string coredns_daemonset_nodes = "control_plane";
  int coredns_cpu_utilization = 75;
  std::string coredns_traffic_distribution = "auto";
  std::optional<int> coredns_lameduck = {};  ///< seconds
  Json coredns_manifest = Json::array();     ///< objects in the place of k3s's
  PodSettings coredns_pods = {};
  Json coredns_chart = Json::object();   ///< of strategy helm: `name`, `repo`, `version`; or `content`
  Json coredns_values = Json::object();  ///< of that chart, over ours
  std::string metrics_server_strategy = "replicas";
  std::optional<int> metrics_server_replicas = {};
  Json metrics_server_manifest = Json::array();  ///< as coredns_manifest
  PodSettings metrics_server_pods = {};
  Json metrics_server_chart = Json::object();   ///< as coredns_chart
  Json metrics_server_values = Json::object();  ///< as coredns_values
  std::string local_path_provisioner_strategy = "replicas";
  std::optional<int> local_path_provisioner_replicas = {};
  PodSettings local_path_provisioner_pods = {};
  Json local_path_provisioner_chart = Json::object();   ///< as coredns_chart
  Json local_path_provisioner_values = Json::object();  ///< as coredns_values
  std::vector<ExtraDeployment> extra_deployments = {};
  std::string traefik_strategy = "packaged";
  std::optional<int> traefik_replicas = {};
  Json traefik_values = Json::object();  ///< of the chart, over ours
  std::chrono::seconds wait_timeout{300};
  std::chrono::seconds unreachable_counts_for{604800};

  /// Whether CoreDNS's count of replicas is a fixed one, of a Deployment.
  bool fixed_count() const {
    return coredns_strategy == "replicas" || coredns_strategy == "helm" ||
           (coredns_strategy == "custom" && coredns_replicas);
  }
};

/// Reads a document of flat keys; null or {} is the default wish. An unknown key, a wrong type or a value out of range
/// is one sentence that names the key, what was found and what is allowed (exit status 2).
Result<Spec> parse_spec(const Json& document);

/// Every component as k3s ships it.
Spec packaged_spec();

/// The document of a wish, without what is so by default: the same wish is always the same text.
Json to_json(const Spec& spec);

/// The JSON Schema of the document, from the table that parse_spec reads by.
Json spec_schema();

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/spec.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace core_ha;
using namespace core_ha::ha;

TEST_CASE("spec: nothing given is the default wish") {
  for (const Json& document : {Json(), Json::object(), Json{{"coredns_min_replicas", nullptr}}}) {
    const auto spec = parse_spec(document);
    REQUIRE(spec);
    CHECK(spec->level == "auto");
    CHECK(spec->coredns_strategy == "autoscaling");
    CHECK_FALSE(spec->coredns_min_replicas);
    CHECK_FALSE(spec->coredns_max_replicas);
    CHECK(spec->coredns_daemonset_nodes == "control_plane");
    CHECK(spec->coredns_cpu_utilization == 75);
    CHECK(spec->coredns_traffic_distribution == "auto");
    CHECK(spec->wait_timeout.count() == 300);
    CHECK(spec->unreachable_counts_for.count() == 604800);
  }
}

TEST_CASE("spec: every key is read") {
  const auto spec = parse_spec({{"level", "node"},
                                {"coredns_strategy", "packaged"},
                                {"coredns_min_replicas", 4},
                                {"coredns_max_replicas", 9},
                                {"coredns_daemonset_nodes", "all"},
                                {"coredns_cpu_utilization", 60},
                                {"coredns_traffic_distribution", "none"},
                                {"wait_timeout", 10},
                                {"unreachable_counts_for", 0}});
  REQUIRE(spec);
  CHECK(spec->level == "node");
  CHECK(spec->coredns_strategy == "packaged");
  CHECK(spec->coredns_min_replicas == 4);
  CHECK(spec->coredns_max_replicas == 9);
  CHECK(spec->coredns_daemonset_nodes == "all");
  CHECK(spec->coredns_cpu_utilization == 60);
  CHECK(spec->coredns_traffic_distribution == "none");
  CHECK(spec->wait_timeout.count() == 10);
  CHECK(spec->unreachable_counts_for.count() == 0);
}

namespace {

Json extras(const Json& item) {
  return {{"extra_deployments", Json::array({item})}};
}

/// As long as one may be, nearly.
std::string large_chart() {
  return "H4sI" + std::string(479996, 'A');
}

}  // namespace

TEST_CASE("spec: what is wrong is named with what was found and what is allowed") {
  struct Row {
    Json document;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {{{"coredns_min_replica", 3}}, {"\"coredns_min_replica\"", "Unknown key", "coredns_min_replicas"}},
      {{{"level", "rack"}}, {"level is \"rack\"", "auto, none, node, zone"}},
      {{{"zone_label", "a zone"}}, {"zone_label is \"a zone\"", "a label's key"}},
      {{{"zone_label", "UPPER.example/zone"}}, {"zone_label is"}},
      {{{"zone_label", std::string(64, 'a')}}, {"zone_label is"}},
      {{{"zone_label", 1}}, {"zone_label is 1"}},
      {{{"zone_label", "kubernetes.io/hostname"}}, {"tells nodes apart", "level node"}},
      {{{"node_affinity", "disk=ssd"}}, {"node_affinity is \"disk=ssd\"", "a mapping"}},
      {{{"node_affinity", {{"disk", true}}}}, {"node_affinity.disk is true", "quotes"}},
      {{{"node_affinity", {{"disk", {"ssd", 1}}}}}, {"node_affinity.disk is a list"}},
      {{{"node_affinity", {{"disk", Json::array()}}}}, {"node_affinity.disk is a list"}},
      {{{"node_affinity", {{"disk", "not a value"}}}}, {"node_affinity.disk is \"not a value\""}},
      {{{"node_affinity", {{"a key", "x"}}}}, {"node_affinity has \"a key\"", "no label's key"}},
      {{{"coredns_strategy", "helm"}}, {"coredns_chart is not given", "name the chart's version"}},
      {{{"metrics_server_strategy", "helm"}}, {"metrics_server_chart is not given"}},
      {{{"coredns_chart", "coredns"}}, {"coredns_chart is \"coredns\"", "a mapping of version, repo and name"}},
      {{{"coredns_chart", Json::object()}}, {"coredns_chart has no version"}},
      {{{"coredns_chart", {{"version", 1}}}}, {"coredns_chart.version is 1", "a word"}},
      {{{"coredns_chart", {{"version", "1"}, {"repo", "ftp://a"}}}}, {"coredns_chart.repo is \"ftp://a\"", "https"}},
      {{{"coredns_chart", {{"version", "1"}, {"file", "a.tgz"}}}}, {"coredns_chart has the key \"file\"", "content"}},
      {{{"coredns_chart", {{"version", "1"}, {"content", "H4sIAAAA"}}}}, {"coredns_chart has content and version"}},
      {{{"coredns_chart", {{"content", "H4s"}}}}, {"coredns_chart.content is \"H4s\"", "in base64"}},
      {{{"coredns_chart", {{"content", "AAAAAAAA"}}}}, {"coredns_chart.content is \"AAAAAAAA\"", "in base64"}},
      {{{"coredns_chart", {{"content", ""}}}}, {"coredns_chart.content is \"\"", "in base64"}},
      {{{"coredns_chart", {{"content", std::string(500004, 'A')}}}}, {"has 500004 characters", "allowed are 500000"}},
      {{{"coredns_values", 1}}, {"coredns_values is 1", "a mapping of the coredns chart's values"}},
      {{{"coredns_values", {{"servers", "x"}}}}, {"coredns_values.servers is \"x\"", "a list"}},
      {{{"coredns_values", {{"replicaCount", 2}}}}, {"coredns_values.replicaCount is given", "coredns_replicas"}},
      {{{"coredns_values", {{"autoscaler", {{"enabled", true}}}}}}, {"coredns_values.autoscaler.enabled is given"}},
      {{{"metrics_server_values", {{"apiService", {{"create", true}}}}}},
       {"metrics_server_values.apiService.create is given", "k3s's own APIService stays"}},
      {{{"metrics_server_values", {{"podLabels", {{"k8s-app", "x"}}}}}}, {"metrics_server_values.podLabels.k8s-app"}},
      {{{"metrics_server_values", {{"image", "x"}}}}, {"metrics_server_values.image is \"x\"", "a mapping"}},
      {{{"metrics_server_values", {{"apiService", nullptr}}}}, {"metrics_server_values.apiService.create is given"}},
      {{{"local_path_provisioner_strategy", "helm"}}, {"local_path_provisioner_chart is not given"}},
      {{{"local_path_provisioner_chart", {{"version", "1"}}}},
       {"local_path_provisioner_chart has no repo", "give the chart's content"}},
      {{{"local_path_provisioner_values", {{"replicaCount", 2}}}},
       {"local_path_provisioner_values.replicaCount is given", "delete each other's volumes"}},
      {{{"local_path_provisioner_values", {{"affinity", nullptr}}}},
       {"local_path_provisioner_values.affinity.podAntiAffinity is given"}},
      {{{"local_path_provisioner_values", {{"nodeSelector", {{"kubernetes.io/os", "x"}}}}}},
       {"local_path_provisioner_values.nodeSelector.kubernetes.io/os is given"}},
      {{{"local_path_provisioner_values", {{"nodePathMap", "x"}}}},
       {"local_path_provisioner_values.nodePathMap is \"x\"", "a list"}},
      {{{"coredns_chart", {{"content", large_chart()}}},
        {"metrics_server_chart", {{"content", large_chart()}}},
        {"local_path_provisioner_chart", {{"content", large_chart()}}}},
       {"The charts' content is 1440000 characters in all", "allowed are 1000000"}},
      {{{"coredns_strategy", "helm"},
        {"coredns_chart", {{"version", "1"}}},
        {"node_affinity", {{"disk", "ssd"}}},
        {"coredns_values",
         {{"affinity",
           {{"nodeAffinity",
             {{"requiredDuringSchedulingIgnoredDuringExecution", {{"nodeSelectorTerms", Json::array()}}}}}}}}}},
       {"coredns_values.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution is given",
        "node_affinity"}},
      {{{"traefik_strategy", "replicas"}}, {"traefik_strategy is \"replicas\"", "helm, packaged"}},
      {{{"traefik_replicas", 0}}, {"traefik_replicas is 0", "1 to 1000"}},
      {{{"traefik_values", "a: b"}}, {"traefik_values is \"a: b\"", "a mapping"}},
      {{{"traefik_values", {{"deployment", 2}}}}, {"traefik_values.deployment is 2", "a mapping"}},
      {{{"traefik_values", {{"tolerations", "x"}}}}, {"traefik_values.tolerations is \"x\"", "a list"}},
      {{{"traefik_values", {{"deployment", {{"replicas", "2"}}}}}},
       {"traefik_values.deployment.replicas is \"2\"", "an integer from 1 to 1000"}},
      {{{"traefik_values", {{"deployment", {{"kind", "DaemonSet"}}}}}},
       {"traefik_values.deployment.kind is \"DaemonSet\"", "Deployment"}},
      {{{"traefik_values", {{"deployment", {{"enabled", false}}}}}}, {"traefik_values.deployment.enabled is false"}},
      {{{"traefik_replicas", 3}, {"traefik_values", {{"deployment", {{"replicas", 2}}}}}},
       {"traefik_values.deployment.replicas is 2", "traefik_replicas is 3"}},
      {{{"traefik_replicas", 3}, {"traefik_values", {{"autoscaling", {{"enabled", true}}}}}},
       {"traefik_values.autoscaling.enabled is true", "traefik_replicas is 3"}},
      {{{"traefik_strategy", "helm"},
        {"node_affinity", {{"disk", "ssd"}}},
        {"traefik_values",
         {{"affinity",
           {{"nodeAffinity",
             {{"requiredDuringSchedulingIgnoredDuringExecution", {{"nodeSelectorTerms", Json::array()}}}}}}}}}},
       {"traefik_values.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution is given",
        "node_affinity"}},
      {{{"level", 3}}, {"level is 3", "auto, none, node, zone"}},
      {{{"coredns_daemonset_nodes", "agents"}}, {"coredns_daemonset_nodes is \"agents\"", "control_plane, all"}},
      {{{"coredns_min_replicas", "3"}}, {"coredns_min_replicas is \"3\"", "an integer from 1 to 1000"}},
      {{{"coredns_min_replicas", 0}}, {"coredns_min_replicas is 0", "1 to 1000"}},
      {{{"coredns_min_replicas", 2.5}}, {"is 2.5", "an integer"}},
      {{{"coredns_min_replicas", true}}, {"is true", "an integer"}},
      {{{"coredns_max_replicas", 18446744073709551615ULL}}, {"coredns_max_replicas is 18446744073709551615"}},
      {{{"coredns_cpu_utilization", 101}}, {"coredns_cpu_utilization is 101", "1 to 100"}},
      {{{"wait_timeout", 9}}, {"wait_timeout is 9", "10 to 3600"}},
      {{{"unreachable_counts_for", -1}}, {"unreachable_counts_for is -1"}},
      {{{"level", Json::array()}}, {"level is a list"}},
      {{{"coredns_min_replicas", 5}, {"coredns_max_replicas", 3}}, {"coredns_min_replicas is 5", "which is 3"}},
      {{{"extra_deployments", "web/site"}}, {"extra_deployments is \"web/site\"", "a list of mappings"}},
      {{{"extra_deployments", {"web/site"}}}, {"extra_deployments[0] is \"web/site\"", "namespace, name"}},
      {extras({{"name", "site"}}), {"extra_deployments[0] lacks namespace"}},
      {extras({{"namespace", "web"}}), {"extra_deployments[0] lacks name"}},
      {extras({{"namespace", "web"}, {"name", "site"}, {"count", 2}}), {"[0] has a key \"count\"", "replicas"}},
      {extras({{"namespace", "we.b"}, {"name", "site"}}), {"[0].namespace is \"we.b\"", "a namespace's name"}},
      {extras({{"namespace", "web"}, {"name", "Site_1"}}), {"[0].name is \"Site_1\"", "a Deployment's name"}},
      {extras({{"namespace", "web"}, {"name", std::string(242, 'a')}}), {"[0].name is", "241 characters"}},
      {extras({{"namespace", "web"}, {"name", "site"}, {"replicas", 0}}), {"[0].replicas is 0", "1 to 1000"}},
      {extras({{"namespace", "web"}, {"name", "site"}, {"replicas", "2"}}), {"[0].replicas is \"2\""}},
      {extras({{"namespace", "kube-system"}, {"name", "coredns"}}),
       {"extra_deployments[0] is Deployment kube-system/coredns", "coredns_strategy"}},
      {extras({{"namespace", "kube-system"}, {"name", "metrics-server"}}), {"metrics_server_strategy"}},
      {extras({{"namespace", "kube-system"}, {"name", "local-path-provisioner"}}), {"local_path_provisioner_strategy"}},
      {{{"extra_deployments",
         {{{"namespace", "web"}, {"name", "site"}}, {{"namespace", "web"}, {"name", "site"}, {"replicas", 3}}}}},
       {"extra_deployments[1] names Deployment web/site once more"}},
      {Json::array(), {"a list", "mapping"}},
      {"level: node", {"mapping"}}};
  for (const auto& row : rows) {
    CAPTURE(row.document.dump());
    const auto spec = parse_spec(row.document);
    REQUIRE_FALSE(spec);
    CHECK(spec.error().status == ExitStatus::usage);
    for (const auto& word : row.words) {
      CAPTURE(spec.error().message);
      CHECK(spec.error().message.find(word) != std::string::npos);
    }
  }
}

TEST_CASE("spec: labels of nodes") {
  const auto spec = parse_spec({{"zone_label", "example.org/rack"},
                                {"node_affinity",
                                 {{"disk", "ssd"},
                                  {"node-role.kubernetes.io/control-plane", "true"},
                                  {"example.org/tier", {"gold", "brass", "gold"}},
                                  {"empty", ""}}}});
  REQUIRE(spec);
  CHECK(spec->zone_label == "example.org/rack");
  CHECK(spec->node_affinity.at("disk") == std::vector<std::string>{"ssd"});
  CHECK(spec->node_affinity.at("example.org/tier") == std::vector<std::string>{"brass", "gold"});
  CHECK(spec->node_affinity.at("empty") == std::vector<std::string>{""});
  // The same wish is always the same text.
  const auto again = parse_spec(to_json(*spec));
  REQUIRE(again);
  CHECK(to_json(*again) == to_json(*spec));
  CHECK(
      to_json(*parse_spec({{"node_affinity", Json::object()}, {"zone_label", "topology.kubernetes.io/zone"}})).empty());
}

TEST_CASE("spec: Deployments of the user's, in one order") {
  const Json site = {{"namespace", "web"}, {"name", "site.v1"}};
  const Json dns = {{"namespace", "kube-system"}, {"name", "dns"}, {"replicas", 3}};
  const Json coredns = {{"namespace", "other"}, {"name", "coredns"}, {"replicas", nullptr}};
  const auto spec = parse_spec({{"extra_deployments", {site, dns, coredns}}});
  REQUIRE(spec);
  REQUIRE(spec->extra_deployments.size() == 3);
  CHECK(spec->extra_deployments[0].replicas == 3);
  CHECK_FALSE(spec->extra_deployments[1].replicas);
  CHECK(to_json(*spec) == to_json(*parse_spec({{"extra_deployments", {coredns, site, dns}}})));
  CHECK(to_json(*parse_spec(to_json(*spec))) == to_json(*spec));
  CHECK(to_json(*parse_spec({{"extra_deployments", Json::array()}})).empty());
}

TEST_CASE("spec: where charts are from") {
  const Json wish = {{"coredns_strategy", "helm"}, {"coredns_chart", {{"version", "1.2.3"}}}};
  CHECK(to_json(*parse_spec(wish)) == wish);
  Json given = wish;
  given["coredns_chart"]["content"] = nullptr;  // as Ansible has what is left out
  CHECK(to_json(*parse_spec(given)) == wish);
  CHECK(parse_spec({{"coredns_chart", {{"content", "H4sIAAAA"}}}, {"coredns_values", {{"hpa", {{"enabled", true}}}}}}));
  CHECK(parse_spec({{"local_path_provisioner_strategy", "helm"},
                    {"local_path_provisioner_chart", {{"repo", "oci://example.org"}, {"version", "1"}}},
                    {"local_path_provisioner_values", {{"affinity", {{"nodeAffinity", Json::object()}}}}}}));
}

TEST_CASE("spec: traefik's count may be given twice, as long as it is the same") {
  CHECK(parse_spec({{"traefik_replicas", 2}, {"traefik_values", {{"deployment", {{"replicas", 2}}}}}}));
  CHECK(to_json(*parse_spec({{"traefik_values", Json::object()}})).empty());
  const Json wish = {{"traefik_strategy", "helm"}, {"traefik_values", {{"logs", {{"access", nullptr}}}}}};
  CHECK(to_json(*parse_spec(wish)) == wish);
}

TEST_CASE("spec: the schema says the same as the parser") {
  const Json schema = spec_schema();
  CHECK(schema["additionalProperties"] == false);
  for (const auto& [name, property] : schema["properties"].items()) {
    CAPTURE(name);
    CHECK_FALSE(property["description"].get<std::string>().empty());
    if (property.contains("default")) CHECK(parse_spec({{name, property["default"]}}));
    if (property.contains("enum")) {
      for (const auto& choice : property["enum"])
        CHECK(parse_spec({{name, choice},
                          {"coredns_chart", {{"version", "1.2.3"}}},
                          {"metrics_server_chart", {{"version", "1.2.3"}}},
                          {"local_path_provisioner_chart", {{"version", "1.2.3"}, {"repo", "https://example.org"}}}}));
      continue;
    }
    if (property["type"] != "integer") {
      CHECK_FALSE(parse_spec({{name, true}}));
      continue;
    }
    const auto lowest = property["minimum"].get<std::int64_t>();
    const auto highest = property["maximum"].get<std::int64_t>();
    CHECK(parse_spec({{name, lowest}}));
    CHECK(parse_spec({{name, highest}}));
    CHECK_FALSE(parse_spec({{name, lowest - 1}}));
    CHECK_FALSE(parse_spec({{name, highest + 1}}));
  }
}

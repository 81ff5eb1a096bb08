// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/absent.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/shipped.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// One whose server was started with these words, and that has no CoreDNS.
SimulatedCluster without_coredns(const Json& args) {
  SimulatedCluster cluster(3);
  Json& annotations = cluster.node(0)["metadata"]["annotations"];
  annotations["k3s.io/node-args"] = args.dump();
  annotations[set_aside_annotation] = "coredns";
  int address = 1;
  for (auto& node : cluster.snapshot.nodes)
    node["status"]["addresses"] =
        Json::array({{{"type", "InternalIP"}, {"address", "10.0.0." + std::to_string(address++)}},
                     {{"type", "Hostname"}, {"address", "elsewhere"}}});
  cluster.snapshot.deployments = Json::array();
  cluster.snapshot.replicasets = Json::array();
  cluster.snapshot.pods = Json::array();
  cluster.snapshot.services = Json::array();
  stage_own(cluster.snapshot);
  return cluster;
}

const Json no_coredns = {"server", "--disable", "coredns"};

const Json& staged_kind(const SimulatedCluster& cluster, const char* kind) {
  for (const auto& object : cluster.snapshot.manifests["coredns"])
    if (object["kind"] == kind) return object;
  FAIL(kind);
  return cluster.snapshot.manifests;
}

Spec custom_with(const char* key = "coredns_replicas", Json value = 3) {
  return wish({{"coredns_strategy", "custom"}, {key, std::move(value)}});
}

}  // namespace

TEST_CASE("own CoreDNS: what k3s would fill into its manifest is in ours") {
  const SimulatedCluster usual = without_coredns(no_coredns);
  CHECK(staged_kind(usual, "Service")["spec"]["clusterIPs"] == Json::array({"10.43.0.10"}));
  CHECK(staged_kind(usual, "Service")["spec"]["ipFamilyPolicy"] == "SingleStack");
  const std::string corefile = staged_kind(usual, "ConfigMap")["data"]["Corefile"];
  CHECK(corefile.find("kubernetes cluster.local in-addr.arpa ip6.arpa {") != std::string::npos);
  CHECK(staged_kind(usual, "ConfigMap")["data"]["NodeHosts"] ==
        "10.0.0.2 agent-1\n10.0.0.3 agent-2\n10.0.0.1 server-1\n");

  const SimulatedCluster other =
      without_coredns({"server", "--disable=traefik,coredns", "--service-cidr", "10.96.16.0/20,fd00:1::/112",
                       "--cluster-domain", "example.org", "--system-default-registry", "registry.example"});
  CHECK(staged_kind(other, "Service")["spec"]["clusterIP"] == "10.96.16.10");
  CHECK(staged_kind(other, "Service")["spec"]["clusterIPs"] == Json::array({"10.96.16.10", "fd00:1::a"}));
  CHECK(staged_kind(other, "Service")["spec"]["ipFamilyPolicy"] == "RequireDualStack");
  CHECK(staged_kind(other, "ConfigMap")["data"]["Corefile"].get<std::string>().find("kubernetes example.org ") !=
        std::string::npos);
  const std::string image = staged_kind(other, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
  CHECK(image.starts_with("registry.example/rancher/"));

  const SimulatedCluster told = without_coredns({"server", "--disable=coredns", "--cluster-dns=10.43.7.7"});
  CHECK(staged_kind(told, "Service")["spec"]["clusterIPs"] == Json::array({"10.43.7.7"}));
}

TEST_CASE("own CoreDNS: only where no server ships k3s's") {
  CHECK(without_coredns({"server"}).snapshot.manifests.empty());
  SimulatedCluster mixed(3);
  mixed.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = no_coredns.dump();
  mixed.node(1)["metadata"]["annotations"]["k3s.io/node-args"] = Json::array({"server"}).dump();
  stage_own(mixed.snapshot);
  CHECK(mixed.snapshot.manifests.empty());
}

TEST_CASE("own CoreDNS: made whole, kept, its NodeHosts fed, and not taken away") {
  SimulatedCluster cluster = without_coredns(no_coredns);
  const Plan plan = make_plan(custom_with(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(plan.components["coredns"]["strategy"].is_null());
  carry_out(cluster, plan);
  CHECK(cluster.serving() == 3);
  CHECK(cluster.snapshot.services[0]["spec"]["clusterIP"] == "10.43.0.10");
  CHECK(cluster.snapshot.clusterroles.size() == 1);
  CHECK(cluster.snapshot.serviceaccounts.size() == 1);
  cluster.rolled = 0;
  reach(cluster, custom_with());
  CHECK(cluster.rolled == 0);
  CHECK(make_plan(custom_with(), cluster.snapshot).components["coredns"]["strategy"] == "custom");

  cluster.join("agent-3");
  cluster.snapshot.nodes.back()["status"]["addresses"] =
      Json::array({{{"type", "InternalIP"}, {"address", "10.0.0.4"}}});
  stage_own(cluster.snapshot);
  const Plan fed = make_plan(custom_with(), cluster.snapshot);
  CHECK(ids(fed) == std::vector<std::string>{"coredns-configmaps"});
  CHECK(fed.steps[0].body["data"]["NodeHosts"].get<std::string>().find("10.0.0.4 agent-3\n") != std::string::npos);

  for (const char* strategy : {"packaged", "replicas", "autoscaling", "daemonset"}) {
    const Plan away = make_plan(wish({{"coredns_strategy", strategy}}), cluster.snapshot);
    REQUIRE(away.refusal);
    CHECK(away.refusal->status == ExitStatus::unsafe);
    CHECK(away.refusal->message.find("started with --disable coredns on server-1") != std::string::npos);
  }
}

TEST_CASE("own CoreDNS: a run that was stopped half-way goes on") {
  const Plan whole = make_plan(custom_with(), without_coredns(no_coredns).snapshot);
  for (std::size_t done = 0; done <= whole.steps.size(); ++done) {
    SimulatedCluster cluster = without_coredns(no_coredns);
    for (std::size_t i = 0; i < done; ++i)
      cluster.carry_out(whole.steps[i]);
    for (int round = 0; round < 2; ++round)
      carry_out(cluster, make_plan(custom_with(), cluster.snapshot));
    CHECK(cluster.serving() == 3);
    CHECK(make_plan(custom_with(), cluster.snapshot).steps.empty());
  }
}

TEST_CASE("own CoreDNS: a ConfigMap of the user's has the nodes' names, too") {
  const Json config = {{"apiVersion", "v1"},
                       {"kind", "ConfigMap"},
                       {"metadata", {{"name", "coredns"}, {"namespace", "kube-system"}}},
                       {"data", {{"Corefile", ". {\n    forward . 192.0.2.1\n}\n"}}}};
  SimulatedCluster cluster = without_coredns(no_coredns);
  carry_out(cluster, make_plan(custom_with("coredns_manifest", Json::array({config})), cluster.snapshot));
  const Json* made = cluster::find_named(cluster.snapshot.configmaps, "coredns");
  REQUIRE(made != nullptr);
  CHECK(made->at("data")["Corefile"] == config["data"]["Corefile"]);
  CHECK(made->at("data").contains("NodeHosts"));
}

TEST_CASE("own CoreDNS: another strategy says what would do") {
  const Plan plan = make_plan(wish({{"coredns_strategy", "replicas"}}), without_coredns(no_coredns).snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->message.find("strategy custom makes one") != std::string::npos);
}

TEST_CASE("own CoreDNS: shipped by k3s again, its NodeHosts stay") {
  SimulatedCluster cluster = without_coredns(no_coredns);
  carry_out(cluster, make_plan(custom_with(), cluster.snapshot));
  reach(cluster, custom_with());
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = Json::array({"server"}).dump();
  for (auto& object : cluster.snapshot.manifests["coredns"])
    if (object["kind"] == "ConfigMap") object["data"].erase("NodeHosts");
  reach(cluster, custom_with());
  const Json& about = cluster.snapshot.services[0]["metadata"];  // k3s is to find its own there, not to make another
  CHECK(about["annotations"]["objectset.rio.cattle.io/owner-name"] == "coredns");
  CHECK(about["labels"]["objectset.rio.cattle.io/hash"] == "bce283298811743a0386ab510f2f67ef74240c57");
  const auto& configs = cluster.snapshot.configmaps;
  const Json* config = cluster::find_named(configs, "coredns");
  REQUIRE(config != nullptr);
  CHECK(config->at("data").contains("NodeHosts"));

  carry_out(cluster, make_plan(wish({{"coredns_strategy", "packaged"}}), cluster.snapshot));
  config = cluster::find_named(configs, "coredns");
  REQUIRE(config != nullptr);
  CHECK(config->at("data").contains("NodeHosts"));
  CHECK(cluster::applied_fields(*config, "k3s-core-ha").empty());
  CHECK(cluster.serving() == 1);
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/placing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/plan_testing.h"
#include "ha/strategies/local_path.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

constexpr const char* required = "requiredDuringSchedulingIgnoredDuringExecution";
const Json ssd = {{"node_affinity", {{"disk", "ssd"}}}};

/// All three components as packaged, on nodes of which each but the last has an SSD; the first two carry the helper.
SimulatedCluster with_all(int nodes) {
  SimulatedCluster cluster(nodes);
  for (int i = 0; i + 1 < nodes; ++i)
    cluster.node(i)["metadata"]["labels"]["disk"] = "ssd";
  for (int i = 0; i < 2; ++i)
    cluster.node(i)["metadata"]["labels"][cluster::carries_label] = "0.1.0";
  cluster.ship_metrics_server();
  cluster.ship_local_path();
  return cluster;
}

void zone(SimulatedCluster& cluster, const char* label = cluster::usual_zone_label) {
  for (std::size_t i = 0; i < cluster.snapshot.nodes.size(); ++i)
    cluster.node(static_cast<int>(i))["metadata"]["labels"][label] = i % 2 == 0 ? "a" : "b";
}

/// The nodes of the pods with this label, each once.
std::vector<std::string> nodes_of(const SimulatedCluster& cluster, const char* label, const char* value) {
  std::vector<std::string> nodes;
  for (const auto& pod : cluster.snapshot.pods)
    if (pod["metadata"]["labels"].value(label, "") == value) nodes.push_back(pod["spec"]["nodeName"]);
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

/// A Deployment's spread entries with that key.
std::vector<Json> spreads(const Json& deployment, const std::string& key) {
  std::vector<Json> found;
  for (const auto& entry : deployment["spec"]["template"]["spec"].value("topologySpreadConstraints", Json::array()))
    if (entry.value("topologyKey", "") == key) found.push_back(entry);
  return found;
}

/// All three are as k3s ships them.
void check_all_packaged(SimulatedCluster& cluster, int nodes) {
  SimulatedCluster fresh = with_all(nodes);
  REQUIRE(cluster.snapshot.deployments.size() == fresh.snapshot.deployments.size());
  for (int i = 0; i < 3; ++i)
    CHECK(cluster.deployment(i)["spec"] == fresh.deployment(i)["spec"]);
  CHECK(cluster.serving() == 1);
}

bool holds_spread(const Json& deployment, const std::string& key) {
  const auto fields = cluster::applied_fields(deployment, kube::field_manager);
  return std::any_of(fields.begin(), fields.end(),
                     [&](const auto& path) { return cluster::to_string(path).find(key) != std::string::npos; });
}

}  // namespace

TEST_CASE("node_affinity: required of the nodes of all three components, and counted") {
  const std::vector<std::string> fast{"agent-1", "agent-2", "server-1"};
  for (const Json& strategy : {Json::object(), Json{{"coredns_strategy", "replicas"}},
                               Json{{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}}}) {
    CAPTURE(strategy.dump());
    SimulatedCluster cluster = with_all(4);
    Json document = strategy;
    document.update(ssd);
    const Spec spec = wish(document);
    const Plan plan = make_plan(spec, cluster.snapshot);
    CHECK(plan.level.reason.find("agent-3 (no label disk=ssd)") != std::string::npos);
    reach(cluster, spec);
    CHECK(cluster.serving() == 3);
    CHECK(nodes_of(cluster, "k8s-app", "kube-dns") == fast);
    CHECK(nodes_of(cluster, "k8s-app", "metrics-server").size() == 2);
    CHECK(nodes_of(cluster, "k8s-app", "metrics-server").back() != "agent-3");
    CHECK(nodes_of(cluster, "app", "k3s-core-ha-local-path-provisioner") ==
          std::vector<std::string>{"agent-1", "server-1"});
    // It is k3s's to keep, and ours to take away.
    reach(cluster, wish(strategy));
    for (const auto& deployment : cluster.snapshot.deployments)
      if (deployment["metadata"]["name"] != local_path_standby.name &&
          deployment["metadata"]["name"] != local_path.deployment.name)
        CHECK_FALSE(deployment["spec"]["template"]["spec"].value("affinity", Json::object()).contains("nodeAffinity"));
    reach(cluster, packaged);
    check_all_packaged(cluster, 4);
  }
}

TEST_CASE("node_affinity: another wish replaces what an earlier one required") {
  SimulatedCluster cluster = with_all(4);
  reach(cluster, wish(ssd));
  // Were the nodes judged by the earlier wish, too, the last one would not do.
  const std::vector<std::string> racks{"r1", "r2", "r3", "r2"};
  for (int i = 0; i < 4; ++i)
    cluster.node(i)["metadata"]["labels"]["rack"] = racks[static_cast<std::size_t>(i)];
  reach(cluster, wish({{"node_affinity", {{"rack", {"r1", "r2"}}}}}));
  CHECK(nodes_of(cluster, "k8s-app", "kube-dns") == std::vector<std::string>{"agent-1", "agent-3", "server-1"});
}

TEST_CASE("node_affinity: from a Deployment that has it to a DaemonSet and back, each in one go") {
  SimulatedCluster cluster = with_all(4);
  reach(cluster, wish(ssd));
  Json daemons = ssd;
  daemons.update(Json{{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}});
  reach(cluster, wish(daemons));
  const Json& terms =
      cluster.snapshot
          .daemonsets[0]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"];
  REQUIRE(terms.size() == 1);
  CHECK(terms[0]["matchExpressions"] == Json::parse(R"([{"key": "disk", "operator": "In", "values": ["ssd"]}])"));
  reach(cluster, wish(ssd));
  CHECK(cluster.serving() == 3);
}

TEST_CASE("node_affinity: what it leaves no node to is refused, and a number above its nodes") {
  const SimulatedCluster cluster = with_all(4);
  const Plan none = make_plan(wish({{"node_affinity", {{"disk", {"nvme", "tape"}}}}}), cluster.snapshot);
  REQUIRE(none.refusal);
  CHECK(none.refusal->status == ExitStatus::unsafe);
  CHECK(none.refusal->message.find("server-1 (no label disk in nvme, tape)") != std::string::npos);
  Json four = ssd;
  four["coredns_min_replicas"] = 4;
  const Plan many = make_plan(wish(four), cluster.snapshot);
  REQUIRE(many.refusal);
  CHECK(many.refusal->message.find("coredns_min_replicas is 4, but 3 replicas at most") != std::string::npos);
}

TEST_CASE("node_affinity: somebody else's own is not overruled") {
  SimulatedCluster cluster = with_all(4);
  const cluster::FieldPath field{"f:spec",     "f:template",     "f:spec",
                                 "f:affinity", "f:nodeAffinity", std::string("f:") + required};
  cluster.set_field(cluster.deployment(), field,
                    {{"nodeSelectorTerms",
                      Json::array({{{"matchExpressions", Json::array({{{"key", "disk"}, {"operator", "Exists"}}})}}})}},
                    "argocd-controller");
  const Plan plan = make_plan(wish(ssd), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::conflict);
  CHECK(plan.refusal->message.find("held by argocd-controller") != std::string::npos);
}

TEST_CASE("node_affinity: a component that stays as k3s ships it says that it does not keep it") {
  SimulatedCluster cluster = with_all(2);  // one has an SSD
  const Plan plan = make_plan(wish(ssd), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  for (const char* title : {"metrics-server", "local-path-provisioner"}) {
    const std::string words = affinity_left_out(title);
    CHECK(std::find(plan.warnings.begin(), plan.warnings.end(), words) != plan.warnings.end());
  }
  CHECK(plan.level.name == "none");
}

TEST_CASE("zones: a cluster without them gets what it always got") {
  SimulatedCluster cluster = with_all(4);
  reach(cluster, autoscaling);
  for (const auto& deployment : cluster.snapshot.deployments)
    CHECK_FALSE(holds_spread(deployment, "zone"));
  CHECK(spreads(cluster.deployment(1), cluster::usual_zone_label).empty());
}

TEST_CASE("zones: k3s's own spread is held whole, others' is added, and goes again") {
  SimulatedCluster cluster = with_all(4);
  zone(cluster);
  reach(cluster, autoscaling);
  auto own = spreads(cluster.deployment(), cluster::usual_zone_label);
  REQUIRE(own.size() == 1);  // one entry, k3s's and ours
  CHECK(own[0]["whenUnsatisfiable"] == "ScheduleAnyway");
  CHECK(own[0]["labelSelector"]["matchLabels"]["k8s-app"] == "kube-dns");
  CHECK(own[0]["matchLabelKeys"] == Json{"pod-template-hash"});
  CHECK(holds_spread(cluster.deployment(), cluster::usual_zone_label));
  // The server takes over the order of what is applied.
  const auto held = std::find_if(cluster.snapshot.deployments.begin(), cluster.snapshot.deployments.end(),
                                 [](const Json& one) { return one["metadata"]["name"] == "coredns"; });
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  const auto wished = std::find_if(plan.wished.begin(), plan.wished.end(),
                                   [](const Json& one) { return one["metadata"]["name"] == "coredns"; });
  REQUIRE(wished != plan.wished.end());
  for (std::size_t i = 0; i < 2; ++i)
    CHECK((*wished)["spec"]["template"]["spec"]["topologySpreadConstraints"][i]["topologyKey"] ==
          (*held)["spec"]["template"]["spec"]["topologySpreadConstraints"][i]["topologyKey"]);
  for (const auto& deployment : cluster.snapshot.deployments)
    CHECK(spreads(deployment, cluster::usual_zone_label).size() ==
          (deployment["metadata"]["name"] == local_path.deployment.name ? 0 : 1));
  for (int i = 0; i < 4; ++i)
    cluster.node(i)["metadata"]["labels"].erase(cluster::usual_zone_label);
  reach(cluster, autoscaling);
  own = spreads(cluster.deployment(), cluster::usual_zone_label);
  REQUIRE(own.size() == 1);
  CHECK_FALSE(own[0].contains("matchLabelKeys"));
  CHECK(spreads(cluster.deployment(1), cluster::usual_zone_label).empty());
  reach(cluster, packaged);
  check_all_packaged(cluster, 4);
}

TEST_CASE("zones: by another label the spread is ours alone, beside k3s's") {
  SimulatedCluster cluster = with_all(4);
  zone(cluster, "example.org/rack");
  const Spec spec = wish({{"zone_label", "example.org/rack"}});
  CHECK(make_plan(spec, cluster.snapshot).level.name == "zone");
  CHECK(make_plan(autoscaling, cluster.snapshot).level.name == "node");
  reach(cluster, spec);
  const auto racks = spreads(cluster.deployment(), "example.org/rack");
  REQUIRE(racks.size() == 1);
  CHECK(racks[0]["whenUnsatisfiable"] == "ScheduleAnyway");
  CHECK(racks[0]["nodeTaintsPolicy"] == "Honor");
  CHECK(spreads(cluster.deployment(), cluster::usual_zone_label).size() == 1);
  CHECK_FALSE(holds_spread(cluster.deployment(), cluster::usual_zone_label));
  reach(cluster, packaged);
  check_all_packaged(cluster, 4);
}

TEST_CASE("zones: a wish that cannot be had plans nothing") {
  SimulatedCluster cluster = with_all(4);
  const Plan plan = make_plan(wish({{"level", "zone"}}), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::unsafe);
  CHECK(plan.steps.empty());
}

TEST_CASE("zones: the pods are looked at when nothing is left to do") {
  SimulatedCluster cluster = with_all(4);
  zone(cluster);  // server-1 and agent-2 in a, agent-1 and agent-3 in b
  CHECK(make_plan(autoscaling, cluster.snapshot).unmet.empty());
  reach(cluster, autoscaling);
  const auto put = [&](const char* first, const char* second) {
    int count = 0;
    for (auto& pod : cluster.snapshot.pods)
      if (pod["metadata"]["labels"].value("k8s-app", "") == "kube-dns")
        pod["spec"]["nodeName"] = count++ % 2 == 0 ? first : second;
  };
  put("server-1", "agent-1");
  CHECK(make_plan(autoscaling, cluster.snapshot).unmet.empty());
  put("agent-1", "agent-3");
  CHECK(make_plan(autoscaling, cluster.snapshot).unmet ==
        std::vector<std::string>{
            "Level zone is not what stands: all 3 replicas of CoreDNS are in b, although nodes in a take pods: "
            "`k3s-core-ha rebalance` moves one there, once they are all older than 10 minutes."});
  CHECK(make_plan(wish({{"level", "node"}}), cluster.snapshot).unmet.empty());
  cluster.cordon(0);
  cluster.silence(2, 60);
  CHECK(make_plan(autoscaling, cluster.snapshot).unmet.at(0).find("no node of another zone takes pods now") !=
        std::string::npos);
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/metrics_server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan_testing.h"
#include "ha/state.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

SimulatedCluster with_metrics(int nodes) {
  SimulatedCluster cluster(nodes);
  cluster.ship_metrics_server();
  return cluster;
}

std::vector<std::string> metrics_ids(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& id : ids(plan))
    if (id.starts_with("metrics-server")) out.push_back(id);
  return out;
}

int pods_of_metrics(const SimulatedCluster& cluster) {
  const auto& pods = cluster.snapshot.pods;
  return static_cast<int>(std::count_if(pods.begin(), pods.end(), [](const Json& pod) {
    return pod["metadata"]["labels"].value("k8s-app", "") == "metrics-server";
  }));
}

/// A run that was stopped when it had scaled.
void only_scale(SimulatedCluster& cluster) {
  const Plan plan = make_plan(shipped_dns, cluster.snapshot);
  const auto steps = ids(plan);
  const auto overlay = std::find(steps.begin(), steps.end(), "metrics-server-overlay");
  carry_out(cluster, plan, static_cast<std::size_t>(overlay - steps.begin()));
}

/// Nodes of 4 cores; on this one, pods of this priority leave no room.
void fill(SimulatedCluster& cluster, int full, int priority) {
  for (auto& node : cluster.snapshot.nodes) {
    node["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    cluster.snapshot.usage[node["metadata"]["name"].get<std::string>()] = Json::array();
  }
  cluster.snapshot.usage[cluster.node(full)["metadata"]["name"].get<std::string>()].push_back(
      {{"priority", priority}, {"cpu", 3.95}, {"memory", 0}, {"pods", 1}});
}

std::vector<Json*> metrics_pods(SimulatedCluster& cluster) {
  std::vector<Json*> found;
  for (auto& pod : cluster.snapshot.pods)
    if (pod["metadata"]["labels"].value("k8s-app", "") == "metrics-server") found.push_back(&pod);
  return found;
}

void check_metrics_shipped_again(SimulatedCluster& cluster) {
  SimulatedCluster fresh = with_metrics(static_cast<int>(cluster.snapshot.nodes.size()));
  CHECK(pods_of_metrics(cluster) == 1);
  CHECK(cluster.deployment(1)["spec"] == fresh.deployment(1)["spec"]);
  CHECK(cluster.snapshot.poddisruptionbudgets.empty());
  for (const auto& entry : cluster.deployment(1)["metadata"]["managedFields"])
    CHECK(entry["manager"] != "k3s-core-ha");
}

}  // namespace

TEST_CASE("metrics-server: scaled out, then changed, then guarded; and back in reverse") {
  SimulatedCluster cluster = with_metrics(3);
  const Plan plan = make_plan(shipped_dns, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(metrics_ids(plan) == std::vector<std::string>{"metrics-server-scale", "metrics-server-scaled",
                                                      "metrics-server-overlay", "metrics-server-rollout",
                                                      "metrics-server-budget"});
  CHECK(plan.components["metrics_server"]["strategy"] == "packaged");
  reach(cluster, shipped_dns);
  CHECK(pods_of_metrics(cluster) == 2);
  // The Deployment's own surge would push CoreDNS out where no third host has room.
  CHECK(cluster.deployment(1)["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0);
  const Json pod = cluster.deployment(1)["spec"]["template"]["spec"];
  CHECK(pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["topologyKey"] ==
        "kubernetes.io/hostname");
  CHECK(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 5);
  CHECK(pod["containers"][0]["image"] == "rancher/mirrored-metrics-server:v0.9.0");
  const Plan next = make_plan(packaged, cluster.snapshot);
  CHECK(next.components["metrics_server"]["strategy"] == "replicas");
  CHECK(metrics_ids(next) == std::vector<std::string>{"metrics-server-budget", "metrics-server-overlay",
                                                      "metrics-server-rollout", "metrics-server-count",
                                                      "metrics-server-scaled-in", "metrics-server-count-free"});
  reach(cluster, packaged);
  check_metrics_shipped_again(cluster);
}

TEST_CASE("metrics-server: stopped anywhere, the next run comes to the same end") {
  SimulatedCluster there = with_metrics(3);
  reach(there, autoscaling);
  SimulatedCluster again = there;  // not for the first time: nobody holds the count
  reach(again, packaged);
  reach(again, autoscaling);
  SimulatedCluster shipped = with_metrics(3);
  for (const SimulatedCluster* from : {&shipped, &there, &again}) {
    const bool back = from != &shipped;
    CAPTURE(back);
    CAPTURE(from == &again);
    const SimulatedCluster& start = *from;
    const Spec& goal = back ? packaged : autoscaling;
    const std::size_t points = make_plan(goal, start.snapshot).steps.size();
    for (std::size_t point = 0; point <= points; ++point) {
      CAPTURE(point);
      SimulatedCluster cluster = start;
      carry_out(cluster, make_plan(goal, cluster.snapshot), point);
      reach(cluster, goal);
      if (back)
        check_metrics_shipped_again(cluster);
      else
        CHECK(pods_of_metrics(cluster) == 2);
    }
  }
}

TEST_CASE("metrics-server: a failed change goes back to what was") {
  for (const Spec& goal : {autoscaling, packaged}) {
    SimulatedCluster start = with_metrics(3);
    if (all_packaged(goal)) reach(start, autoscaling);
    const std::size_t points = make_plan(goal, start.snapshot).steps.size();
    for (std::size_t point = 0; point <= points; ++point) {
      CAPTURE(point);
      SimulatedCluster cluster = start;
      carry_out(cluster, make_plan(goal, cluster.snapshot), point);
      const Plan back = plan_way_back(start.snapshot, cluster.snapshot);
      REQUIRE_FALSE(back.refusal);
      carry_out(cluster, back);
      CHECK(cluster.deployment(1)["spec"] == start.snapshot.deployments[1]["spec"]);
      CHECK(cluster.snapshot.poddisruptionbudgets.size() == start.snapshot.poddisruptionbudgets.size());
      CHECK(cluster.losses == std::vector<std::string>{});
    }
  }
}

TEST_CASE("metrics-server: counts") {
  SUBCASE("on one node it stays as k3s ships it") {
    SimulatedCluster cluster = with_metrics(1);
    CHECK(metrics_ids(make_plan(autoscaling, cluster.snapshot)).empty());
  }
  SUBCASE("at level none, too; and goes back there") {
    SimulatedCluster cluster = with_metrics(3);
    reach(cluster, shipped_dns);
    reach(cluster, wish({{"coredns_strategy", "packaged"}, {"level", "none"}}));
    check_metrics_shipped_again(cluster);
  }
  SUBCASE("a number of the user's") {
    SimulatedCluster cluster = with_metrics(3);
    reach(cluster, wish({{"coredns_strategy", "packaged"}, {"metrics_server_replicas", 3}}));
    CHECK(pods_of_metrics(cluster) == 3);
    reach(cluster, shipped_dns);
    CHECK(pods_of_metrics(cluster) == 2);
  }
  SUBCASE("one that cannot be placed") {
    const Plan plan = make_plan(wish({{"metrics_server_replicas", 4}}), with_metrics(3).snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::unsafe);
    CHECK(plan.refusal->message ==
          "metrics_server_replicas is 4, but 3 replicas at most can be on different nodes: all 3 registered nodes can "
          "run metrics-server.");
    CHECK(plan.steps.empty());
  }
  SUBCASE("one that a person changed is put back") {
    SimulatedCluster cluster = with_metrics(3);
    reach(cluster, shipped_dns);
    cluster.scale_by("kubectl", 1, 1);
    CHECK(metrics_ids(make_plan(shipped_dns, cluster.snapshot)) ==
          std::vector<std::string>{"metrics-server-scale", "metrics-server-scaled"});
    reach(cluster, shipped_dns);
    CHECK(pods_of_metrics(cluster) == 2);
  }
  SUBCASE("one that another program holds is a conflict") {
    SimulatedCluster cluster = with_metrics(3);
    cluster.apply({{"apiVersion", "apps/v1"},
                   {"kind", "Deployment"},
                   {"metadata", {{"name", "metrics-server"}, {"namespace", "kube-system"}}},
                   {"spec", {{"replicas", 1}}}},
                  "argocd-controller");
    const Plan plan = make_plan(shipped_dns, cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::conflict);
    CHECK(plan.refusal->message.find("argocd-controller") != std::string::npos);
  }
}

TEST_CASE("metrics-server: what is not k3s's, or has no place now, is left alone and does not keep CoreDNS waiting") {
  SimulatedCluster cluster = with_metrics(2);
  std::string said;
  SUBCASE("somebody's own") {
    cluster.deployment(1)["metadata"].erase("annotations");
    said = "is not the one that k3s ships";
  }
  SUBCASE("a node is down") {
    cluster.silence(1, 60);
    said = "its 2 replicas need a node each, and 1 take pods now (not agent-1 (not ready))";
  }
  SUBCASE("no room") {
    cluster.snapshot.usage = {{"server-1", Json::array()},
                              {"agent-1", Json::array({{{"priority", 2000001000}, {"cpu", 3.95}, {"memory", 0.0}}})}};
    for (auto& node : cluster.snapshot.nodes)
      node["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    cluster.snapshot.pods.erase(cluster.snapshot.pods.size() - 1);  // so that the full node is to take one
    said = "metrics-server requests 0.10 CPU and 70 MiB for each replica";
  }
  const Plan plan = make_plan(shipped_dns, cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  CHECK(metrics_ids(plan).empty());
  const auto& told = plan.warnings.empty() ? plan.unmet : plan.warnings;
  REQUIRE_FALSE(told.empty());
  CHECK(told.front().find(said) != std::string::npos);
}

TEST_CASE("metrics-server: replaced only where no pod of CoreDNS could be pushed out for it") {
  struct Row {
    const char* what;
    int nodes;
    int full;
    int priority;  ///< of what fills that node
    bool changed;
    std::string said;
  };
  constexpr int critical = 2000000000;
  const std::vector<Row> rows{
      {"the only further node is full of critical pods: the scheduler would not wait for an old replica's end", 3, 2,
       critical, false, "no further node has room for one, so pods as critical as CoreDNS's may be pushed out"},
      {"of others", 3, 2, 0, true, "so pods of a lower priority will be pushed out"},
      {"there is another one", 4, 3, critical, true, ""},
      {"there is no further node", 2, 0, critical, true, ""}};
  for (const bool scaled : {false, true}) {
    for (const auto& row : rows) {
      CAPTURE(scaled);
      CAPTURE(row.what);
      SimulatedCluster cluster = with_metrics(row.nodes);
      if (scaled) only_scale(cluster);
      const auto pods = metrics_pods(cluster);
      REQUIRE(pods.size() == (scaled ? 2 : 1));
      for (std::size_t i = 0; i < pods.size(); ++i)
        (*pods[i])["spec"]["nodeName"] = cluster.node(static_cast<int>(i))["metadata"]["name"];
      fill(cluster, row.full, row.priority);
      const Plan plan = make_plan(shipped_dns, cluster.snapshot);
      REQUIRE_FALSE(plan.refusal);
      CHECK(metrics_ids(plan).empty() != row.changed);
      std::vector<std::string> told = plan.warnings;
      told.insert(told.end(), plan.unmet.begin(), plan.unmet.end());
      REQUIRE(told.size() == (row.said.empty() ? 0 : 1));
      if (!row.said.empty()) CHECK(told[0].find(row.said) != std::string::npos);
    }
  }
}

TEST_CASE("metrics-server: more than so many on every node there is are replaced before they become fewer") {
  SimulatedCluster cluster = with_metrics(3);
  cluster.scale_by("kubectl", 3, 1);
  cluster.settle();
  REQUIRE(metrics_pods(cluster).size() == 3);
  fill(cluster, 0, 2000000000);
  const Plan plan = make_plan(shipped_dns, cluster.snapshot);
  CHECK(plan.unmet.empty());
  CHECK_FALSE(metrics_ids(plan).empty());
}

TEST_CASE("metrics-server: a host that a dead node's pod keeps is no further one") {
  SimulatedCluster cluster = with_metrics(4);
  fill(cluster, 1, 2000000000);
  cluster.node(2)["metadata"]["labels"]["kubernetes.io/hostname"] = cluster.node(1)["metadata"]["name"];
  cluster.silence(1, 60);
  (*metrics_pods(cluster).at(0))["spec"]["nodeName"] = cluster.node(1)["metadata"]["name"];
  const Plan plan = make_plan(shipped_dns, cluster.snapshot);
  CHECK(plan.unmet.empty());
  CHECK_FALSE(metrics_ids(plan).empty());
}

TEST_CASE("metrics-server: of two that came to one node, one needs another; and the further one is a third") {
  for (const int nodes : {2, 3, 4}) {
    CAPTURE(nodes);
    SimulatedCluster cluster = with_metrics(nodes);
    only_scale(cluster);
    for (Json* pod : metrics_pods(cluster))
      (*pod)["spec"]["nodeName"] = cluster.node(0)["metadata"]["name"];
    fill(cluster, nodes - 1, 2000000000);
    CHECK(metrics_ids(make_plan(shipped_dns, cluster.snapshot)).empty() == (nodes < 4));
  }
}

TEST_CASE("metrics-server: manifests hold its count") {
  SimulatedCluster cluster = with_metrics(3);
  const auto objects = manifests(make_plan(shipped_dns, cluster.snapshot));
  const auto found = std::find_if(objects.begin(), objects.end(),
                                  [](const Json& object) { return kube::ref_of(object) == metrics_server.deployment; });
  REQUIRE(found != objects.end());
  CHECK((*found)["spec"]["replicas"] == 2);
  CHECK((*found)["metadata"]["annotations"]["k3s-core-ha/keep"] == "true");
  for (const Json& object : objects)
    if (kube::ref_of(object).kind == "Deployment") cluster.apply(object, "k3s-core-ha");
  cluster.settle();
  reach(cluster, shipped_dns);
  CHECK(pods_of_metrics(cluster) == 2);
  reach(cluster, packaged);
  CHECK(pods_of_metrics(cluster) == 1);
}

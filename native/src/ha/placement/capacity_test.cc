// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/capacity.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

constexpr int critical = 2000000000;

/// Nodes of 4 cores and 8 GiB; CoreDNS requests 100m and 70Mi, as k3s ships it.
SimulatedCluster sized(int nodes) {
  SimulatedCluster cluster(nodes);
  for (int i = 0; i < nodes; ++i)
    cluster.node(i)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
  cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["resources"] = {
      {"requests", {{"cpu", "100m"}, {"memory", "70Mi"}}}};
  cluster.settle();
  cluster.losses.clear();
  return cluster;
}

void use(SimulatedCluster& cluster, int index, int priority, double cpu, double memory_mi = 0, int pods = 1) {
  const std::string name = cluster.node(index)["metadata"]["name"];
  cluster.snapshot.usage[name].push_back(
      {{"priority", priority}, {"cpu", cpu}, {"memory", memory_mi * 1048576}, {"pods", pods}});
}

void know_all(SimulatedCluster& cluster) {
  for (const auto& node : cluster.snapshot.nodes)
    cluster.snapshot.usage[node["metadata"]["name"].get<std::string>()] = Json::array();
}

}  // namespace

TEST_CASE("capacity: what other pods request is asked for only where pods are to be placed") {
  SimulatedCluster cluster = sized(3);
  CHECK(make_plan(wish(), cluster.snapshot).unread.size() == 3);
  know_all(cluster);
  const Plan plan = make_plan(wish(), cluster.snapshot);
  CHECK(plan.unread.empty());
  CHECK(plan.warnings.empty());
  reach(cluster, wish());
  cluster.snapshot.usage = Json::object();
  CHECK(make_plan(wish(), cluster.snapshot).unread.empty());
  CHECK(make_plan(wish({{"coredns_cpu_utilization", 50}}), cluster.snapshot).unread.empty());
}

TEST_CASE("capacity: in a large cluster only as many nodes are looked at as it takes") {
  SimulatedCluster cluster = sized(200);  // 13 replicas
  const Plan first = make_plan(wish(), cluster.snapshot);
  CHECK(first.unread.size() == 26);
  for (const auto& node : first.unread)
    cluster.snapshot.usage[node] = Json::array();
  CHECK(make_plan(wish(), cluster.snapshot).unread.empty());
  // Half of them full: the others are asked, too.
  for (std::size_t i = 0; i < 14; ++i)
    cluster.snapshot.usage[first.unread[i]].push_back({{"priority", critical}, {"cpu", 4}, {"memory", 0}, {"pods", 1}});
  const Plan second = make_plan(wish(), cluster.snapshot);
  CHECK_FALSE(second.unread.empty());
  CHECK(cluster.snapshot.usage.find(second.unread[0]) == cluster.snapshot.usage.end());
}

TEST_CASE("capacity: replicas that fit nowhere are refused, with the numbers") {
  struct Row {
    const char* what;
    std::function<void(SimulatedCluster&)> change;
    std::vector<std::string> words;  ///< of the refusal, or of the only warning
    bool refused;
  };
  const std::vector<Row> rows{{"a node without CPU: the others may hold one each",
                               [](SimulatedCluster& c) { use(c, 1, critical, 3.95); },
                               {"0.10 CPU and 70 MiB", "2 of 3 new replicas", "3 nodes", "agent-1: 0.05 CPU"},
                               true},
                              {"no memory anywhere",
                               [](SimulatedCluster& c) {
                                 for (int i = 0; i < 3; ++i)
                                   use(c, i, critical, 0, 8150);
                               },
                               {"0 of 3 new replicas", "42 MiB"},
                               true},
                              {"no pod slot",
                               [](SimulatedCluster& c) { use(c, 2, critical, 0, 0, 110); },
                               {"2 of 3 new replicas", "agent-2", "0 pods free"},
                               true},
                              {"pods of a lower priority are pushed out",
                               [](SimulatedCluster& c) { use(c, 1, 0, 3.95); },
                               {"lower priority", "pushed out"},
                               false}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster = sized(3);
    know_all(cluster);
    row.change(cluster);
    const Plan plan = make_plan(wish(), cluster.snapshot);
    REQUIRE(plan.refusal.has_value() == row.refused);
    if (!row.refused) REQUIRE(plan.warnings.size() == 1);
    const std::string text = row.refused ? plan.refusal->message : plan.warnings[0];
    CAPTURE(text);
    for (const auto& word : row.words)
      CHECK(text.find(word) != std::string::npos);
  }
}

TEST_CASE("capacity: replicas that stay where they are need no room") {
  SimulatedCluster cluster = sized(4);
  know_all(cluster);
  reach(cluster, wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 3}}));
  for (int i = 1; i < 4; ++i)
    use(cluster, i, critical, 4);  // where the replicas are
  CHECK_FALSE(make_plan(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 4}}), cluster.snapshot).refusal);
  use(cluster, 0, critical, 4);
  CHECK(make_plan(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 4}}), cluster.snapshot).refusal);
}

TEST_CASE("capacity: an outage is told, and stops no repair") {
  SimulatedCluster cluster = sized(3);
  know_all(cluster);
  cluster.silence(1, 60);
  cluster.silence(2, 60);
  const Plan plan = make_plan(wish(), cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  REQUIRE(plan.warnings.size() == 1);
  CHECK(plan.warnings[0].find("Only 1 of 3 nodes that can run CoreDNS takes pods now") != std::string::npos);
  CHECK(plan.warnings[0].find("agent-2 (not ready)") != std::string::npos);
}

TEST_CASE("capacity: nodes that carry one host label are one host to the spread rule") {
  const Spec two = wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 2}});
  SimulatedCluster cluster = sized(3);
  know_all(cluster);
  cluster.node(2)["metadata"]["labels"]["kubernetes.io/hostname"] = cluster.node(1)["metadata"]["name"];
  use(cluster, 0, critical, 3.95);
  const Plan refused = make_plan(two, cluster.snapshot);
  REQUIRE(refused.refusal);
  CHECK(refused.refusal->message.find("1 of 2 new replicas") != std::string::npos);
  // And their room adds up: here one each, so that the other host may have as many, and one more.
  SimulatedCluster roomy = sized(3);
  know_all(roomy);
  roomy.node(2)["metadata"]["labels"]["kubernetes.io/hostname"] = roomy.node(1)["metadata"]["name"];
  roomy.scale_by("kubectl", 5);
  roomy.settle();
  use(roomy, 1, critical, 3.85);
  use(roomy, 2, critical, 3.85);
  CHECK_FALSE(make_plan(two, roomy.snapshot).refusal);
}

TEST_CASE("capacity: a node under pressure is ready, and takes no new pod but a DaemonSet's") {
  SimulatedCluster cluster = sized(3);
  know_all(cluster);
  cluster.taint(1, "node.kubernetes.io/disk-pressure", "NoSchedule");
  const Plan plan = make_plan(wish(), cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  REQUIRE(plan.warnings.size() == 1);
  CHECK(plan.warnings[0].find("Only 2 of 3 nodes") != std::string::npos);
  CHECK(plan.warnings[0].find("agent-1 (disk-pressure)") != std::string::npos);
  use(cluster, 1, critical, 3.95);
  const Spec daemons = wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}});
  const Plan full = make_plan(daemons, cluster.snapshot);
  REQUIRE(full.refusal);
  CHECK(full.refusal->message.find("1 of 3 have no room") != std::string::npos);
  cluster.taint(1, "node.kubernetes.io/network-unavailable", "NoSchedule");
  CHECK_FALSE(make_plan(daemons, cluster.snapshot).refusal);
}

TEST_CASE("capacity: replicas that stay together leave the other hosts their share") {
  SimulatedCluster cluster = sized(3);
  know_all(cluster);
  reach(cluster, wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 2}}));
  for (auto& pod : cluster.snapshot.pods)
    if (pod["metadata"]["labels"].value("k8s-app", "") == "kube-dns")
      pod["spec"]["nodeName"] = cluster.node(2)["metadata"]["name"];
  use(cluster, 0, critical, 3.95);
  use(cluster, 1, critical, 3.85);
  CHECK_FALSE(make_plan(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 3}}), cluster.snapshot).refusal);
  CHECK(make_plan(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 4}}), cluster.snapshot).refusal);
}

TEST_CASE("capacity: metrics-server waits where its new replica may take the room that CoreDNS needs") {
  const auto adds_metrics = [](const Plan& plan) {
    const auto steps = ids(plan);
    return std::find(steps.begin(), steps.end(), "metrics-server-scale") != steps.end();
  };
  SimulatedCluster cluster = sized(3);
  cluster.ship_metrics_server();
  know_all(cluster);
  for (int i = 0; i < 3; ++i)
    use(cluster, i, critical, 0, 0, i == 2 ? 0 : 109);  // two have one pod's place, whoever comes first
  for (const char* nodes : {"all", ""}) {
    const Spec spec =
        *nodes != '\0' ? wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", nodes}}) : wish();
    const Plan plan = make_plan(spec, cluster.snapshot);
    CHECK_FALSE(plan.refusal);
    CHECK_FALSE(adds_metrics(plan));
    REQUIRE(plan.unmet.size() == 1);
    CHECK(plan.unmet[0].starts_with("metrics-server is left as it is for now"));
  }
  SimulatedCluster roomy = sized(3);
  roomy.ship_metrics_server();
  know_all(roomy);
  CHECK(adds_metrics(make_plan(wish(), roomy.snapshot)));
  // While they are replaced both may come to other nodes, here each of one pod's place but where the first is now.
  for (const int nodes : {4, 5}) {
    CAPTURE(nodes);
    SimulatedCluster moving = sized(nodes);
    moving.ship_metrics_server();
    know_all(moving);
    for (auto& pod : moving.snapshot.pods)
      pod["spec"]["nodeName"] = moving.node(0)["metadata"]["name"];
    for (int i = 1; i < nodes; ++i)
      use(moving, i, critical, 0, 0, 109);
    const Plan plan = make_plan(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 3}}), moving.snapshot);
    CHECK_FALSE(plan.refusal);
    CHECK(adds_metrics(plan) == (nodes == 5));
  }
}

TEST_CASE("capacity: a daemon that finds its room taken by metrics-server's new replica pushes others out") {
  const auto told = [](double others) {
    SimulatedCluster cluster = sized(3);
    cluster.ship_metrics_server();
    know_all(cluster);
    use(cluster, 1, 0, others);
    const Plan plan =
        make_plan(wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}}), cluster.snapshot);
    CHECK_FALSE(plan.refusal);
    return std::any_of(plan.warnings.begin(), plan.warnings.end(), [](const std::string& warning) {
      return warning.find("pods of a lower priority may be pushed out on ") != std::string::npos;
    });
  };
  CHECK(told(3.95));
  CHECK(told(3.85));  // room for one of the two
  CHECK_FALSE(told(3.75));
}

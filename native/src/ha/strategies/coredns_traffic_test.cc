// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_traffic.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_view.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// A cluster of nodes in these zones, "" for none told.
SimulatedCluster in_zones(const std::vector<std::string>& zones) {
  SimulatedCluster cluster(static_cast<int>(zones.size()));
  for (std::size_t i = 0; i < zones.size(); ++i)
    if (!zones[i].empty())
      cluster.node(static_cast<int>(i))["metadata"]["labels"][cluster::usual_zone_label] = zones[i];
  cluster.settle();
  return cluster;
}

std::string distribution(SimulatedCluster& cluster) {
  return cluster.service()["spec"].value("trafficDistribution", "");
}

}  // namespace

TEST_CASE("traffic: what is near is preferred by itself where that leaves no client to fewer replicas") {
  struct Row {
    const char* what;
    std::vector<std::string> zones;
    const char* wish;
    int replicas;
    const char* value;
    int among;
  };
  const std::vector<Row> rows{
      {"no zones", {"", "", "", ""}, "auto", 3, "PreferSameNode", 3},
      {"one zone", {"a", "a", "a", "a"}, "auto", 3, "PreferSameNode", 3},
      {"a replica on every node", {"a", "b", "c"}, "auto", 3, "PreferSameNode", 1},
      {"a replica in every zone", {"a", "b", "c", "a", "b", "c"}, "auto", 3, "", 3},
      {"two in every zone", {"a", "b", "a", "b", "a", "b"}, "auto", 4, "", 4},
      {"a node of no zone", {"a", "a", ""}, "auto", 2, "", 2},
      {"asked for", {"a", "b", "c", "a", "b", "c"}, "PreferSameNode", 3, "PreferSameNode", 1},
      {"asked for, two in every zone", {"a", "b", "a", "b", "a", "b"}, "PreferSameZone", 5, "PreferSameZone", 2},
      {"asked for, without zones", {"", "", ""}, "PreferSameZone", 2, "PreferSameZone", 2},
      {"not wished", {"a", "b", "c", "a"}, "none", 3, "", 3}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const TrafficChoice choice =
        choose_traffic(wish({{"coredns_traffic_distribution", row.wish}}), in_zones(row.zones).snapshot, row.replicas);
    CHECK(choice.value == row.value);
    CHECK(choice.among == row.among);
    CHECK(choice.warning.empty());
  }
}

TEST_CASE("traffic: somebody else's is left, and what it costs is known") {
  for (const char* theirs : {"PreferClose", "PreferSameNode"}) {
    SimulatedCluster cluster = in_zones({"a", "b", "c", "a", "b", "c"});
    cluster.set_field(cluster.service(), {"f:spec", "f:trafficDistribution"}, theirs, "kubectl");
    const TrafficChoice choice = choose_traffic(autoscaling, cluster.snapshot, 3);
    CHECK(choice.value.empty());
    CHECK(choice.among == 1);
    CHECK(choice.warning.find("from somebody else") != std::string::npos);
  }
}

TEST_CASE("traffic: follows the nodes, and the prediction says what a wish by hand costs") {
  SimulatedCluster cluster = in_zones({"a", "b", "c"});
  reach(cluster, autoscaling);
  CHECK(distribution(cluster) == "PreferSameNode");
  cluster.snapshot.nodes.push_back(cluster.node(2));
  cluster.node(3)["metadata"]["name"] = "agent-3";
  cluster.node(3)["metadata"]["labels"]["kubernetes.io/hostname"] = "agent-3";
  cluster.settle();
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  CHECK(plan.warnings.empty());
  CHECK(plan.predicted["node_death"]["lost_share"] == 0.333);
  reach(cluster, autoscaling);
  CHECK(distribution(cluster).empty());
  const Spec by_hand = wish({{"coredns_traffic_distribution", "PreferSameNode"}});
  CHECK(make_plan(by_hand, cluster.snapshot).predicted["node_death"]["lost_share"] == Json::array({0, 1}));
  reach(cluster, by_hand);
  CHECK(distribution(cluster) == "PreferSameNode");
}

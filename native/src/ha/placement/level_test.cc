// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/level.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha;

namespace {

Sizing size(const SimulatedCluster& cluster, const Json& spec = Json::object()) {
  const auto parsed = parse_spec(spec);
  REQUIRE(parsed);
  const auto& deployment = cluster.snapshot.deployments[0];
  return size_coredns(
      *parsed, cluster::judge_nodes(cluster.snapshot, deployment["spec"]["template"]["spec"], parsed->zone_label));
}

/// The nodes' zones; an empty one is not told.
SimulatedCluster in_zones(const std::vector<std::string>& zones, const char* label = cluster::usual_zone_label) {
  SimulatedCluster cluster(static_cast<int>(zones.size()));
  for (std::size_t i = 0; i < zones.size(); ++i)
    if (!zones[i].empty()) cluster.node(static_cast<int>(i))["metadata"]["labels"][label] = zones[i];
  return cluster;
}

void check_words(const std::string& text, const std::vector<std::string>& words) {
  CAPTURE(text);
  for (const auto& word : words)
    CHECK(text.find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("level: chosen by the nodes that can run CoreDNS, with counts for the cluster's size") {
  struct Row {
    const char* what;
    int nodes;
    Json spec;
    std::function<void(SimulatedCluster&)> change;
    const char* level;
    int least;
    int most;
    std::vector<std::string> words;
  };
  const auto nothing = [](SimulatedCluster&) {};
  const std::vector<Row> rows{
      {"one node", 1, {}, nothing, "none", 1, 5, {"one node (server-1)", "nothing more can be had"}},
      {"two nodes", 2, {}, nothing, "node", 2, 5, {"All 2 registered nodes"}},
      {"three nodes", 3, {}, nothing, "node", 3, 6, {"All 3 registered nodes", "3 replicas"}},
      {"five nodes", 5, {}, nothing, "node", 3, 6, {}},
      {"fifty nodes: one replica for 16", 50, {}, nothing, "node", 4, 8, {}},
      {"five hundred nodes", 500, {}, nothing, "node", 32, 64, {}},
      {"few nodes, many cores: one replica for 256",
       6,
       {},
       [](SimulatedCluster& c) {
         for (int i = 0; i < 6; ++i)
           c.node(i)["status"]["capacity"]["cpu"] = "192";
       },
       "node",
       5,
       10,
       {}},
      {"cores in thousandths",
       3,
       {},
       [](SimulatedCluster& c) { c.node(0)["status"]["capacity"]["cpu"] = "3920m"; },
       "node",
       3,
       6,
       {}},
      {"a taint that CoreDNS does not tolerate",
       3,
       {},
       [](SimulatedCluster& c) { c.taint(2, "gpu", "NoSchedule"); },
       "node",
       2,
       5,
       {"2 of 3 registered nodes", "agent-2 (taint gpu:NoSchedule)"}},
      {"all but one tainted",
       3,
       {},
       [](SimulatedCluster& c) {
         c.taint(1, "gpu", "NoExecute");
         c.taint(2, "gpu", "NoSchedule");
       },
       "none",
       1,
       5,
       {"Only 1 of 3", "agent-1 (taint gpu:NoExecute)"}},
      {"the control plane's taint is tolerated",
       3,
       {},
       [](SimulatedCluster& c) { c.taint(0, "node-role.kubernetes.io/control-plane", "NoSchedule"); },
       "node",
       3,
       6,
       {}},
      {"a taint of preference only",
       3,
       {},
       [](SimulatedCluster& c) { c.taint(2, "slow", "PreferNoSchedule"); },
       "node",
       3,
       6,
       {}},
      {"another operating system",
       3,
       {},
       [](SimulatedCluster& c) { c.node(2)["metadata"]["labels"]["kubernetes.io/os"] = "windows"; },
       "node",
       2,
       5,
       {"agent-2 (no label kubernetes.io/os=linux)"}},
      {"node affinity",
       3,
       {},
       [](SimulatedCluster& c) {
         c.deployment()["spec"]["template"]["spec"]["affinity"] = Json::parse(
             R"({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                  {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
                  {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["agent-1"]}]}]}}})");
       },
       "node",
       2,
       5,
       {"agent-2 (node affinity)"}},
      {"an outage shrinks nothing", 3, {}, [](SimulatedCluster& c) { c.silence(2, 3600); }, "node", 3, 6, {}},
      {"nor does a drain", 3, {}, [](SimulatedCluster& c) { c.cordon(1); }, "node", 3, 6, {}},
      {"what is gone for good does not count",
       3,
       {{"unreachable_counts_for", 3599}},
       [](SimulatedCluster& c) { c.silence(2, 3600); },
       "node",
       2,
       5,
       {}},
      {"a minimum of the user's", 5, {{"coredns_min_replicas", 4}}, nothing, "node", 4, 8, {}},
      {"one replica of the user's",
       5,
       {{"coredns_min_replicas", 1}},
       nothing,
       "none",
       1,
       5,
       {"coredns_min_replicas is 1"}},
      {"a maximum below what the level would take", 3, {{"coredns_max_replicas", 2}}, nothing, "node", 2, 2, {}},
      {"level none is asked for", 3, {{"level", "none"}}, nothing, "none", 1, 5, {"asked for"}},
      {"level none with a minimum of the user's",
       3,
       {{"level", "none"}, {"coredns_min_replicas", 2}},
       nothing,
       "node",
       2,
       5,
       {"asked for", "gives node"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster(row.nodes);
    row.change(cluster);
    const Sizing sizing = size(cluster, row.spec);
    CHECK_FALSE(sizing.refusal);
    CHECK(sizing.level.name == row.level);
    CHECK(sizing.min_replicas == row.least);
    CHECK(sizing.max_replicas == row.most);
    CHECK(sizing.level.reason.ends_with("."));
    check_words(sizing.level.reason, row.words);
  }
}

TEST_CASE("level: numbers of the user's that cannot be had are refused, with the numbers") {
  struct Row {
    const char* what;
    int nodes;
    Json spec;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {"more replicas than nodes",
       3,
       {{"coredns_min_replicas", 4}},
       {"coredns_min_replicas is 4", "all 3", "3 replicas"}},
      {"level node on one node", 1, {{"level", "node"}}, {"needs 2 nodes", "the only registered node"}},
      {"level node with one replica",
       3,
       {{"level", "node"}, {"coredns_min_replicas", 1}},
       {"coredns_min_replicas is 1"}},
      {"level node with at most one replica",
       3,
       {{"level", "node"}, {"coredns_max_replicas", 1}},
       {"coredns_max_replicas is 1"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const Sizing sizing = size(SimulatedCluster(row.nodes), row.spec);
    REQUIRE(sizing.refusal);
    CHECK(sizing.refusal->status == ExitStatus::unsafe);
    check_words(sizing.refusal->message, row.words);
    CHECK(sizing.level.reason.find("may fail") == std::string::npos);
  }
  SimulatedCluster nowhere(2);
  for (int i = 0; i < 2; ++i)
    nowhere.taint(i, "gpu", "NoSchedule");
  REQUIRE(size(nowhere).refusal);
  check_words(size(nowhere).refusal->message, {"No registered node can run CoreDNS"});
}

TEST_CASE("level: a sentence names a few nodes, not all") {
  SimulatedCluster cluster(100);
  for (int i = 10; i < 100; ++i)
    cluster.taint(i, "gpu", "NoSchedule");
  check_words(size(cluster).level.reason, {"10 of 100", "and 85 more"});
}

TEST_CASE("level: zone where each node tells its zone and there are two; else why not") {
  struct Row {
    const char* what;
    std::vector<std::string> zones;
    Json spec;
    const char* level;
    std::vector<std::string> words;    ///< of the reason
    std::vector<std::string> warning;  ///< of the only one; empty: there is none
  };
  const std::vector<Row> rows{
      {"three",
       {"a", "b", "c"},
       {},
       "zone",
       {"3 replicas on as many nodes, spread over 3 zones (a, b, c)", "any one zone may fail"},
       {}},
      {"two replicas", {"a", "b", "c"}, {{"coredns_min_replicas", 2}}, "zone", {"2 replicas", "any one zone"}, {}},
      {"one replica", {"a", "b"}, {{"coredns_min_replicas", 1}}, "none", {"coredns_min_replicas is 1"}, {}},
      {"level node is enough", {"a", "b", "c"}, {{"level", "node"}}, "node", {"any one node may fail"}, {}},
      {"all in one", {"a", "a", "a"}, {}, "node", {"any one node may fail, but not a, the zone of all"}, {}},
      {"none told", {"", "", ""}, {}, "node", {"so any one node may fail."}, {}},
      {"one missing",
       {"a", "b", ""},
       {},
       "node",
       {"any one node may fail."},
       {"Level zone is not taken: 1 of 3 nodes that can run CoreDNS carries no label topology.kubernetes.io/zone "
        "(agent-2)",
        "kubectl label node agent-2 topology.kubernetes.io/zone=ZONE"}},
      {"two missing", {"a", "", ""}, {}, "node", {}, {"2 of 3", "carry no label", "(agent-1, agent-2)"}},
      {"missing, but node is asked for", {"a", "b", ""}, {{"level", "node"}}, "node", {}, {}},
      {"another label, which nobody carries",
       {"a", "b", "c"},
       {{"zone_label", "example.org/rack"}},
       "node",
       {},
       {"3 of 3", "no label example.org/rack"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const Sizing sizing = size(in_zones(row.zones), row.spec);
    CHECK_FALSE(sizing.refusal);
    CHECK(sizing.level.name == row.level);
    check_words(sizing.level.reason, row.words);
    REQUIRE(sizing.warnings.size() == (row.warning.empty() ? 0 : 1));
    if (!row.warning.empty()) check_words(sizing.warnings[0], row.warning);
  }
  const Sizing racks = size(in_zones({"r1", "r2"}, "example.org/rack"), {{"zone_label", "example.org/rack"}});
  CHECK(racks.level.name == "zone");
  CHECK(racks.warnings.empty());
}

TEST_CASE("level: a node that cannot run CoreDNS needs no zone, and its own is none to count on") {
  SimulatedCluster cluster = in_zones({"a", "b", ""});
  cluster.taint(2, "gpu", "NoSchedule");
  CHECK(size(cluster).level.name == "zone");
  CHECK(size(cluster).warnings.empty());
  SimulatedCluster other = in_zones({"a", "a", "b"});
  other.taint(2, "gpu", "NoSchedule");
  CHECK(size(other).level.name == "node");
}

TEST_CASE("level: zone, where it cannot be had, is refused with the numbers") {
  struct Row {
    const char* what;
    std::vector<std::string> zones;
    Json spec;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {"no labels",
       {"", "", ""},
       {},
       {"level is zone, but 3 of 3 nodes that can run CoreDNS carry no label topology.kubernetes.io/zone (server-1, "
        "agent-1, agent-2)",
        "kubectl label node server-1"}},
      {"one missing", {"a", "b", ""}, {}, {"1 of 3 nodes", "carries no label", "(agent-2)"}},
      {"one zone", {"a", "a"}, {}, {"needs nodes in 2 zones", "all 2 registered nodes can run CoreDNS, in 1 zone (a)"}},
      {"one node", {"a"}, {}, {"the only registered node can run CoreDNS, in 1 zone (a)"}},
      {"one replica",
       {"a", "b"},
       {{"coredns_min_replicas", 1}},
       {"level is zone, which needs 2 replicas, but coredns_min_replicas is 1"}},
      {"more replicas than nodes", {"a", "b"}, {{"coredns_min_replicas", 3}}, {"coredns_min_replicas is 3"}}};
  for (auto row : rows) {
    CAPTURE(row.what);
    row.spec["level"] = "zone";
    const Sizing sizing = size(in_zones(row.zones), row.spec);
    REQUIRE(sizing.refusal);
    CHECK(sizing.refusal->status == ExitStatus::unsafe);
    check_words(sizing.refusal->message, row.words);
    CHECK(sizing.level.name != "zone");
  }
}

// SPDX-License-Identifier: GPL-3.0-or-later
//
// What clusters of each size get, in one table. docs/levels.md has it beside what others decide for them.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_daemonset.h"
#include "ha/strategies/coredns_view.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

using Change = std::function<void(SimulatedCluster&, int)>;

int size_of(const SimulatedCluster& cluster) {
  return static_cast<int>(cluster.snapshot.nodes.size());
}

/// Each n-th node, counted from the first agent's side: the server stays as it is.
Change each(int nth, const Change& change) {
  return [=](SimulatedCluster& cluster, int) {
    for (int i = nth - 1; i < size_of(cluster); i += nth)
      change(cluster, i);
  };
}

Change both(const Change& one, const Change& other) {
  return [=](SimulatedCluster& cluster, int) {
    one(cluster, 0);
    other(cluster, 0);
  };
}

void label(SimulatedCluster& cluster, int index, const char* key, const std::string& value) {
  cluster.node(index)["metadata"]["labels"][key] = value;
}

/// The nodes are in so many zones, in turn.
Change in_zones(int zones) {
  return each(1, [=](SimulatedCluster& cluster, int i) {
    label(cluster, i, cluster::usual_zone_label, "zone-" + std::string(1, static_cast<char>('a' + i % zones)));
  });
}

const Change as_it_is = [](SimulatedCluster&, int) {};
const Change tainted = each(3, [](SimulatedCluster& c, int i) { c.taint(i, "gpu", "NoSchedule"); });
const Change cordoned = each(2, [](SimulatedCluster& c, int i) { c.cordon(i); });
const Change mixed_architectures =
    each(2, [](SimulatedCluster& c, int i) { label(c, i, "kubernetes.io/arch", "arm64"); });
const Change mixed_versions =
    each(2, [](SimulatedCluster& c, int i) { c.node(i)["status"]["nodeInfo"]["kubeletVersion"] = "v1.33.4+k3s1"; });
const Change gone_for_weeks = each(4, [](SimulatedCluster& c, int i) { c.silence(i, 21 * 86400); });
const Change away_for_hours = each(2, [](SimulatedCluster& c, int i) { c.silence(i, 6 * 3600); });
const Change one_unlabelled =
    each(1, [](SimulatedCluster& c, int) { c.node(0)["metadata"]["labels"].erase(cluster::usual_zone_label); });
/// Every second node is gone, and with it all of the second zone.
const Change zone_gone = each(2, [](SimulatedCluster& c, int i) { c.silence(i, 21 * 86400); });

struct Row {
  int nodes;
  const char* level;
  int least;    ///< replicas of CoreDNS, the autoscaler's minimum
  int most;     ///< and its maximum
  int daemons;  ///< replicas from a DaemonSet on all nodes
  int metrics;  ///< replicas of metrics-server
};

struct Table {
  const char* what;
  Change change;
  std::vector<Row> rows;
};

}  // namespace

TEST_CASE("level: what clusters of each size get") {
  const std::vector<Row> usual{{1, "none", 1, 5, 1, 1}, {2, "node", 2, 5, 2, 2},   {3, "node", 3, 6, 3, 2},
                               {5, "node", 3, 6, 5, 2}, {50, "node", 4, 8, 50, 2}, {500, "node", 32, 64, 500, 2}};
  const std::vector<Row> zoned{{1, "none", 1, 5, 1, 1}, {2, "zone", 2, 5, 2, 2},   {3, "zone", 3, 6, 3, 2},
                               {5, "zone", 3, 6, 5, 2}, {50, "zone", 4, 8, 50, 2}, {500, "zone", 32, 64, 500, 2}};
  const std::vector<Table> situations{
      {"nothing special", as_it_is, usual},
      {"each second node cordoned", cordoned, usual},
      {"each second node away for hours", away_for_hours, usual},
      {"two architectures", mixed_architectures, usual},
      {"two versions", mixed_versions, usual},
      {"each third node tainted",
       tainted,
       {{1, "none", 1, 5, 1, 1},
        {2, "node", 2, 5, 2, 2},
        {3, "node", 2, 5, 2, 2},
        {5, "node", 3, 6, 4, 2},
        {50, "node", 4, 8, 34, 2},
        {500, "node", 32, 64, 334, 2}}},
      {"each fourth node gone for weeks",
       gone_for_weeks,
       {{1, "none", 1, 5, 1, 1},
        {2, "node", 2, 5, 2, 2},
        {3, "node", 3, 6, 3, 2},
        {5, "node", 3, 6, 4, 2},
        {50, "node", 3, 6, 38, 2},
        {500, "node", 24, 48, 375, 2}}},
      {"one zone", in_zones(1), usual},
      {"three zones", in_zones(3), zoned},
      {"three zones, each second node cordoned", both(in_zones(3), cordoned), zoned},
      {"three zones, each second node away for hours", both(in_zones(3), away_for_hours), zoned},
      {"three zones, the third tainted",
       both(in_zones(3), tainted),
       {{1, "none", 1, 5, 1, 1},
        {2, "zone", 2, 5, 2, 2},
        {3, "zone", 2, 5, 2, 2},
        {5, "zone", 3, 6, 4, 2},
        {50, "zone", 4, 8, 34, 2},
        {500, "zone", 32, 64, 334, 2}}},
      {"three zones, one node without the label", both(in_zones(3), one_unlabelled), usual},
      {"two zones, the second gone for weeks",
       both(in_zones(2), zone_gone),
       {{1, "none", 1, 5, 1, 1},
        {2, "none", 1, 5, 1, 1},
        {3, "node", 2, 5, 2, 2},
        {5, "node", 3, 6, 3, 2},
        {50, "node", 3, 6, 25, 2},
        {500, "node", 16, 32, 250, 2}}}};
  const Spec spec = wish();
  const Spec everywhere = wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}});
  for (const auto& situation : situations) {
    for (const auto& row : situation.rows) {
      CAPTURE(situation.what);
      CAPTURE(row.nodes);
      SimulatedCluster cluster(row.nodes);
      situation.change(cluster, 0);
      const CoreDns coredns = view_coredns(cluster.snapshot);
      const auto nodes = cluster::judge_nodes(cluster.snapshot, coredns.pod_spec());
      const Sizing sizing = size_coredns(spec, nodes);
      CHECK_FALSE(sizing.refusal);
      CHECK(sizing.level.name == row.level);
      CHECK(sizing.min_replicas == row.least);
      CHECK(sizing.max_replicas == row.most);
      const Sizing daemons = size_daemonset(everywhere, judge_daemon_nodes(cluster.snapshot, coredns, everywhere));
      CHECK(daemons.level.name == row.level);
      CHECK(daemons.min_replicas == row.daemons);
      CHECK(size_metrics_server(spec, nodes).min_replicas == row.metrics);
    }
  }
}

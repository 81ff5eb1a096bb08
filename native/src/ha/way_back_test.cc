// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/way_back.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// What a user and k3s see: specs, and who holds fields of them.
Json seen(const SimulatedCluster& cluster) {
  Json all = Json::object();
  const auto& snapshot = cluster.snapshot;
  for (const auto* list : {&snapshot.deployments, &snapshot.daemonsets, &snapshot.services,
                           &snapshot.horizontalpodautoscalers, &snapshot.poddisruptionbudgets, &snapshot.configmaps}) {
    for (const auto& object : *list) {
      Json& shown = all[object["kind"].get<std::string>()];
      shown = cluster::lasting(object);
      // An autoscaler lowers the count by itself, in its own time.
      if (shown["kind"] == "Deployment" && !snapshot.horizontalpodautoscalers.empty()) shown["spec"].erase("replicas");
      for (const auto& entry : object["metadata"].value("managedFields", Json::array()))
        if (entry["manager"] == "k3s-core-ha" && entry["operation"] == "Apply") shown["ours"] = entry["fieldsV1"];
    }
  }
  return all;
}

/// Goes from each point of the way to `second` back to how `start` is.
void check_every_point(const SimulatedCluster& start, const Spec& second) {
  const Plan plan = make_plan(second, start.snapshot);
  REQUIRE_FALSE(plan.refusal);
  for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
    CAPTURE(stop);
    SimulatedCluster cluster = start;
    cluster.losses.clear();
    carry_out(cluster, plan, stop);
    const Plan back = plan_way_back(start.snapshot, cluster.snapshot);
    CHECK_FALSE(back.refusal);
    carry_out(cluster, back);
    CHECK(seen(cluster) == seen(start));
    CHECK(cluster.serving() >= start.serving());
    CHECK(cluster.snapshot.pods.size() == static_cast<std::size_t>(cluster.serving()));
    CHECK(cluster.losses == std::vector<std::string>{});
    CHECK(plan_way_back(start.snapshot, cluster.snapshot).steps.empty());
  }
}

}  // namespace

TEST_CASE("way back: from every point of a change to how it was before") {
  const std::vector<Spec> wishes{
      packaged,
      autoscaling,
      wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 2}}),
      wish({{"coredns_strategy", "daemonset"}}),
      wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}}),
      wish({{"coredns_min_replicas", 2}, {"coredns_cpu_utilization", 50}, {"coredns_traffic_distribution", "none"}})};
  for (std::size_t first = 0; first < wishes.size(); ++first)
    for (std::size_t second = 0; second < wishes.size(); ++second) {
      CAPTURE(first);
      CAPTURE(second);
      SimulatedCluster start(3);
      reach(start, wishes[first]);
      check_every_point(start, wishes[second]);
    }
}

TEST_CASE("way back: a count that could not be asked for any more is not refused") {
  SimulatedCluster start(3);
  reach(start, wish({{"coredns_min_replicas", 3}}));
  start.snapshot.nodes.erase(2);
  REQUIRE(make_plan(wish({{"coredns_min_replicas", 3}}), start.snapshot).refusal);
  check_every_point(start, packaged);
}

TEST_CASE("way back: a count that somebody gave the packaged Deployment is not forgotten") {
  SimulatedCluster start(3);
  start.scale_by("kubectl", 2);
  check_every_point(start, autoscaling);
}

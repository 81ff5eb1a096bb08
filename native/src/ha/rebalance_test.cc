// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/rebalance.h"

#include <doctest/doctest.h>

#include <string>

#include "cluster/time.h"
#include "ha/plan_testing.h"
#include "ha/state.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// Three replicas, as wished and long at rest, on these nodes of `server-1`, `agent-1` and `agent-2`.
SimulatedCluster on(const std::vector<std::string>& hosts) {
  SimulatedCluster cluster(3);
  reach(cluster, autoscaling);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    Json& pod = cluster.snapshot.pods[i];
    pod["spec"]["nodeName"] = hosts[i];
    pod["metadata"]["creationTimestamp"] = "2026-06-01T10:00:00Z";
  }
  return cluster;
}

Json& kept(SimulatedCluster& cluster) {
  return cluster.snapshot.configmaps[0];
}

void at(SimulatedCluster& cluster, const char* time) {
  cluster.snapshot.taken = time;
}

}  // namespace

TEST_CASE("rebalance: two on one host and none on another: one of the two is moved") {
  SimulatedCluster cluster = on({"server-1", "server-1", "agent-1"});
  const Choice choice = choose_move(cluster.snapshot);
  REQUIRE(choice.move);
  CHECK(choice.move->from == "server-1");
  CHECK(choice.move->to == "agent-2");
  CHECK(choice.move->reason == "server-1 has 2 replicas and agent-2 has 0");
  CHECK(Json(choice.move->uid) == cluster.snapshot.pods[0]["metadata"]["uid"]);
  CHECK(choice.move->note == "agent-2 2026-06-01T12:00:00Z");
}

TEST_CASE("rebalance: what does not help is left alone") {
  SimulatedCluster cluster = on({"server-1", "server-1", "agent-1"});
  std::string words;
  SUBCASE("they are spread evenly") {
    cluster = on({"server-1", "agent-1", "agent-2"});
    words = "as evenly as can be";
  }
  SUBCASE("the free host takes no pods") {
    cluster.cordon(2);
    words = "as evenly as can be";
  }
  SUBCASE("the free host is down") {
    cluster.silence(2, 60);
    words = "as evenly as can be";
  }
  SUBCASE("a change rolls out") {
    cluster.deployment()["status"]["updatedReplicas"] = 2;
    words = "not at rest";
  }
  SUBCASE("a replica is not available") {
    cluster.deployment()["status"]["availableReplicas"] = 2;
    words = "not at rest";
  }
  SUBCASE("a pod was made a moment ago") {
    cluster.snapshot.pods[2]["metadata"]["creationTimestamp"] = "2026-06-01T11:51:00Z";
    words = "when nothing was made or moved for 10 min";
  }
  SUBCASE("one replica") {
    cluster.deployment()["spec"]["replicas"] = 1;
    words = "no second replica";
  }
  SUBCASE("a pod does not end gently") {
    cluster.snapshot.pods[2]["spec"]["containers"][0].erase("lifecycle");
    words = "a pod of it that ends loses queries";
  }
  SUBCASE("the cluster keeps no wish") {
    cluster.snapshot.configmaps = Json::array();
    words = "No wish is kept";
  }
  const Choice choice = choose_move(cluster.snapshot);
  CHECK_FALSE(choice.move);
  CHECK(choice.words.find(words) != std::string::npos);
}

TEST_CASE("rebalance: never in a loop (k8s-snap #2646)") {
  SimulatedCluster cluster = on({"server-1", "server-1", "agent-1"});
  const Choice first = choose_move(cluster.snapshot);
  REQUIRE(first.move);
  kept(cluster)["metadata"]["annotations"][std::string(moved_annotation)] = first.move->note;
  CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());  // the note is no drift
  // The scheduler put it where it was.
  int moves = 0;
  for (const char* time :
       {"2026-06-01T12:05:00Z", "2026-06-01T12:15:00Z", "2026-06-01T18:00:00Z", "2026-06-02T11:59:00Z"}) {
    at(cluster, time);
    const Choice next = choose_move(cluster.snapshot);
    if (next.move) ++moves;
  }
  CHECK(moves == 0);
  CHECK(choose_move(cluster.snapshot).words.find("moving one there was tried at 2026-06-01T12:00:00Z") !=
        std::string::npos);
  SUBCASE("after a day it is tried again") {
    at(cluster, "2026-06-02T12:01:00Z");
    CHECK(choose_move(cluster.snapshot).move);
  }
  SUBCASE("another host that is free is another matter") {
    cluster.snapshot.pods[2]["spec"]["nodeName"] = "agent-2";
    const Choice other = choose_move(cluster.snapshot);
    REQUIRE(other.move);
    CHECK(other.move->to == "agent-1");
  }
}

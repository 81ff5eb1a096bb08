// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/rebalance.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

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

TEST_CASE(
    "rebalance: stopped anywhere, the next run brings it to its end; taken back, nothing is left; nothing is lost") {
  const SimulatedCluster start = on({"server-1", "server-1", "agent-1"});
  const Choice choice = choose_move(start.snapshot);
  REQUIRE(choice.move);
  const Move& move = *choice.move;
  const auto let_go = [&](SimulatedCluster& cluster) {
    for (const Step& step : move.replacement)
      cluster.carry_out(step);
    cluster.settle();
  };
  for (std::size_t stop = 0; stop <= move.retirement.size(); ++stop) {
    CAPTURE(stop);
    SimulatedCluster cluster = start;
    cluster.least_serving = 3;
    let_go(cluster);
    CHECK(cluster.serving() == 4);
    for (std::size_t i = 0; i < stop; ++i)
      cluster.carry_out(move.retirement[i]);
    reach(cluster, autoscaling);
    check_ours(cluster, 3);
    CHECK(cluster.least_serving == 3);
  }
  SimulatedCluster cluster = start;
  let_go(cluster);
  Step back = move.replacement.front();  // as act takes a patch back
  const Json hash = start.snapshot.pods[0]["metadata"]["labels"]["pod-template-hash"];
  back.body["metadata"]["labels"] = {{"pod-template-hash", hash}, {cluster::retiring_label, nullptr}};
  cluster.carry_out(back);
  cluster.settle();
  CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());
  CHECK(cluster.snapshot.pods.size() == 3);
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
    words = "CoreDNS is as k3s ships it";
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

namespace {

/// Three replicas on these nodes of `server-1`, `agent-1` … `agent-5`, which are in zones a, b and c in turn.
SimulatedCluster in_zones(const std::vector<std::string>& hosts, const Spec& spec = autoscaling) {
  SimulatedCluster cluster(6);
  for (int i = 0; i < 6; ++i)
    cluster.node(i)["metadata"]["labels"][cluster::usual_zone_label] = std::string(1, static_cast<char>('a' + i % 3));
  reach(cluster, spec);
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    Json& pod = cluster.snapshot.pods[i];
    pod["spec"]["nodeName"] = hosts[i];
    pod["metadata"]["creationTimestamp"] = "2026-06-01T10:00:00Z";
  }
  return cluster;
}

}  // namespace

TEST_CASE("rebalance: hosts are even and zones are not: one is moved to the zone that has none") {
  SimulatedCluster cluster = in_zones({"server-1", "agent-3", "agent-1"});  // a, a, b
  const Choice choice = choose_move(cluster.snapshot);
  REQUIRE(choice.move);
  CHECK(choice.move->to == "c");
  CHECK(choice.move->reason == "a has 2 replicas and c has 0");
  CHECK(choice.move->annotation == moved_zone_annotation);
  CHECK(choice.move->note == "c 2026-06-01T12:00:00Z");
  const bool of_a = choice.move->from == "server-1" || choice.move->from == "agent-3";
  CHECK(of_a);
}

TEST_CASE("rebalance: zones are left alone where that does not help, or is not wished") {
  SimulatedCluster cluster = in_zones({"server-1", "agent-1", "agent-2"});
  SUBCASE("one in each") {}
  SUBCASE("level node is asked for") {
    cluster = in_zones({"server-1", "agent-3", "agent-1"}, wish({{"level", "node"}}));
  }
  SUBCASE("the free zone takes no pods") {
    cluster = in_zones({"server-1", "agent-3", "agent-1"});
    cluster.cordon(2);
    cluster.silence(5, 60);
  }
  SUBCASE("a node tells no zone") {
    cluster = in_zones({"server-1", "agent-3", "agent-1"});
    cluster.node(4)["metadata"]["labels"].erase(cluster::usual_zone_label);
  }
  SUBCASE("a zone of one host, and the spread over hosts lets it have no second one") {
    cluster = in_zones({"server-1", "agent-3", "agent-1"});
    for (const int i : {2, 4, 5})
      cluster.cordon(i);  // a has two hosts, b one
  }
  const Choice choice = choose_move(cluster.snapshot);
  CHECK_FALSE(choice.move);
  CHECK(choice.words.find("as evenly as can be") != std::string::npos);
}

TEST_CASE("rebalance: hosts come before zones") {
  const SimulatedCluster cluster = in_zones({"server-1", "server-1", "agent-3"});
  const Choice choice = choose_move(cluster.snapshot);
  REQUIRE(choice.move);
  CHECK(choice.move->annotation == moved_annotation);
  CHECK(choice.move->from == "server-1");
}

TEST_CASE("rebalance: never in a loop over zones either (k8s-snap #2646), nor between the two kinds") {
  SimulatedCluster cluster = in_zones({"server-1", "agent-3", "agent-1"});
  const auto carry_out = [&](const Choice& choice) {
    kept(cluster)["metadata"]["annotations"][std::string(choice.move->annotation)] = choice.move->note;
  };
  // A scheduler with reasons of its own: whatever is moved for a zone comes back where two share a host, and whatever
  // is moved from there leaves the zones as they were. A look each quarter of an hour, for three days.
  int moves = 0;
  for (int quarter = 0; quarter < 3 * 96; ++quarter) {
    const auto now = *cluster::parse_time("2026-06-01T12:00:00Z") + std::chrono::minutes(15 * quarter);
    cluster.snapshot.taken = cluster::format_time(now);
    const Choice choice = choose_move(cluster.snapshot);
    if (!choice.move) continue;
    ++moves;
    carry_out(choice);
    const bool zone = choice.move->annotation == moved_zone_annotation;
    cluster.snapshot.pods[1]["spec"]["nodeName"] = zone ? "server-1" : "agent-3";
  }
  CHECK(moves <= 6);  // for each kind one a day
  CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());
}

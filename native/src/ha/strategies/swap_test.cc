// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/swap.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/way_back.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

TEST_CASE("swap: carried on, or taken back, from every point that a run can be stopped at") {
  struct Way {
    const char* what;
    Spec first;   ///< reached whole
    Spec second;  ///< stopped half-way
  };
  const std::vector<Way> ways{{"the way there", packaged, autoscaling}, {"the way back", autoscaling, packaged}};
  for (const int nodes : {1, 3})
    for (const auto& way : ways) {
      SimulatedCluster start(nodes);
      reach(start, way.first);
      const Plan plan = make_plan(way.second, start.snapshot);
      for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
        CAPTURE(nodes);
        CAPTURE(way.what);
        CAPTURE(stop);
        for (const Spec* next : {&autoscaling, &packaged}) {
          SimulatedCluster cluster = start;
          carry_out(cluster, plan, stop);
          reach(cluster, *next);
          if (next == &autoscaling)
            check_ours(cluster, std::min(nodes, 3));
          else
            check_packaged(cluster);
        }
      }
    }
}

TEST_CASE("swap: the packaged spread rule, which counts tainted nodes too, finds a place that an old pod made") {
  SimulatedCluster start(4);
  start.taint(0, "gpu", "NoSchedule");
  SUBCASE("of a ReplicaSet") {
    reach(start, autoscaling);
    check_ours(start, 3);
  }
  SUBCASE("of a DaemonSet") {
    reach(start, wish({{"coredns_strategy", "daemonset"}, {"coredns_daemonset_nodes", "all"}}));
    check_daemons(start, 3);
  }
  const Plan plan = make_plan(packaged, start.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const auto at = [&](std::string_view id) {
    const auto found = std::find_if(plan.steps.begin(), plan.steps.end(), [&](const Step& s) { return s.id == id; });
    return static_cast<std::size_t>(found - plan.steps.begin());
  };
  REQUIRE(at("coredns-overlay") < plan.steps.size());
  CHECK(at("coredns-room") < at("coredns-overlay"));
  for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
    CAPTURE(stop);
    SimulatedCluster cluster = start;
    carry_out(cluster, plan, stop);
    if (stop <= at("coredns-overlay")) CHECK(cluster.serving() >= 2);
    reach(cluster, packaged);
    check_packaged(cluster);
  }
}

TEST_CASE("swap: stopped twice, at every other pair of points") {
  SimulatedCluster start(3);
  const Plan there = make_plan(autoscaling, start.snapshot);
  for (std::size_t first = 0; first <= there.steps.size(); ++first) {
    SimulatedCluster half = start;
    carry_out(half, there, first);
    const Plan back = make_plan(packaged, half.snapshot);
    for (std::size_t second = first % 2; second <= back.steps.size(); second += 2) {
      CAPTURE(first);
      CAPTURE(second);
      SimulatedCluster cluster = half;
      carry_out(cluster, back, second);
      reach(cluster, autoscaling);
      check_ours(cluster, 3);
    }
  }
}

namespace {

/// Ours, as an older release of ours may have left it: another value in the pods' template.
SimulatedCluster older(int nodes) {
  SimulatedCluster cluster(nodes);
  reach(cluster, autoscaling);
  Json body =
      cluster::body_from_fields(cluster.deployment(), cluster::applied_fields(cluster.deployment(), "k3s-core-ha"));
  body["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] = 5;
  cluster.apply(body, "k3s-core-ha");
  cluster.settle();
  cluster.losses.clear();
  cluster.rolled = 0;
  return cluster;
}

/// Makes known that a node has room for many pods.
void give_room(SimulatedCluster& cluster, int node) {
  cluster.node(node)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
  cluster.snapshot.usage[cluster.node(node)["metadata"]["name"].get<std::string>()] = Json::array();
}

}  // namespace

TEST_CASE("swap: a changed template is swapped in, and carried on or taken back from every point") {
  for (const int nodes : {1, 2, 3}) {
    const SimulatedCluster start = older(nodes);
    const Plan plan = make_plan(autoscaling, start.snapshot);
    for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
      CAPTURE(nodes);
      CAPTURE(stop);
      SimulatedCluster cluster = start;
      carry_out(cluster, plan, stop);
      SimulatedCluster back = cluster;
      reach(cluster, autoscaling);
      check_ours(cluster, nodes);
      CHECK(cluster.rolled == 0);
      reach(back, packaged);
      check_packaged(back);
      CHECK(back.rolled == 0);
    }
  }
}

TEST_CASE("swap: without room for all new pods beside the old ones it rolls, and says so") {
  SimulatedCluster cluster = older(3);
  for (int i = 0; i < 3; ++i)
    give_room(cluster, i);
  CHECK(ids(make_plan(autoscaling, cluster.snapshot)).size() > 10);
  cluster.snapshot.usage["agent-1"] = Json::array({{{"priority", 0}, {"pods", 110}}});
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  CHECK(ids(plan) == std::vector<std::string>{"coredns-overlay", "coredns-rollout"});
  REQUIRE(plan.warnings.size() == 1);
  CHECK(plan.warnings[0].find("no room for all new replicas") != std::string::npos);
  reach(cluster, autoscaling);
  check_ours(cluster, 3);
}

namespace {

/// Nodes of so many pods' places besides those of CoreDNS's that are there.
void leave_places(SimulatedCluster& cluster, const std::vector<int>& places) {
  for (int i = 0; i < static_cast<int>(places.size()); ++i) {
    give_room(cluster, i);
    const std::string name = cluster.node(i)["metadata"]["name"];
    const auto& pods = cluster.snapshot.pods;
    const auto there =
        std::count_if(pods.begin(), pods.end(), [&](const Json& pod) { return pod["spec"]["nodeName"] == name; });
    cluster.snapshot.usage[name].push_back(
        {{"priority", 2000000000}, {"pods", 110 - places[static_cast<std::size_t>(i)] + there}});
  }
}

}  // namespace

TEST_CASE("swap: without room for one of the new pods, one of several old ones makes it") {
  SimulatedCluster start(3);
  start.scale_by("kubectl", 2);
  start.settle();
  start.losses.clear();
  std::vector<int> places{1, 1, 1};
  std::vector<std::string> homes;
  for (const auto& pod : start.snapshot.pods)
    homes.push_back(pod["spec"]["nodeName"]);
  REQUIRE(homes.size() == 2);
  const Spec three = wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 3}});
  for (int i = 0; i < 3; ++i)  // the second has room beside its old one
    if (start.node(i)["metadata"]["name"] == homes[1]) places[static_cast<std::size_t>(i)] = 2;
  leave_places(start, places);
  const Plan plan = make_plan(three, start.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const auto steps = ids(plan);
  CHECK(std::find(steps.begin(), steps.end(), "coredns-room") <
        std::find(steps.begin(), steps.end(), "coredns-overlay"));
  for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
    CAPTURE(stop);
    SimulatedCluster cluster = start;
    cluster.least_serving = 2;
    carry_out(cluster, plan, stop);
    leave_places(cluster, places);
    SimulatedCluster back = cluster;
    const Plan way_back = plan_way_back(start.snapshot, back.snapshot);
    REQUIRE_FALSE(way_back.refusal);
    carry_out(back, way_back);
    CHECK(back.serving() == 2);
    CHECK(back.deployment()["spec"] == start.deployment()["spec"]);
    CHECK(back.losses == std::vector<std::string>{});
    reach(cluster, three);
    check_ours(cluster, 3, false);
    CHECK(cluster.least_serving >= 1);
  }
  SUBCASE("not of one that is alone") {
    SimulatedCluster alone(1);
    leave_places(alone, {1});
    CHECK(make_plan(three, alone.snapshot).refusal);
    CHECK(make_plan(wish(), alone.snapshot).refusal);
  }
  SUBCASE("nor where one is not ready") {
    start.snapshot.pods[1]["status"]["conditions"][0]["status"] = "False";
    CHECK(make_plan(three, start.snapshot).refusal);
  }
  SUBCASE("nor where that is not enough") {
    for (int& place : places)
      place = 1;
    leave_places(start, places);
    CHECK(make_plan(three, start.snapshot).refusal);
  }
}

TEST_CASE("swap: to fewer replicas no more new pods are made than are to stay") {
  SimulatedCluster cluster(3);
  cluster.scale_by("kubectl", 3);
  const Spec fewer{.level = "none", .coredns_strategy = "replicas", .coredns_replicas = 1};
  const auto steps = ids(make_plan(fewer, cluster.snapshot));
  CHECK(std::count(steps.begin(), steps.end(), "coredns-scale") == 1);
  CHECK(std::count(steps.begin(), steps.end(), "coredns-scale-in") == 0);
  reach(cluster, fewer);
  check_ours(cluster, 1, false);
  CHECK(cluster.losses == std::vector<std::string>{});
}

TEST_CASE("swap: pods that keep away from each other leave no room beside them") {
  const auto keep_apart = [](SimulatedCluster& cluster) {
    cluster.deployment()["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
                        ["requiredDuringSchedulingIgnoredDuringExecution"] = Json::array(
        {{{"topologyKey", "kubernetes.io/hostname"}, {"labelSelector", {{"matchLabels", {{"k8s-app", "kube-dns"}}}}}}});
    for (int i = 0; i < static_cast<int>(cluster.snapshot.nodes.size()); ++i)
      give_room(cluster, i);
  };
  SimulatedCluster ours = older(3);
  keep_apart(ours);
  CHECK(ids(make_plan(autoscaling, ours.snapshot)) == std::vector<std::string>{"coredns-overlay", "coredns-rollout"});
  // The packaged pod cannot roll without a loss: more nodes are needed than there are replicas.
  SimulatedCluster fresh(3);
  keep_apart(fresh);
  const Plan refused = make_plan(autoscaling, fresh.snapshot);
  REQUIRE(refused.refusal);
  CHECK(refused.refusal->message.find("2 of 3 new replicas") != std::string::npos);
  CHECK(refused.refusal->message.find("agent-2: an old one, and its anti-affinity") != std::string::npos);
  SimulatedCluster larger(4);
  keep_apart(larger);
  CHECK_FALSE(make_plan(autoscaling, larger.snapshot).refusal);
}

TEST_CASE("swap: a pod that was let go is found again without any label of ours") {
  SimulatedCluster cluster(3);
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  carry_out(cluster, plan, 5);  // its ReplicaSet is gone
  REQUIRE(cluster.snapshot.replicasets.empty());
  for (const char* label : {"pod-template-hash", "k3s-core-ha/retiring"})
    cluster.snapshot.pods[0]["metadata"]["labels"].erase(label);
  reach(cluster, autoscaling);
  check_ours(cluster, 3);
  // Somebody's own pod behind the same Service is theirs.
  cluster.snapshot.pods.push_back(cluster.snapshot.pods[0]);
  Json& metadata = cluster.snapshot.pods.back()["metadata"];
  metadata = {{"name", "my-dns"}, {"namespace", "kube-system"}, {"uid", "u"}, {"labels", {{"k8s-app", "kube-dns"}}}};
  CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());
}

TEST_CASE("swap: a pod that ended before the swap is cleared away with it") {
  SimulatedCluster cluster(3);
  Json ended = cluster.snapshot.pods[0];
  ended["metadata"]["name"] = "coredns-pushed-out";
  ended["metadata"]["uid"] = "uid-pushed-out";
  ended["metadata"].erase("ownerReferences");
  ended["metadata"]["labels"].erase("pod-template-hash");
  ended["status"]["phase"] = "Succeeded";
  cluster.snapshot.pods.push_back(ended);
  reach(cluster, autoscaling);
  check_ours(cluster, 3);
}

TEST_CASE("swap: a dead node's pod is not waited for") {
  SimulatedCluster cluster(3);
  cluster.silence(2, 60);  // the packaged pod runs there
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  const auto all = ids(plan);
  CHECK(std::none_of(all.begin(), all.end(), [](const auto& id) { return id.starts_with("ended-"); }));
  CHECK(plan.level.name == "node");  // an outage shrinks nothing
}

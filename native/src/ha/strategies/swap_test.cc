// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/swap.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

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

TEST_CASE("swap: a lone replica is never replaced by a rollout") {
  SimulatedCluster cluster(1);
  reach(cluster, autoscaling);
  check_ours(cluster, 1);
  // As an older release of ours may have left it: another value in the template.
  Json body = cluster.deployment();
  body = cluster::body_from_fields(body, cluster::applied_fields(body, "k3s-core-ha"));
  body["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] = 5;
  cluster.apply(body, "k3s-core-ha");
  cluster.settle();
  cluster.losses.clear();
  reach(cluster, autoscaling);
  check_ours(cluster, 1);
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

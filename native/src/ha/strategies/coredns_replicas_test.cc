// SPDX-License-Identifier: GPL-3.0-or-later
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

Spec fixed(int count) {
  return wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", count}});
}

/// Reaches the wish, and at no time fewer than `floor` replicas are asked for answers.
void reach_above(SimulatedCluster& cluster, const Spec& spec, int floor) {
  cluster.least_serving = cluster.serving();
  reach(cluster, spec);
  CHECK(cluster.least_serving >= floor);
}

}  // namespace

TEST_CASE("replicas: a fixed count with overlay and budget, and no autoscaler") {
  SimulatedCluster cluster(3);
  const Plan plan = make_plan(by_replicas, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  for (const auto& step : plan.steps) {
    CAPTURE(step.id);
    CHECK(step.object.kind != "HorizontalPodAutoscaler");
    if (step.action == Action::apply && step.object.kind == "Deployment")
      CHECK_FALSE(step.body["spec"].contains("replicas"));  // the count goes through the scale subresource alone
  }
  reach_above(cluster, by_replicas, 1);
  check_ours(cluster, 3, false);
  CHECK(make_plan(by_replicas, cluster.snapshot).components["coredns"]["strategy"] == "replicas");
}

TEST_CASE("replicas: handed over from the autoscaler, which goes before the count is ours") {
  for (const int count : {2, 3, 4}) {
    CAPTURE(count);
    SimulatedCluster cluster(4);
    reach(cluster, autoscaling);
    const Plan plan = make_plan(fixed(count), cluster.snapshot);
    REQUIRE(plan.steps.size() >= 2);
    CHECK(plan.steps[0].id == "wish");
    CHECK(plan.steps[1].id == "coredns-autoscaler");
    CHECK(plan.steps[1].action == Action::remove);
    const auto all = ids(plan);
    CHECK(std::find(all.begin(), all.end(), "coredns-overlay") == all.end());  // no pod is replaced
    reach_above(cluster, fixed(count), std::min(count, 3));
    check_ours(cluster, count, false);
  }
}

TEST_CASE("replicas: handed to the autoscaler, which comes when the count is one that it keeps") {
  for (const int count : {1, 2, 4}) {
    CAPTURE(count);
    SimulatedCluster cluster(4);
    reach(cluster, fixed(count));
    const Plan plan = make_plan(autoscaling, cluster.snapshot);
    REQUIRE_FALSE(plan.steps.empty());
    CHECK(plan.steps.back().id == "coredns-autoscaler");
    reach_above(cluster, autoscaling, count);
    check_ours(cluster, std::max(count, 3));
  }
}

TEST_CASE("replicas: a wish for more or fewer is one change of the count") {
  SimulatedCluster cluster(5);
  reach(cluster, fixed(3));
  CHECK(ids(make_plan(fixed(5), cluster.snapshot)) == std::vector<std::string>{"coredns-scale", "coredns-rollout"});
  reach_above(cluster, fixed(5), 3);
  CHECK(ids(make_plan(fixed(2), cluster.snapshot)) ==
        std::vector<std::string>{"coredns-scale-in", "coredns-scaled-in"});
  reach_above(cluster, fixed(2), 2);
  check_ours(cluster, 2, false);
}

TEST_CASE("replicas: a count that drifted is put back, one that another program holds is a conflict") {
  SimulatedCluster cluster(5);
  reach(cluster, by_replicas);
  SUBCASE("scaled in by hand") {
    cluster.scale_by("kubectl", 1);
    reach(cluster, by_replicas);
    check_ours(cluster, 3, false);
  }
  SUBCASE("scaled out by hand") {
    cluster.scale_by("kubectl", 5);
    reach_above(cluster, by_replicas, 3);
    check_ours(cluster, 3, false);
  }
  SUBCASE("set back by a release of k3s that declares it") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 1, "deploy@server-1");
    cluster.settle();
    reach(cluster, by_replicas);
    check_ours(cluster, 3, false);
  }
  SUBCASE("held by another program") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 5, "argocd-controller");
    cluster.settle();
    const Plan plan = make_plan(by_replicas, cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::conflict);
    CHECK(plan.refusal->message.find(".spec.replicas") != std::string::npos);
    CHECK(plan.refusal->message.find("argocd-controller, at 5; ours would be 3") != std::string::npos);
  }
  SUBCASE("another program holds the very count that is wished") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 3, "argocd-controller");
    CHECK(make_plan(by_replicas, cluster.snapshot).steps.empty());
  }
}

TEST_CASE("replicas: a count that manifests hold is taken over without falling to one") {
  for (const auto& next : {by_replicas, autoscaling, fixed(4), fixed(2)}) {
    CAPTURE(next.coredns_strategy);
    CAPTURE(next.coredns_replicas.value_or(0));
    SimulatedCluster cluster(4);
    for (const Json& object : manifests(make_plan(by_replicas, cluster.snapshot)))
      if (object["kind"] == "Deployment") cluster.apply(object, "k3s-core-ha");
    cluster.settle();
    cluster.losses.clear();  // kubectl lets the Deployment roll as it will
    REQUIRE(cluster.serving() == 3);
    reach_above(cluster, next, next.coredns_replicas.value_or(3) < 3 ? 2 : 3);
    for (const Json& object : manifests(make_plan(autoscaling, cluster.snapshot)))
      if (object["kind"] == "Deployment") CHECK_FALSE(object["spec"].contains("replicas"));
  }
}

TEST_CASE("replicas: a count that manifests hold is let go when the old pods are free, not before") {
  SimulatedCluster cluster(4);
  for (const Json& object : manifests(make_plan(by_replicas, cluster.snapshot)))
    if (object["kind"] == "Deployment") cluster.apply(object, std::string(kube::field_manager));
  cluster.settle();
  cluster.losses.clear();  // kubectl lets the Deployment roll as it will
  REQUIRE(cluster::applied_fields(cluster.deployment(), kube::field_manager).contains({"f:spec", "f:replicas"}));
  const Plan back = make_plan(packaged, cluster.snapshot);
  const auto steps = ids(back);
  const auto pause = std::find(steps.begin(), steps.end(), "coredns-pause");
  REQUIRE(pause != steps.end());
  for (const auto& step : back.steps) {
    cluster.carry_out(step);
    if (step.id == "coredns-pause") break;
  }
  CHECK(cluster.serving() == 3);
  reach(cluster, packaged);
  check_packaged(cluster);
}

TEST_CASE("replicas: a number that cannot be placed is refused, a key of another strategy is told") {
  SimulatedCluster cluster(3);
  const Plan plan = make_plan(fixed(4), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::unsafe);
  CHECK(plan.refusal->message.find(
            "coredns_replicas is 4, but 3 replicas at most can be on different nodes: all 3 registered nodes") !=
        std::string::npos);
  for (const Json& spec :
       {Json{{"coredns_replicas", 2}}, Json{{"coredns_strategy", "replicas"}, {"coredns_min_replicas", 2}}}) {
    const Plan told = make_plan(wish(spec), cluster.snapshot);
    REQUIRE(told.warnings.size() == 1);
    CHECK(told.warnings[0].find("is not read under coredns_strategy") != std::string::npos);
  }
}

TEST_CASE("replicas: carried on, or taken back, from every point that a run can be stopped at") {
  struct Way {
    Spec first;   ///< reached whole
    Spec second;  ///< stopped half-way
  };
  const std::vector<Way> ways{{packaged, by_replicas},
                              {by_replicas, packaged},
                              {autoscaling, fixed(2)},
                              {fixed(2), autoscaling},
                              {fixed(4), fixed(2)}};
  for (std::size_t way = 0; way < ways.size(); ++way) {
    SimulatedCluster start(4);
    reach(start, ways[way].first);
    const Plan plan = make_plan(ways[way].second, start.snapshot);
    for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
      CAPTURE(way);
      CAPTURE(stop);
      for (const Spec* next : {&ways[way].first, &ways[way].second}) {
        SimulatedCluster cluster = start;
        carry_out(cluster, plan, stop);
        reach(cluster, *next);
        if (next->coredns_strategy == "packaged")
          check_packaged(cluster);
        else
          check_ours(cluster, next->coredns_replicas.value_or(3), next->coredns_strategy == "autoscaling");
      }
    }
  }
}

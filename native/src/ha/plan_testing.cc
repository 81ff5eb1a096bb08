// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/plan_testing.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "ha/state.h"
#include "ha/strategies/coredns_view.h"
#include "ha/way_back.h"

namespace core_ha::ha::testing {

Spec wish(const Json& document) {
  auto spec = parse_spec(document);
  REQUIRE(spec);
  return *spec;
}

std::vector<std::string> ids(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& step : plan.steps)
    if (step.object != state_object) out.push_back(step.id);
  return out;
}

std::string refusal_of(const Plan& plan, ExitStatus status) {
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == status);
  CHECK(plan.steps.empty());
  return plan.refusal->message;
}

void carry_out(SimulatedCluster& cluster, const Plan& plan, std::size_t steps) {
  for (std::size_t i = 0; i < std::min(steps, plan.steps.size()); ++i)
    cluster.carry_out(plan.steps[i]);
}

void reach(SimulatedCluster& cluster, const Spec& spec) {
  const Plan plan = make_plan(spec, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  carry_out(cluster, plan);
  CHECK(cluster.losses == std::vector<std::string>{});
  const Plan next = make_plan(spec, cluster.snapshot);
  CHECK(ids(next) == std::vector<std::string>{});
  CHECK(next.steps.empty());
}

void stop_anywhere(const SimulatedCluster& start, const Spec& from, const Spec& to,
                   const std::function<void(SimulatedCluster&, const Spec&)>& arrive,
                   const std::function<void(SimulatedCluster&)>& meanwhile) {
  const Plan plan = make_plan(to, start.snapshot);
  REQUIRE_FALSE(plan.refusal);
  for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
    CAPTURE(stop);
    CAPTURE(stop > 0 ? plan.steps[stop - 1].id : "");
    for (const Spec& next : {to, from}) {
      SimulatedCluster cluster = start;
      carry_out(cluster, plan, stop);
      meanwhile(cluster);
      arrive(cluster, next);
    }
    SimulatedCluster failed = start;
    carry_out(failed, plan, stop);
    const Plan way = plan_way_back(start.snapshot, failed.snapshot);
    REQUIRE_FALSE(way.refusal);
    carry_out(failed, way);
    CHECK(failed.losses == std::vector<std::string>{});
    arrive(failed, from);
  }
}

void check_ours(const SimulatedCluster& cluster, int replicas, bool autoscaler) {
  CHECK(cluster.snapshot.pods.size() == static_cast<std::size_t>(replicas));
  CHECK(cluster.serving() == replicas);
  for (const auto& pod : cluster.snapshot.pods) {
    CHECK(ends_gently(pod["spec"]));
    CHECK_FALSE(pod["metadata"]["labels"].contains(cluster::retiring_label));
    CHECK(pod["metadata"].contains("ownerReferences"));
  }
  CHECK(cluster.snapshot.horizontalpodautoscalers.size() == (autoscaler ? 1 : 0));
  CHECK(cluster.snapshot.poddisruptionbudgets.size() == 1);
  CHECK(cluster.snapshot.daemonsets.empty());
  CHECK(cluster.snapshot.controllerrevisions.empty());
  CHECK_FALSE(cluster.snapshot.deployments[0]["spec"].contains("paused"));
}

void add_foreign_autoscaler(SimulatedCluster& cluster) {
  cluster.snapshot.horizontalpodautoscalers.push_back(
      {{"apiVersion", "autoscaling/v2"},
       {"kind", "HorizontalPodAutoscaler"},
       {"metadata", {{"name", "dns"}, {"namespace", "kube-system"}, {"uid", "x"}}},
       {"spec",
        {{"scaleTargetRef", {{"kind", "Deployment"}, {"name", "coredns"}}}, {"minReplicas", 1}, {"maxReplicas", 2}}}});
}

void check_daemons(const SimulatedCluster& cluster, int nodes) {
  const auto& snapshot = cluster.snapshot;
  CHECK(cluster.serving() == nodes);
  REQUIRE(snapshot.daemonsets.size() == 1);
  for (const auto& pod : snapshot.pods) {
    CHECK(ends_gently(pod["spec"]));
    CHECK_FALSE(pod["metadata"]["labels"].contains(cluster::retiring_label));
    CHECK(pod["metadata"]["ownerReferences"][0]["uid"] == snapshot.daemonsets[0]["metadata"]["uid"]);
  }
  CHECK(snapshot.horizontalpodautoscalers.empty());
  CHECK(snapshot.poddisruptionbudgets.empty());
  CHECK(snapshot.replicasets.empty());
  Json spec = snapshot.deployments[0]["spec"];
  CHECK(spec["replicas"] == 0);
  spec["replicas"] = 1;
  CHECK(spec == SimulatedCluster(1).snapshot.deployments[0]["spec"]);
  CHECK(cluster::applied_fields(snapshot.deployments[0], "k3s-core-ha").empty());
}

void check_packaged(const SimulatedCluster& cluster) {
  const SimulatedCluster fresh(static_cast<int>(cluster.snapshot.nodes.size()));
  CHECK(cluster.snapshot.pods.size() == 1);
  CHECK(cluster.serving() == 1);
  for (const auto& pod : cluster.snapshot.pods)
    CHECK_FALSE(ends_gently(pod["spec"]));
  CHECK(cluster.snapshot.horizontalpodautoscalers.empty());
  CHECK(cluster.snapshot.poddisruptionbudgets.empty());
  CHECK(cluster::find_named(cluster.snapshot.configmaps, state_object.name) == nullptr);
  CHECK(cluster.snapshot.daemonsets.empty());
  CHECK(cluster.snapshot.controllerrevisions.empty());
  CHECK(cluster.snapshot.deployments[0]["spec"] == fresh.snapshot.deployments[0]["spec"]);
  CHECK(cluster.snapshot.services[0]["spec"] == fresh.snapshot.services[0]["spec"]);
  for (const auto* list : {&cluster.snapshot.deployments, &cluster.snapshot.services})
    for (const auto& entry : (*list)[0]["metadata"]["managedFields"])
      CHECK(entry["manager"] != "k3s-core-ha");
}

}  // namespace core_ha::ha::testing

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/state.h"

#include <doctest/doctest.h>

#include <string>

#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

State kept_state(const SimulatedCluster& cluster) {
  REQUIRE(cluster.snapshot.configmaps.size() == 1);
  const auto state = read_state(cluster.snapshot.configmaps[0]);
  REQUIRE(state);
  return *state;
}

}  // namespace

TEST_CASE("state: the same wish is the same text, without what is so by default") {
  CHECK(to_json(Spec{}).dump() == "{}");
  CHECK(to_json(wish({{"wait_timeout", 300}, {"level", "auto"}})).dump() == "{}");
  const Json full = {{"level", "node"},
                     {"coredns_strategy", "replicas"},
                     {"coredns_replicas", 2},
                     {"coredns_min_replicas", 2},
                     {"coredns_max_replicas", 7},
                     {"coredns_cpu_utilization", 60},
                     {"coredns_traffic_distribution", "none"},
                     {"wait_timeout", 60},
                     {"unreachable_counts_for", 0}};
  CHECK(to_json(wish(full)) == full);
}

TEST_CASE("state: each other wish is a later revision, the same one none") {
  SimulatedCluster cluster(3);
  reach(cluster, wish());
  CHECK(kept_state(cluster).revision == 1);
  CHECK(kept_state(cluster).spec == "{}");
  CHECK(cluster.snapshot.configmaps[0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "k3s-core-ha");
  reach(cluster, wish({{"coredns_cpu_utilization", 60}}));
  CHECK(kept_state(cluster).revision == 2);
  reach(cluster, wish({{"coredns_cpu_utilization", 60}}));
  CHECK(kept_state(cluster).revision == 2);
  reach(cluster, wish());
  CHECK(kept_state(cluster).revision == 3);
}

TEST_CASE("state: written first, gone last") {
  SimulatedCluster cluster(3);
  const Plan there = make_plan(wish(), cluster.snapshot);
  CHECK(there.steps.front().object == state_object);
  CHECK(there.revision == 1);
  reach(cluster, wish());
  cluster.snapshot.configmaps[0]["metadata"]["resourceVersion"] = "77";
  const Plan back = make_plan(packaged, cluster.snapshot);
  CHECK(back.steps.front().object == state_object);
  CHECK(back.steps.front().version == "77");  // nobody's later wish is written over
  CHECK(back.revision == 2);
  CHECK(back.steps.back().object == state_object);
  CHECK(back.steps.back().action == Action::remove);
}

TEST_CASE("state: a lower revision never writes") {
  SimulatedCluster cluster(3);
  reach(cluster, wish());
  reach(cluster, wish({{"coredns_cpu_utilization", 60}}));
  const auto planned = [&](const Json& spec, std::int64_t revision) {
    return make_plan(wish(spec), cluster.snapshot, revision);
  };
  for (const std::int64_t revision : {1, 2}) {
    const Plan plan = planned(Json::object(), revision);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::conflict);
    CHECK(plan.refusal->message.find("the cluster's is of revision 2") != std::string::npos);
    CHECK(plan.steps.empty());
  }
  CHECK(planned({{"coredns_cpu_utilization", 60}}, 2).steps.empty());
  CHECK(planned(Json::object(), 9).revision == 9);
}

TEST_CASE("state: an object of that name that is not as ours are is somebody else's") {
  SimulatedCluster cluster(3);
  reach(cluster, wish());
  Json& object = cluster.snapshot.configmaps[0];
  for (const char* change : {R"({"data": {"revision": "x"}})", R"({"data": {"revision": "0"}})",
                             R"({"data": {"revision": "1 "}})", R"({"metadata": {"labels": null}})"}) {
    CAPTURE(change);
    Json other = object;
    other.merge_patch(Json::parse(change));
    CHECK_FALSE(read_state(other));
  }
  cluster.set_field(object, {"f:data", "f:spec"}, "mine", "kubectl-edit");
  const Plan plan = make_plan(wish(), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::conflict);
  CHECK(plan.refusal->message.find("kubectl-edit") != std::string::npos);
}

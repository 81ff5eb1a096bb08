// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/turn.h"

#include <doctest/doctest.h>

#include "ha/plan_testing.h"
#include "ha/state.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

void mark(Json& node) {
  node["metadata"]["annotations"][std::string(reconciles_annotation)] = "0.1.0";
  node["metadata"]["labels"][cluster::carries_label] = "0.1.0";
}

}  // namespace

TEST_CASE("turn: the first Ready node by name that says it reconciles") {
  SimulatedCluster cluster(3);
  CHECK(whose_turn(cluster.snapshot.nodes).empty());
  mark(cluster.node(0));
  CHECK(whose_turn(cluster.snapshot.nodes) == "server-1");
  mark(cluster.node(2));
  CHECK(whose_turn(cluster.snapshot.nodes) == "agent-2");
  cluster.silence(2, 60);
  CHECK(whose_turn(cluster.snapshot.nodes) == "server-1");
  CHECK(reconciles(cluster.node(0), "0.1.0"));
  CHECK_FALSE(reconciles(cluster.node(0), "0.2.0"));
  CHECK_FALSE(reconciles(cluster.node(1), "0.1.0"));
}

TEST_CASE("turn: the way back takes the marks from the nodes, and nothing else from them") {
  SimulatedCluster cluster(2);
  reach(cluster, autoscaling);
  const Json before = cluster.node(0);
  mark(cluster.node(0));
  CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());
  const Plan back = make_plan(packaged, cluster.snapshot);
  REQUIRE(back.steps.size() > 1);
  CHECK(back.steps.back().object == state_object);
  reach(cluster, packaged);
  CHECK(cluster.node(0) == before);
}

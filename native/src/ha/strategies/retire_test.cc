// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/retire.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

const Spec by_daemons{.coredns_strategy = "daemonset", .coredns_daemonset_nodes = "all"};

/// Three replicas of ours, of which the last has found no node.
SimulatedCluster with_a_pending_pod(const Spec& spec) {
  SimulatedCluster cluster(3);
  reach(cluster, spec);
  cluster.unschedule(2);
  return cluster;
}

std::size_t at(const std::vector<std::string>& steps, const std::string& id) {
  return static_cast<std::size_t>(std::find(steps.begin(), steps.end(), id) - steps.begin());
}

}  // namespace

TEST_CASE("retirement: a pod without a node goes before it could have one, and before others need it") {
  for (const Spec* from : {&by_replicas, &autoscaling}) {
    CAPTURE(from->coredns_strategy);
    const SimulatedCluster start = with_a_pending_pod(*from);
    const std::string name = start.snapshot.pods[2]["metadata"]["name"];
    for (const Spec* to : {&packaged, &by_daemons}) {
      CAPTURE(to->coredns_strategy);
      const auto steps = ids(make_plan(*to, start.snapshot));
      const auto dropped = at(steps, "drop-" + name);
      REQUIRE(dropped < steps.size());
      CHECK(dropped < at(steps, "quiet-" + start.snapshot.pods[0]["metadata"]["name"].get<std::string>()));
      CHECK(at(steps, "quiet-" + name) == steps.size());
      CHECK(at(steps, "end-" + name) == steps.size());
      if (to == &packaged) CHECK(dropped < at(steps, "coredns-overlay"));  // it ends the pause: new pods come
      stop_anywhere(start, *from, *to, [&](SimulatedCluster& cluster, const Spec& next) {
        reach(cluster, next);
        if (next.coredns_strategy == from->coredns_strategy) return;  // it may be pending still
        for (const auto& pod : cluster.snapshot.pods)
          CHECK(pod["spec"].contains("nodeName"));
      });
    }
  }
}

TEST_CASE("retirement: a pod that has got a node since it was observed is not dropped, but retired by the next plan") {
  SimulatedCluster cluster = with_a_pending_pod(by_replicas);
  const Plan plan = make_plan(by_daemons, cluster.snapshot);
  cluster.snapshot.pods[2]["spec"]["nodeName"] = "agent-1";
  cluster.snapshot.pods[2]["status"] = {{"phase", "Running"},
                                        {"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}};
  carry_out(cluster, plan);
  CHECK(cluster.serving() == 4);
  reach(cluster, by_daemons);
  check_daemons(cluster, 3);
}

TEST_CASE("retirement: a DaemonSet's pod that has found no node goes when nobody would make it anew") {
  SimulatedCluster start(3);
  reach(start, by_daemons);
  start.unschedule(2);
  const std::string name = start.snapshot.pods[2]["metadata"]["name"];
  const auto steps = ids(make_plan(packaged, start.snapshot));
  CHECK(at(steps, "drop-" + name) < steps.size());
  CHECK(at(steps, "drop-" + name) > at(steps, "freed-k3s-core-ha-coredns"));
  carry_out(start, make_plan(packaged, start.snapshot));
  reach(start, packaged);  // the DaemonSet made another one in the simulation, which it goes without
  check_packaged(start);
}

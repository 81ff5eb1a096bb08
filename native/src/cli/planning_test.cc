// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/planning.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cluster/observe.h"
#include "cluster/read_only_client_testing.h"
#include "cluster/usage.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha::testing;

namespace {

/// What a server answers whose cluster is as the snapshot has it.
Json serve(const cluster::Snapshot& snapshot, const kube::Read& read) {
  if (read.path == "/version") return snapshot.version;
  if (read.path == "/apis") {
    Json versions = Json::array();
    for (const auto& group : snapshot.groups)
      versions.push_back({{"groupVersion", group}});
    return {{"groups", Json::array({{{"versions", versions}}})}};
  }
  const Json all = cluster::to_json(snapshot);
  Json items = all.value(read.path.substr(read.path.rfind('/') + 1), Json::array());
  if (read.label_selector.find("k8s-app!=kube-dns") != std::string::npos || read.path.starts_with("/api/v1/pods"))
    items = Json::array();  // none retires; nothing else runs
  return {{"items", items}};
}

cluster::testing::ReadOnlyClient client_of(const cluster::Snapshot& snapshot) {
  cluster::testing::ReadOnlyClient client;
  client.answer = [&snapshot](const kube::Read& read) { return serve(snapshot, read); };
  return client;
}

ha::SimulatedCluster with_room() {
  ha::SimulatedCluster cluster(3);
  for (int i = 0; i < 3; ++i)
    cluster.node(i)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
  return cluster;
}

}  // namespace

TEST_CASE("planning: a cluster that is as wished costs one round trip, a change two") {
  ha::SimulatedCluster cluster = with_room();
  auto client = client_of(cluster.snapshot);
  auto changed = cli::observe_and_plan(client, wish(), {});
  REQUIRE(changed);
  CHECK_FALSE(changed->plan.steps.empty());
  CHECK(changed->plan.unread.empty());
  CHECK(changed->snapshot.usage.size() == 3);
  CHECK(client.round_trips == 2);

  reach(cluster, wish());
  client.round_trips = 0;
  auto same = cli::observe_and_plan(client, wish(), {});
  REQUIRE(same);
  CHECK(same->plan.steps.empty());
  CHECK(client.round_trips == 1);
}

TEST_CASE("planning: a saved snapshot has what a plan needs, the same as on the cluster") {
  const ha::SimulatedCluster cluster = with_room();
  auto client = client_of(cluster.snapshot);
  auto observed = cluster::observe(client);
  REQUIRE(observed);
  REQUIRE(cluster::observe_all_usage(client, *observed));
  const auto saved = cluster::snapshot_from_json(Json::parse(cluster::to_json(*observed).dump()));
  REQUIRE(saved);
  const auto live = cli::observe_and_plan(client, wish(), {});
  REQUIRE(live);
  const auto replayed = ha::make_plan(wish(), *saved);
  CHECK(replayed.unread.empty());
  CHECK(ids(replayed) == ids(live->plan));
  CHECK(replayed.warnings == live->plan.warnings);
}

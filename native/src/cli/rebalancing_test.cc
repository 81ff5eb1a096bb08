// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/rebalancing.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "cli/reconciling.h"
#include "cli/wished_cluster_testing.h"
#include "ha/rebalance.h"

using namespace core_ha;
using cli::testing::Cluster;
using kube::testing::Call;
using kube::testing::status_error;
using namespace std::chrono_literals;

namespace {

/// Two replicas on one node of three; what is evicted is made anew on the free one.
struct Crowded : Cluster {
  Crowded() {
    ha::SimulatedCluster simulated(3);
    ha::testing::reach(simulated, ha::testing::autoscaling);
    const char* hosts[] = {"server-1", "server-1", "agent-1"};
    for (std::size_t i = 0; i < 3; ++i) {
      Json pod = simulated.snapshot.pods[i];
      pod["spec"]["nodeName"] = hosts[i];
      pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z";
      client.objects[rest_path(kube::ref_of(pod))] = pod;
    }
    client.listed = [](const kube::Read& read, const Json&) {
      return !read.path.ends_with("/pods") || read.label_selector.starts_with("k8s-app in");
    };
  }
  std::size_t pods() {
    std::size_t count = 0;
    for (const auto& [path, object] : client.objects)
      if (path.find("/pods/") != std::string::npos) ++count;
    return count;
  }
  std::string note() {
    return (*client.find(ha::state_object))["metadata"]
        .value("annotations", Json::object())
        .value(std::string(ha::moved_annotation), "");
  }
};

const cli::Rebalancing quick_moves{.wait_timeout = 1s, .between_tries = 1ms};

}  // namespace

TEST_CASE("rebalance: one pod is evicted, and noted beforehand") {
  Crowded cluster;
  bool noted_before = false;
  cluster.client.after_write = [&](const Call& call) {
    if (call.verb == "delete") noted_before = !cluster.note().empty();
  };
  const auto done = cli::rebalance(cluster.client, quick_moves);
  REQUIRE(done);
  CHECK(done->changed);
  CHECK(done->words == "server-1 has 2 replicas and agent-2 has 0: one was moved.");
  CHECK(noted_before);
  CHECK(cluster.note().starts_with("agent-2 "));
  CHECK(cluster.pods() == 2);
}

TEST_CASE("rebalance: a dry run writes nothing") {
  Crowded cluster;
  auto dry = quick_moves;
  dry.dry_run = true;
  const auto done = cli::rebalance(cluster.client, dry);
  REQUIRE(done);
  CHECK(done->changed);
  CHECK(done->words == "server-1 has 2 replicas and agent-2 has 0: one would be moved.");
  CHECK(cluster.pods() == 3);
  CHECK(cluster.note().empty());
}

TEST_CASE("rebalance: kubectl drain.go: 429 is a budget saying not yet, 404 is done") {
  Crowded cluster;
  int tries = 0;
  SUBCASE("not yet, then yes") {
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb == "delete" && ++tries < 4) return status_error(429, "TooManyRequests", "would violate the budget");
      return std::nullopt;
    };
    REQUIRE(cli::rebalance(cluster.client, quick_moves));
    CHECK(tries == 4);
    CHECK(cluster.pods() == 2);
  }
  SUBCASE("never") {
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb == "delete") return status_error(429, "TooManyRequests", "would violate the budget");
      return std::nullopt;
    };
    auto impatient = quick_moves;
    impatient.wait_timeout = 0s;
    const auto done = cli::rebalance(cluster.client, impatient);
    REQUIRE_FALSE(done);
    CHECK(done.error().status == ExitStatus::unsafe);
    CHECK(done.error().message.find("would violate the budget") != std::string::npos);
    CHECK(cluster.pods() == 3);
  }
  SUBCASE("gone") {
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb != "delete") return std::nullopt;
      cluster.client.objects.erase(call.path);
      return status_error(404, "NotFound");
    };
    CHECK(cli::rebalance(cluster.client, quick_moves));
  }
}

TEST_CASE("reconcile: a look with nothing else to do moves one, and the next look none") {
  Crowded cluster;
  const cli::Reconciling here{.node = "server-1", .version = "0.1.0", .poll = 1ms};
  const auto first = cli::reconcile(cluster.client, here);
  REQUIRE(first);
  CHECK(first->moved == "server-1 has 2 replicas and agent-2 has 0: one was moved.");
  const auto second = cli::reconcile(cluster.client, here);
  REQUIRE(second);
  CHECK(second->moved.empty());
}

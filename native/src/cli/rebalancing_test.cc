// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/rebalancing.h"

#include <doctest/doctest.h>

#include <csignal>
#include <optional>
#include <string>

#include "base/interrupt.h"
#include "cli/reconciling.h"
#include "cli/wished_cluster_testing.h"
#include "ha/rebalance.h"

using namespace core_ha;
using cli::testing::Cluster;
using kube::testing::Call;
using kube::testing::status_error;
using namespace std::chrono_literals;

namespace {

/// Two replicas on one node of three. One that is let go is made anew on the free node, and only one that is not asked
/// any more is ended.
struct Crowded : Cluster {
  bool replaces = true;  ///< its ReplicaSet finds a node for the new one
  bool ended_while_asked = false;
  bool noted_before = false;

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
    client.listed = [](const kube::Read& read, const Json& object) {
      if (read.label_selector == "k8s-app=kube-dns") return object["metadata"]["labels"].contains("k8s-app");
      return !read.path.ends_with("/pods") || read.label_selector.starts_with("k8s-app in");
    };
    client.fault = [this](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb == "delete" && !call.dry_run) ended_while_asked |= labels(call.path).contains("k8s-app");
      return std::nullopt;
    };
    client.after_write = [this](const Call& call) { act_on(call); };
  }

  /// As the ReplicaSet does it.
  void act_on(const Call& call) {
    const Json::json_pointer hash("/metadata/labels/pod-template-hash");
    if (call.verb != "patch" || !call.body.contains(hash) || !call.body[hash].is_null()) return;
    noted_before = !note().empty();
    Json& old = client.objects[call.path];
    Json fresh = old;
    fresh["metadata"]["name"] = "coredns-new";
    fresh["metadata"]["uid"] = "new";
    fresh["metadata"]["labels"] = {{"k8s-app", "kube-dns"}, {"pod-template-hash", "1"}};
    fresh["spec"]["nodeName"] = "agent-2";
    old["metadata"].erase("ownerReferences");
    if (replaces) client.objects[rest_path(kube::ref_of(fresh))] = fresh;
  }
  const Json& labels(const std::string& path) { return client.objects[path]["metadata"]["labels"]; }
  std::size_t pods() {
    std::size_t count = 0;
    for (const auto& [path, object] : client.objects)
      if (path.find("/pods/") != std::string::npos) ++count;
    return count;
  }
  /// Whether every pod is a ReplicaSet's, or would be adopted by it.
  bool all_stay() {
    bool stay = true;
    for (const auto& [path, object] : client.objects)
      if (path.find("/pods/") != std::string::npos)
        stay &= labels(path).contains("pod-template-hash") && !labels(path).contains("k3s-core-ha/retiring");
    return stay;
  }
  std::string note() {
    return (*client.find(ha::state_object))["metadata"]
        .value("annotations", Json::object())
        .value(std::string(ha::moved_annotation), "");
  }
};

const cli::Rebalancing quick_moves{.wait_timeout = 1s, .between_tries = 1ms};

}  // namespace

TEST_CASE("rebalance: one pod is replaced, serves until its replacement does, and is noted beforehand") {
  Crowded cluster;
  const auto done = cli::rebalance(cluster.client, quick_moves);
  REQUIRE(done);
  CHECK(done->changed);
  CHECK(done->words == "server-1 has 2 replicas and agent-2 has 0: one was moved.");
  CHECK(cluster.noted_before);
  CHECK(cluster.note().starts_with("agent-2 "));
  CHECK(cluster.pods() == 3);
  CHECK(cluster.all_stay());
  CHECK_FALSE(cluster.ended_while_asked);
}

TEST_CASE("rebalance: a dry run writes nothing") {
  Crowded cluster;
  auto dry = quick_moves;
  dry.dry_run = true;
  const auto done = cli::rebalance(cluster.client, dry);
  REQUIRE(done);
  CHECK(done->changed);
  CHECK(done->words == "server-1 has 2 replicas and agent-2 has 0: one would be moved.");
  CHECK(cluster.client.writes().empty());
  CHECK(cluster.note().empty());
}

TEST_CASE("rebalance: a pod whose replacement does not come stays, also on a signal and where no answer came") {
  Crowded cluster;
  cluster.replaces = false;
  auto status = ExitStatus::rolled_back;
  std::string words = "after 0 s of waiting 2 of 3 pods are ready";
  auto impatient = quick_moves;
  impatient.wait_timeout = 0s;
  SUBCASE("in time") {}
  SUBCASE("on a signal") {
    catch_interrupts();
    reset_interrupts();
    cluster.client.after_write = [&cluster](const Call& call) {
      cluster.act_on(call);
      if (call.path.find("/pods/") != std::string::npos && !interrupted()) std::raise(SIGTERM);
    };
    impatient.wait_timeout = 10s;
    status = ExitStatus::interrupted;
    words = "interrupted";
  }
  SUBCASE("no answer") {
    int patches = 0;
    cluster.client.fault = [patches](const Call& call) mutable -> std::optional<kube::ApiError> {
      if (call.verb == "patch" && !call.dry_run && ++patches == 2) return kube::testing::lost_answer(true);
      return std::nullopt;
    };
  }
  const auto done = cli::rebalance(cluster.client, impatient);
  reset_interrupts();
  REQUIRE_FALSE(done);
  CHECK(done.error().status == status);
  CHECK(done.error().message.find(words) != std::string::npos);
  CHECK(done.error().message.ends_with("; what was done has been undone"));
  CHECK(cluster.pods() == 3);
  CHECK(cluster.all_stay());
  CHECK_FALSE(cluster.note().empty());  // and is not tried again for a day
}

TEST_CASE("rebalance: what cannot be taken back is said") {
  Crowded cluster;
  cluster.replaces = false;
  auto impatient = quick_moves;
  impatient.wait_timeout = 0s;
  int patches = 0;
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb == "patch" && !call.dry_run && ++patches == 3) return status_error(403, "Forbidden", "no rights");
    return std::nullopt;
  };
  const auto done = cli::rebalance(cluster.client, impatient);
  REQUIRE_FALSE(done);
  CHECK(done.error().status == ExitStatus::not_rolled_back);
  CHECK(done.error().message.ends_with("; going back failed too: no rights"));
}

TEST_CASE("rebalance: kubectl drain.go: 429 is a budget saying not yet, 404 is done") {
  Crowded cluster;
  int asked = 0;
  SUBCASE("not yet, then yes") {
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb == "delete" && ++asked < 4) return status_error(429, "TooManyRequests", "would violate the budget");
      return std::nullopt;
    };
    const auto done = cli::rebalance(cluster.client, quick_moves);
    REQUIRE(done);
    CHECK(done->changed);
    CHECK(asked >= 4);
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
  }
  SUBCASE("gone") {
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb == "delete") return status_error(404, "NotFound");
      return std::nullopt;
    };
    const auto done = cli::rebalance(cluster.client, quick_moves);
    REQUIRE(done);
    CHECK_FALSE(done->changed);
    CHECK(done->words.ends_with("has gone by itself: nothing is moved."));
  }
  CHECK(cluster.all_stay());
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

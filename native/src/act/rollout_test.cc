// SPDX-License-Identifier: GPL-3.0-or-later
// kubectl's pkg/polymorphichelpers/rollout_status.go, a case for each rule.
#include "act/rollout.h"

#include <doctest/doctest.h>

#include <vector>

using core_ha::Json;
using core_ha::act::daemonset_rollout_status;
using core_ha::act::Rollout;
using core_ha::act::rollout_status;

namespace {

Json deployment_with(const Json& status, int replicas = 3, int generation = 2) {
  return {{"metadata", {{"generation", generation}}}, {"spec", {{"replicas", replicas}}}, {"status", status}};
}

Json daemonset(int desired, int updated, int available, int observed = 2) {
  return {{"metadata", {{"generation", 2}}},
          {"status",
           {{"observedGeneration", observed},
            {"desiredNumberScheduled", desired},
            {"updatedNumberScheduled", updated},
            {"numberAvailable", available}}}};
}

/// Bound to its node, or still to be.
Json daemon(const char* node, const char* ready, bool bound = true) {
  Json pod = {{"metadata", Json::object()},
              {"status", {{"conditions", Json::array({{{"type", "Ready"}, {"status", ready}}})}}}};
  if (bound) {
    pod["spec"]["nodeName"] = node;
    return pod;
  }
  const Json field{{"key", "metadata.name"}, {"operator", "In"}, {"values", {node}}};
  pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
      Json::array({{{"matchFields", Json::array({field})}}});
  return pod;
}

}  // namespace

TEST_CASE("rollout_status.go: a DaemonSet's nodes have a new pod, then it is available on each") {
  CHECK(daemonset_rollout_status(daemonset(3, 3, 3, 1)).words == "the change has not been seen by the controller yet");
  CHECK(daemonset_rollout_status(daemonset(3, 2, 3)).words == "2 of 3 nodes have a new pod");
  CHECK(daemonset_rollout_status(daemonset(3, 3, 2)).words == "2 of 3 new pods are available");
  CHECK(daemonset_rollout_status(daemonset(3, 3, 2)).state == Rollout::State::waiting);
  CHECK(daemonset_rollout_status(daemonset(3, 3, 3)).state == Rollout::State::done);
  CHECK(daemonset_rollout_status(Json{{"metadata", {{"generation", 1}}}}).state == Rollout::State::waiting);
}

TEST_CASE("a DaemonSet's pods on nodes that are not ready are not waited for, any other one is") {
  struct Row {
    const char* what;
    Json set;
    std::vector<Json> pods;
    bool done;
  };
  Json ending = daemon("b", "True");
  ending["metadata"]["deletionTimestamp"] = "2026-06-01T12:00:00Z";
  const std::vector<Row> rows{
      {"all but the dead node's",
       daemonset(3, 3, 2),
       {daemon("a", "True"), daemon("b", "True"), daemon("dead", "False")},
       true},
      {"the dead node's was never bound",
       daemonset(2, 2, 1),
       {daemon("a", "True"), daemon("dead", "False", false)},
       true},
      {"a living node's is not ready",
       daemonset(3, 3, 1),
       {daemon("a", "True"), daemon("b", "False"), daemon("dead", "False")},
       false},
      {"a living node has none yet", daemonset(3, 2, 1), {daemon("a", "True"), daemon("dead", "False")}, false},
      {"a living node's is ending", daemonset(3, 3, 1), {daemon("a", "True"), ending, daemon("dead", "False")}, false},
      {"a living node's is old",
       daemonset(3, 1, 2),
       {daemon("a", "True"), daemon("b", "True"), daemon("dead", "False")},
       false},
      {"nobody would be left to ask", daemonset(1, 1, 0), {daemon("dead", "False")}, false},
      {"it was not seen yet", daemonset(2, 2, 1, 1), {daemon("a", "True"), daemon("dead", "False")}, false}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    CHECK((daemonset_rollout_status(row.set, row.pods, {"dead"}).state == Rollout::State::done) == row.done);
  }
}

TEST_CASE("rollout_status.go: nothing counts before the controller has seen the generation") {
  const auto status = rollout_status(
      deployment_with({{"observedGeneration", 1}, {"replicas", 3}, {"updatedReplicas", 3}, {"availableReplicas", 3}}));
  CHECK(status.state == Rollout::State::waiting);
}

TEST_CASE("rollout_status.go: ProgressDeadlineExceeded is a failure") {
  const Json condition{{"type", "Progressing"}, {"status", "False"}, {"reason", "ProgressDeadlineExceeded"}};
  CHECK(rollout_status(deployment_with({{"observedGeneration", 2}, {"conditions", {condition}}})).state ==
        Rollout::State::failed);
}

TEST_CASE("rollout_status.go: updated = spec, then no old ones, then available = updated") {
  const auto words = [](int all, int updated, int available) {
    return rollout_status(deployment_with({{"observedGeneration", 2},
                                           {"replicas", all},
                                           {"updatedReplicas", updated},
                                           {"availableReplicas", available}}));
  };
  CHECK(words(3, 2, 3).words == "2 of 3 new replicas exist");
  CHECK(words(4, 3, 3).words == "1 old replicas are still there");
  CHECK(words(3, 3, 2).words == "2 of 3 new replicas are available");
  CHECK(words(3, 3, 2).state == Rollout::State::waiting);
  CHECK(words(3, 3, 3).state == Rollout::State::done);
}

TEST_CASE("rollout_status.go: an empty status of a new Deployment is waiting, and odd shapes do not end it") {
  CHECK(rollout_status(deployment_with(Json::object())).state == Rollout::State::waiting);
  CHECK(rollout_status(deployment_with({{"observedGeneration", 2}}, 0)).state == Rollout::State::done);
  CHECK(rollout_status(Json{{"status", {{"conditions", {1, "x", nullptr}}}}}).state == Rollout::State::waiting);
}

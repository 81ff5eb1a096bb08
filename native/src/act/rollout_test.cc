// SPDX-License-Identifier: GPL-3.0-or-later
// kubectl's pkg/polymorphichelpers/rollout_status.go, a row each.
#include "act/rollout.h"

#include <doctest/doctest.h>

using core_ha::Json;
using core_ha::act::Rollout;
using core_ha::act::rollout_status;

namespace {

Json deployment(const Json& status, int replicas = 3, int generation = 2) {
  return {{"metadata", {{"generation", generation}}}, {"spec", {{"replicas", replicas}}}, {"status", status}};
}

}  // namespace

TEST_CASE("rollout_status.go: nothing counts before the controller has seen the generation") {
  const auto status = rollout_status(
      deployment({{"observedGeneration", 1}, {"replicas", 3}, {"updatedReplicas", 3}, {"availableReplicas", 3}}));
  CHECK(status.state == Rollout::State::waiting);
}

TEST_CASE("rollout_status.go: ProgressDeadlineExceeded is a failure") {
  const Json condition{{"type", "Progressing"}, {"status", "False"}, {"reason", "ProgressDeadlineExceeded"}};
  CHECK(rollout_status(deployment({{"observedGeneration", 2}, {"conditions", {condition}}})).state ==
        Rollout::State::failed);
}

TEST_CASE("rollout_status.go: updated = spec, then no old ones, then available = updated") {
  const auto words = [](int all, int updated, int available) {
    return rollout_status(deployment({{"observedGeneration", 2},
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
  CHECK(rollout_status(deployment(Json::object())).state == Rollout::State::waiting);
  CHECK(rollout_status(deployment({{"observedGeneration", 2}}, 0)).state == Rollout::State::done);
  CHECK(rollout_status(Json{{"status", {{"conditions", {1, "x", nullptr}}}}}).state == Rollout::State::waiting);
}

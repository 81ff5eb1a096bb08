// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/act.h"

#include <doctest/doctest.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "act/cluster_testing.h"
#include "act/writes.h"
#include "base/interrupt.h"

using namespace core_ha;
using namespace core_ha::act::testing;
using act::StepState;

TEST_CASE("a write whose answer was lost is read back, and not sent again when it is there") {
  Cluster cluster;
  for (const auto& [step, verb, end] :
       {std::tuple{scale, "patch", "/scale"}, std::tuple{overlay, "apply", "coredns"},
        std::tuple{label, "patch", "coredns-old"}, std::tuple{retire, "delete", "old"}}) {
    cluster.client.calls.clear();
    cluster.client.fault = fail_at(verb, end, lost_answer(true));
    CHECK_FALSE(act::carry_out({step}, cluster.client, quick).error);
    CHECK(cluster.client.writes().size() == 1);
  }
}

TEST_CASE("a write that never arrived is sent again once the API answers reads") {
  Cluster cluster;
  int down = 5;
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.path.ends_with("/scale") && (call.verb == "patch" || down < 5) && down > 0) {
      --down;
      return lost_answer(false);
    }
    return std::nullopt;
  };
  CHECK_FALSE(act::carry_out({scale}, cluster.client, quick).error);
  CHECK(cluster.spec()["replicas"] == 3);
}

TEST_CASE("a rollout that does not come about within its time is undone, and says what it waited for") {
  Cluster cluster;
  cluster.client.after_write = [&](const Call& call) {
    cluster.settle();
    if (call.verb == "patch") (*cluster.client.find(deployment))["status"]["availableReplicas"] = 1;
  };
  const auto outcome = act::carry_out({scale, rollout}, cluster.client, {.wait_timeout = 0s, .poll = 1ms});
  REQUIRE(outcome.error);
  CHECK(outcome.error->message.find("apps/v1 Deployment kube-system/coredns: after 0 s of waiting 1 of 3 new replicas "
                                    "are available; ") == 0);
}

TEST_CASE("a Deployment that the run made, and that does not come up, is gone again, and is not waited for") {
  Cluster cluster;
  const kube::ObjectRef own{"apps/v1", "Deployment", "kube-system", "own"};
  const Step make{.id = "make", .action = Action::apply, .object = own, .body = body_of(own, {{"replicas", 1}})};
  const Step wait{.id = "wait", .action = Action::wait_rollout, .object = own};
  const auto outcome = act::carry_out({make, wait}, cluster.client, {.wait_timeout = 0s, .poll = 1ms});
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.client.find(own) == nullptr);
}

TEST_CASE("an answer of a server in trouble does not tell whether a write was done: it is read back, and sent again") {
  for (const auto& error : {status_error(500, "InternalError", "etcdserver: request timed out"),
                            status_error(504, "Timeout"), status_error(429, "TooManyRequests")}) {
    CAPTURE(error.code);
    Cluster cluster;
    kube::ApiError done = error;
    done.sent = true;  // the fake carries it out all the same
    for (const auto& [step, verb, end, answer, sends] :
         {std::tuple{scale, "patch", "/scale", done, 1}, std::tuple{overlay, "apply", "coredns", error, 2},
          std::tuple{protect, "apply", "coredns", done, 1}, std::tuple{retire, "delete", "old", error, 2}}) {
      cluster.client.calls.clear();
      cluster.client.fault = fail_at(verb, end, answer);
      CHECK_FALSE(act::carry_out({step}, cluster.client, quick).error);
      CHECK(cluster.client.writes().size() == static_cast<size_t>(sends));
    }
  }
}

TEST_CASE("going back outlasts a server in trouble, a pod that is gone meanwhile, and what cannot be taken back") {
  Cluster cluster;
  const Json before = cluster.spec();
  int busy = 9;  // longer than on the way there
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.dry_run || call.body.is_null()) return std::nullopt;
    if (call.path.ends_with("k3s-core-ha-coredns")) {
      cluster.client.objects.erase(rest_path(old_pod));
      return status_error(422, "Invalid", "no such thing");
    }
    const bool back = call.body.value(Json::json_pointer("/spec/replicas"), 0) == 1;
    if (back && --busy > 0) return status_error(500, "InternalError", "etcdserver: leader changed");
    return std::nullopt;
  };
  const auto outcome = act::carry_out({scale, label, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->message == "no such thing; what was done has been undone");
  CHECK(cluster.spec() == before);

  Cluster refused;
  refused.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.dry_run || call.body.is_null()) return std::nullopt;
    if (call.path.ends_with("k3s-core-ha-coredns")) return status_error(422, "Invalid", "no such thing");
    const Json mark = call.body.value(Json::json_pointer("/metadata/labels/k3s-core-ha~1retiring"), Json("none"));
    if (!call.path.ends_with("coredns-old") || !mark.is_null()) return std::nullopt;
    return status_error(403, "Forbidden", "not now");
  };
  const auto stuck = act::carry_out({scale, label, protect}, refused.client, quick);
  REQUIRE(stuck.error);
  CHECK(stuck.error->status == ExitStatus::not_rolled_back);
  CHECK(stuck.error->message == "no such thing; going back failed too: not now");
  CHECK(refused.spec()["replicas"] == 1);  // one step that is stuck does not hold up the others
}

TEST_CASE("a write that may have been done is taken back with the rest, also by a signal") {
  for (const bool signal : {false, true}) {
    CAPTURE(signal);
    catch_interrupts();
    reset_interrupts();
    Cluster cluster;
    const Json before = cluster.spec();
    bool sent = false;
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.dry_run) return std::nullopt;
      if (call.verb == "patch" && !std::exchange(sent, true)) return lost_answer(true);
      if (!sent || cluster.client.calls.back().path != call.path) return std::nullopt;
      // Asked what became of it: the API is away for good, or until after the signal.
      if (call.verb != "get" || !call.path.ends_with("/scale")) return std::nullopt;
      if (signal && !interrupted()) {
        std::raise(SIGINT);
        return lost_answer(false);
      }
      return signal ? std::nullopt : std::optional(status_error(403, "Forbidden", "no rights"));
    };
    const auto outcome = act::carry_out({scale, overlay}, cluster.client, quick);
    reset_interrupts();
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == (signal ? ExitStatus::interrupted : ExitStatus::rolled_back));
    CHECK(outcome.error->message.find("what was done has been undone") != std::string::npos);
    CHECK(cluster.spec() == before);
    CHECK(outcome.states[0] == (signal ? StepState::rolled_back : StepState::failed));
    CHECK_FALSE(outcome.changed());
    CHECK(outcome.changes.empty());
  }
}

TEST_CASE("what the server stored otherwise than asked is taken back") {
  Cluster cluster;
  bool meddles = true;
  cluster.client.change_answer = [&](const Call& call, Json& answer) {  // an admission plugin that knows better
    if (call.dry_run || call.verb != "apply" || !std::exchange(meddles, false)) return;
    answer["spec"]["minReadySeconds"] = 9;
  };
  const Json before = cluster.spec();
  const auto outcome = act::carry_out({scale, overlay}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.spec() == before);
}

TEST_CASE("when the time for the run is over no wait goes on, and it goes back within a time of its own") {
  Cluster cluster;
  const Json before = cluster.spec();
  cluster.client.after_write = [&](const Call& call) {
    cluster.settle();
    // The new replicas do not come, the old one does.
    if (call.verb == "patch" && cluster.spec()["replicas"] == 3)
      (*cluster.client.find(deployment))["status"]["availableReplicas"] = 1;
  };
  act::Options options = quick;
  options.wait_timeout = 3600s;
  options.deadline = Deadline::after(500ms);
  const auto outcome = act::carry_out({scale, rollout, protect}, cluster.client, options);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(outcome.error->message.starts_with("the time for the whole run (--timeout) is over: "));
  CHECK(outcome.error->message.find("1 of 3 new replicas are available; what was done has been undone") !=
        std::string::npos);
  CHECK(cluster.spec() == before);
  CHECK(cluster.client.deadline.never() == false);
  CHECK(cluster.client.deadline.at() == options.deadline.at());  // for whoever uses the client next

  const auto late = act::carry_out({scale}, cluster.client, options);
  REQUIRE(late.error);
  CHECK(late.error->status == ExitStatus::api);
  CHECK(late.error->message.find("was not begun") != std::string::npos);
  CHECK_FALSE(late.changed());
}

TEST_CASE("going back stops, too, when another run has taken over") {
  for (const int taken_at : {4, 5}) {  // before going back; before its first write
    CAPTURE(taken_at);
    Cluster cluster;
    act::Options options = quick;
    options.still_ours = [count = 0, taken_at](const act::WriteOptions&) mutable -> Result<void> {
      if (++count < taken_at) return {};
      return Error{ExitStatus::conflict, "another run has written revision 4"};
    };
    cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
    const auto outcome = act::carry_out({label, scale, protect}, cluster.client, options);
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == ExitStatus::conflict);
    CHECK(outcome.error->message == "no such thing; another run has written revision 4; what was done is left to it");
    CHECK(cluster.spec()["replicas"] == 3);
    CHECK(outcome.changed());
  }
}

TEST_CASE("an exception half-way is no end without going back") {
  Cluster cluster;
  const Json before = cluster.spec();
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (!call.dry_run && call.verb == "apply") throw std::runtime_error("odd shape");
    return std::nullopt;
  };
  const auto outcome = act::carry_out({scale, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(outcome.error->message.find("internal error: odd shape; what was done has been undone") != std::string::npos);
  CHECK(cluster.spec() == before);
}

TEST_CASE("a run whose wish is no longer the cluster's stops where it is, and does not go back") {
  Cluster cluster;
  act::Options options = quick;
  options.still_ours = [count = 0](const act::WriteOptions&) mutable -> Result<void> {
    if (++count < 3) return {};
    return Error{ExitStatus::conflict, "another run has written revision 4"};
  };
  const auto outcome = act::carry_out({label, scale, overlay, protect}, cluster.client, options);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::conflict);
  CHECK(outcome.error->message.find("left to it") != std::string::npos);
  CHECK(outcome.states == std::vector{StepState::done, StepState::done, StepState::failed, StepState::planned});
  CHECK(cluster.client.writes() == std::vector<std::string>{"patch coredns-old", "patch scale"});
  CHECK(outcome.changed());
}

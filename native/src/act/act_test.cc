// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/act.h"

#include <doctest/doctest.h>

#include <csignal>
#include <stdexcept>
#include <utility>

#include "act/writes.h"
#include "base/interrupt.h"
#include "kube/fake_client_testing.h"

using namespace core_ha;
using act::StepState;
using ha::Action;
using ha::Step;
using kube::testing::Call;
using kube::testing::FakeClient;
using kube::testing::lost_answer;
using kube::testing::status_error;
using namespace std::chrono_literals;

namespace {

const kube::ObjectRef deployment{"apps/v1", "Deployment", "kube-system", "coredns"};
const kube::ObjectRef service{"v1", "Service", "kube-system", "kube-dns"};
const kube::ObjectRef budget{"policy/v1", "PodDisruptionBudget", "kube-system", "k3s-core-ha-coredns"};
const kube::ObjectRef old_pod{"v1", "Pod", "kube-system", "coredns-old"};

Json body_of(const kube::ObjectRef& ref, const Json& spec) {
  return {{"apiVersion", ref.api_version},
          {"kind", ref.kind},
          {"metadata", {{"name", ref.name}, {"namespace", ref.ns}}},
          {"spec", spec}};
}

/// CoreDNS as k3s ships it, and a controller that carries every change out at once.
struct Cluster {
  FakeClient client;

  Cluster() {
    Json packaged = body_of(deployment, {{"replicas", 1}, {"strategy", {{"rollingUpdate", {{"maxUnavailable", 1}}}}}});
    client.put(packaged);
    settle();
    Json pod = body_of(old_pod, Json::object());
    pod["metadata"]["labels"] = {{"k8s-app", "kube-dns"}};
    client.put(pod);
    client.put(body_of(service, Json::object()));
    client.after_write = [this](const Call&) { settle(); };
  }

  void settle() {
    Json& object = *client.find(deployment);
    const int replicas = object["spec"].value("replicas", 1);
    object["status"] = {{"replicas", replicas}, {"updatedReplicas", replicas}, {"availableReplicas", replicas}};
  }

  Json spec() { return (*client.find(deployment))["spec"]; }
};

const Step overlay{.id = "overlay",
                   .action = Action::apply,
                   .object = deployment,
                   .body = body_of(deployment, {{"minReadySeconds", 3}})};
const Step scale{.id = "scale", .action = Action::scale, .object = deployment, .body = {{"spec", {{"replicas", 3}}}}};
const Step rollout{.id = "rollout", .action = Action::wait_rollout, .object = deployment};
const Step protect{
    .id = "protect", .action = Action::apply, .object = budget, .body = body_of(budget, {{"maxUnavailable", 1}})};
const Step label{.id = "label",
                 .action = Action::patch,
                 .object = old_pod,
                 .body = {{"metadata", {{"labels", {{"k3s-core-ha/retiring", "true"}}}}}},
                 .uid = "uid-coredns-old"};
const Step unlabel{.id = "unlabel",
                   .action = Action::patch,
                   .object = old_pod,
                   .body = {{"metadata", {{"labels", {{"k8s-app", nullptr}}}}}},
                   .uid = "uid-coredns-old"};
const Step retire{.id = "retire", .action = Action::remove, .object = old_pod, .uid = "uid-coredns-old"};

const act::Options quick{.wait_timeout = 1s, .poll = 1ms};

/// Fails the call number `nth` (from 1) that `match` fits, dry runs left out.
auto fail_at(std::string verb, std::string end, kube::ApiError error, int nth = 1) {
  return [=, count = 0](const Call& call) mutable -> std::optional<kube::ApiError> {
    if (call.dry_run || call.verb != verb || !call.path.ends_with(end) || ++count != nth) return std::nullopt;
    return error;
  };
}

}  // namespace

TEST_CASE("steps are carried out in order, after every apply was asked as a dry run") {
  Cluster cluster;
  const auto outcome = act::carry_out({label, scale, overlay, rollout, protect}, cluster.client, quick);
  CHECK_FALSE(outcome.error);
  CHECK(outcome.changed());
  CHECK(outcome.states == std::vector<StepState>(5, StepState::done));
  CHECK(cluster.client.writes() ==
        std::vector<std::string>{"patch coredns-old", "patch scale", "apply coredns", "apply k3s-core-ha-coredns"});
  CHECK(cluster.spec()["replicas"] == 3);
  REQUIRE(outcome.changes.size() == 2);
  CHECK(outcome.changes[0].before["spec"]["replicas"] == 1);
  CHECK(outcome.changes[0].after["spec"]["replicas"] == 3);
  CHECK(outcome.changes[0].after["spec"]["minReadySeconds"] == 3);
  CHECK(outcome.changes[1].before.is_null());
}

TEST_CASE("what is so already is unchanged, and changes nothing") {
  Cluster cluster;
  REQUIRE_FALSE(act::carry_out({overlay}, cluster.client, quick).error);
  const auto outcome = act::carry_out({overlay}, cluster.client, quick);
  CHECK(outcome.states == std::vector{StepState::unchanged});
  CHECK_FALSE(outcome.changed());
  CHECK(outcome.changes.empty());
}

TEST_CASE("a dry run changes nothing and tells what would be") {
  Cluster cluster;
  const auto before = cluster.client.objects;
  const auto outcome =
      act::carry_out({label, scale, overlay, rollout, protect}, cluster.client, {.dry_run = true, .poll = 1ms});
  CHECK_FALSE(outcome.error);
  CHECK(outcome.changed());
  CHECK(outcome.states == std::vector<StepState>(5, StepState::planned));
  CHECK(cluster.client.objects == before);
  CHECK(cluster.client.writes().empty());
  REQUIRE(outcome.changes.size() == 2);
  CHECK(outcome.changes[0].after["spec"]["replicas"] == 3);
  CHECK(outcome.changes[0].after["spec"]["minReadySeconds"] == 3);
  CHECK(outcome.changes[0].before["spec"]["replicas"] == 1);
}

TEST_CASE("k3s's fields are taken by force, another owner's are exit 5 before anything is touched") {
  const Step surge{.id = "surge",
                   .action = Action::apply,
                   .object = deployment,
                   .body = body_of(deployment, {{"strategy", {{"rollingUpdate", {{"maxUnavailable", 2}}}}}})};
  Cluster cluster;
  CHECK_FALSE(act::carry_out({surge}, cluster.client, quick).error);
  std::vector<bool> forced;
  for (const Call& call : cluster.client.calls)
    if (call.verb == "apply" && !call.dry_run) forced.push_back(call.force);
  CHECK(forced == std::vector{false, true});
  CHECK(cluster.spec()["strategy"]["rollingUpdate"]["maxUnavailable"] == 2);

  Cluster contested;
  contested.client.put(*contested.client.find(deployment), "argocd-controller");
  const auto outcome = act::carry_out({label, surge}, contested.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::conflict);
  CHECK(outcome.error->message ==
        "apps/v1 Deployment kube-system/coredns: .spec.strategy.rollingUpdate.maxUnavailable is held by "
        "argocd-controller, and is not taken from another owner");
  CHECK(contested.client.writes().empty());
  CHECK_FALSE(outcome.changed());
}

TEST_CASE("one field of another owner is enough not to take the others by force") {
  Cluster cluster;
  Json& object = *cluster.client.find(deployment);
  object["spec"]["minReadySeconds"] = 7;
  object["metadata"]["managedFields"].push_back({{"manager", "argocd-controller"},
                                                 {"operation", "Apply"},
                                                 {"fieldsV1", {{"f:spec", {{"f:minReadySeconds", Json::object()}}}}}});
  Step both = overlay;
  both.body["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = 2;
  const auto outcome = act::carry_out({both}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::conflict);
  CHECK(outcome.error->message.find(".spec.minReadySeconds is held by argocd-controller") != std::string::npos);
  CHECK(outcome.error->message.find("maxUnavailable") == std::string::npos);
  CHECK(cluster.client.writes().empty());
}

TEST_CASE("a refusal before the first change keeps its own status") {
  Cluster cluster;
  cluster.client.fault = [](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb == "apply") return status_error(403, "Forbidden", "no rights");
    return std::nullopt;
  };
  const auto outcome = act::carry_out({label, overlay}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::api);
  CHECK(outcome.error->message == "no rights");
  CHECK(cluster.client.writes().empty());
}

TEST_CASE("a failed step is undone with all before it, in reverse order: exit 6") {
  Cluster cluster;
  const Json before = cluster.spec();
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
  const auto outcome = act::carry_out({label, scale, overlay, rollout, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(outcome.error->message == "no such thing; what was done has been undone");
  CHECK_FALSE(outcome.changed());
  CHECK(outcome.changes.empty());
  CHECK(outcome.states == std::vector{StepState::rolled_back, StepState::rolled_back, StepState::rolled_back,
                                      StepState::done, StepState::failed});
  CHECK(cluster.spec() == before);
  CHECK((*cluster.client.find(old_pod))["metadata"]["labels"] == Json{{"k8s-app", "kube-dns"}});
  const auto writes = cluster.client.writes();
  CHECK(std::vector(writes.end() - 3, writes.end()) ==
        std::vector<std::string>{"apply coredns", "patch scale", "patch coredns-old"});
}

TEST_CASE("going back from a changed overlay of ours returns to the earlier one") {
  Cluster cluster;
  REQUIRE_FALSE(act::carry_out({overlay}, cluster.client, quick).error);
  Step wider = overlay;
  wider.body["spec"] = {{"minReadySeconds", 9}, {"progressDeadlineSeconds", 60}};
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
  REQUIRE(act::carry_out({wider, protect}, cluster.client, quick).error);
  CHECK(cluster.spec()["minReadySeconds"] == 3);
  CHECK_FALSE(cluster.spec().contains("progressDeadlineSeconds"));
}

TEST_CASE("when going back fails too it is exit 7, and what stayed is a change") {
  Cluster cluster;
  cluster.client.fault = [](const Call& call) -> std::optional<kube::ApiError> {
    if (call.dry_run || !call.path.ends_with("k3s-core-ha-coredns") || call.verb == "get") {
      if (call.verb == "patch" && call.body["spec"]["replicas"] == 1) return status_error(403, "Forbidden", "not now");
      return std::nullopt;
    }
    return status_error(422, "Invalid", "no such thing");
  };
  const auto outcome = act::carry_out({scale, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::not_rolled_back);
  CHECK(outcome.error->message == "no such thing; going back failed too: not now");
  CHECK(outcome.changed());
}

TEST_CASE("a signal undoes what was done: exit 130") {
  catch_interrupts();
  reset_interrupts();
  Cluster cluster;
  cluster.client.after_write = [&](const Call& call) {
    cluster.settle();
    if (call.path.ends_with("/scale") && !interrupted()) std::raise(SIGTERM);
  };
  const auto outcome = act::carry_out({scale, overlay}, cluster.client, quick);
  reset_interrupts();
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::interrupted);
  CHECK(outcome.error->message == "interrupted; what was done has been undone");
  CHECK(cluster.spec()["replicas"] == 1);
  CHECK_FALSE(outcome.changed());
}

TEST_CASE("after a step of no return: the caller's way back on a failure, standing still on a signal") {
  for (const bool signal : {false, true}) {
    catch_interrupts();
    reset_interrupts();
    Cluster cluster;
    cluster.client.after_write = [&](const Call& call) {
      cluster.settle();
      if (signal && call.verb == "delete") std::raise(SIGTERM);
    };
    cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
    act::Options options = quick;
    Step back = scale;
    back.body["spec"]["replicas"] = 2;
    options.way_back = [&] { return std::vector{back}; };
    const auto outcome = act::carry_out({scale, retire, protect}, cluster.client, options);
    reset_interrupts();
    REQUIRE(outcome.error);
    CHECK(cluster.client.find(old_pod) == nullptr);
    CHECK(cluster.spec()["replicas"] == (signal ? 3 : 2));
    CHECK(outcome.error->status == (signal ? ExitStatus::interrupted : ExitStatus::rolled_back));
    CHECK(outcome.changed() == signal);
  }
}

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

TEST_CASE("a pod that is another one than observed: stale where something is asked of it, done where it is let go") {
  Cluster cluster;
  (*cluster.client.find(old_pod))["metadata"]["uid"] = "another";
  const auto outcome = act::carry_out({label}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.stale);
  CHECK(outcome.error->message == "v1 Pod kube-system/coredns-old is not there any more");
  CHECK_FALSE(act::carry_out({unlabel, retire}, cluster.client, quick).error);
  CHECK(cluster.client.find(old_pod) != nullptr);
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

TEST_CASE("endpoints: waited for until no slice of the Service names one of the pods") {
  Cluster cluster;
  const kube::ObjectRef slice{"discovery.k8s.io/v1", "EndpointSlice", "kube-system", "kube-dns-1"};
  Json object = body_of(slice, Json::object());
  object["endpoints"] = {{{"targetRef", {{"uid", "a"}}}}, {{"addresses", {"10.0.0.1"}}}};
  cluster.client.put(object);
  const Step wait{.id = "drained", .action = Action::wait_endpoints_gone, .object = service, .pod_uids = {"a"}};
  int looks = 0;
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb == "list" && ++looks == 3) (*cluster.client.find(slice))["endpoints"] = nullptr;
    return std::nullopt;
  };
  CHECK_FALSE(act::carry_out({wait}, cluster.client, quick).error);
  CHECK(looks >= 3);
}

TEST_CASE("going back from a count that we held puts the former count back") {
  Cluster cluster;
  REQUIRE_FALSE(act::carry_out({scale}, cluster.client, quick).error);
  Step count = overlay;
  count.body["spec"] = {{"replicas", 1}};
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
  REQUIRE(act::carry_out({count, protect}, cluster.client, quick).error);
  CHECK(cluster.spec()["replicas"] == 3);
}

TEST_CASE("once pods serve that do not end gently, the way back is the caller's, also on a signal") {
  catch_interrupts();
  reset_interrupts();
  Cluster cluster;
  Step pause = overlay;
  pause.body["spec"]["paused"] = true;
  cluster.client.after_write = [&](const Call& call) {
    cluster.settle();
    if (call.body == overlay.body && !interrupted()) std::raise(SIGINT);
  };
  act::Options options = quick;
  options.new_pods = act::NewPods::rough;
  int asked = 0;
  options.way_back = [&]() -> Result<std::vector<Step>> {
    ++asked;
    return std::vector{scale};
  };
  const auto outcome = act::carry_out({pause, overlay, rollout}, cluster.client, options);
  reset_interrupts();
  CHECK(asked == 1);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::interrupted);
  CHECK(cluster.spec()["replicas"] == 3);
}

TEST_CASE("once new pods serve beside the old ones the caller's way back retires them; failing that they roll back") {
  for (const bool refused : {false, true}) {
    CAPTURE(refused);
    Cluster cluster;
    Step pause = overlay;
    pause.body["spec"]["paused"] = true;
    cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
    act::Options options = quick;
    options.new_pods = act::NewPods::gentle;
    int asked = 0;
    options.way_back = [&]() -> Result<std::vector<Step>> {
      ++asked;
      if (refused) return Error{ExitStatus::unsafe, "there is no place"};
      return std::vector{scale};
    };
    const auto outcome = act::carry_out({pause, overlay, rollout, protect}, cluster.client, options);
    CHECK(asked == 1);
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == ExitStatus::rolled_back);
    CHECK(cluster.spec()["replicas"] == (refused ? 1 : 3));
    CHECK(cluster.spec().contains("minReadySeconds") != refused);
  }
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
    if (call.dry_run || call.verb == "get") return std::nullopt;
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
    if (call.dry_run || call.verb == "get") return std::nullopt;
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

TEST_CASE("the inverse of a merge patch") {
  const Json before{{"metadata", {{"labels", {{"a", "1"}}}}}};
  CHECK(act::inverse_patch({{"metadata", {{"labels", {{"a", nullptr}, {"b", "2"}}}}}}, before) ==
        Json{{"metadata", {{"labels", {{"a", "1"}, {"b", nullptr}}}}}});
}

TEST_CASE("util/retry/util.go: an apply for one version of an object is stale when the object was written since") {
  Cluster cluster;
  Step step = overlay;
  step.version = (*cluster.client.find(deployment))["metadata"]["resourceVersion"];
  CHECK_FALSE(act::carry_out({step}, cluster.client, quick).error);
  step.body["spec"]["minReadySeconds"] = 5;
  const auto outcome = act::carry_out({step}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.stale);
  CHECK(cluster.spec()["minReadySeconds"] == 3);
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

// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/act.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "act/cluster_testing.h"
#include "act/writes.h"
#include "base/interrupt.h"
#include "cluster/managed_fields.h"

using namespace core_ha;
using namespace core_ha::act::testing;
using act::StepState;

TEST_CASE("a right that is missing for a later step shows before anything is touched") {
  for (const auto& [verb, end] :
       {std::pair{"patch", "coredns-old"}, std::pair{"patch", "/scale"}, std::pair{"delete", "coredns-old"}}) {
    CAPTURE(verb);
    CAPTURE(end);
    Cluster cluster;
    const auto before = cluster.client.objects;
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb != verb || !call.path.ends_with(end)) return std::nullopt;
      return status_error(403, "Forbidden", "not yours");
    };
    const auto outcome = act::carry_out({overlay, label, scale, retire}, cluster.client, quick);
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == ExitStatus::api);
    CHECK(outcome.error->message == "not yours");
    CHECK(cluster.client.objects == before);
  }
}

TEST_CASE("steps are carried out in order, after every write was asked as a dry run") {
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

TEST_CASE("what a guard lets go without its annotation is not asked for while it has that") {
  Cluster cluster;
  const std::string keep = "k3s-core-ha/keep";
  Json& guarded = *cluster.client.find(retire.object);
  guarded["metadata"]["annotations"][keep] = "true";
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    const Json* object = cluster.client.find(retire.object);
    const bool kept = object != nullptr && (*object)["metadata"].value("annotations", Json::object()).contains(keep);
    return call.verb == "delete" && kept ? std::optional(status_error(422, "Invalid", "kept")) : std::nullopt;
  };
  ha::Step unguard = label;
  unguard.body = {{"metadata", {{"annotations", {{keep, nullptr}}}}}};
  CHECK_FALSE(act::carry_out({unguard, retire}, cluster.client, quick).error);
  CHECK(cluster.client.find(retire.object) == nullptr);
}

TEST_CASE("what is so already is unchanged, and changes nothing") {
  Cluster cluster;
  REQUIRE_FALSE(act::carry_out({overlay}, cluster.client, quick).error);
  const auto outcome = act::carry_out({overlay}, cluster.client, quick);
  CHECK(outcome.states == std::vector{StepState::unchanged});
  CHECK_FALSE(outcome.changed());
  CHECK(outcome.changes.empty());
}

TEST_CASE("meta/v1/types.go: a dry run is the server's (dryRun=All), changes nothing and tells what would be") {
  Cluster cluster;
  const auto before = cluster.client.objects;
  const auto outcome =
      act::carry_out({label, scale, overlay, rollout, protect}, cluster.client, {.dry_run = true, .poll = 1ms});
  CHECK_FALSE(outcome.error);
  CHECK(outcome.changed());
  CHECK(outcome.states == std::vector<StepState>(5, StepState::planned));
  CHECK(cluster.client.objects == before);
  CHECK(cluster.client.writes().empty());
  const auto& calls = cluster.client.calls;
  CHECK(std::count_if(calls.begin(), calls.end(), [](const Call& call) { return call.dry_run; }) == 4);  // each write
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

TEST_CASE("going back leaves a step that says so, and tells of the others alone") {
  Cluster cluster;
  ha::Step mend = protect;
  mend.stays_done = true;
  cluster.client.fault = fail_at("patch", "/scale", status_error(422, "Invalid", "no such thing"));
  const auto outcome = act::carry_out({mend, overlay, scale}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.changed());
  CHECK(outcome.states[0] == StepState::done);
  CHECK(outcome.states[1] == StepState::rolled_back);
  CHECK(cluster.client.find(budget) != nullptr);
  CHECK_FALSE(cluster.spec().contains("minReadySeconds"));
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

TEST_CASE("a pod that is to go only as long as it has no node: it stays where it has got one, also in that moment") {
  Step drop = retire;
  drop.unscheduled = true;
  for (const bool scheduled : {false, true}) {
    CAPTURE(scheduled);
    Cluster cluster;
    int tries = 0;
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb != "delete" || call.dry_run || ++tries > 1) return std::nullopt;
      // The scheduler writes between the look and the delete.
      Json& pod = *cluster.client.find(old_pod);
      pod["metadata"]["resourceVersion"] = "theirs";
      if (scheduled) pod["spec"]["nodeName"] = "agent-1";
      return std::nullopt;
    };
    const auto outcome = act::carry_out({drop}, cluster.client, quick);
    CHECK_FALSE(outcome.error);
    CHECK(tries == (scheduled ? 1 : 2));
    CHECK((cluster.client.find(old_pod) != nullptr) == scheduled);
    CHECK(outcome.changed() == !scheduled);
  }
}

TEST_CASE("a pod without a node that went is no step of no return") {
  Cluster cluster;
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
  Step drop = retire;
  drop.unscheduled = true;
  const auto outcome = act::carry_out({scale, drop, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->message == "no such thing; what was done has been undone");
  CHECK(cluster.spec()["replicas"] == 1);
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

TEST_CASE("a count of 0, which a Scale leaves out, is taken and taken back") {
  Cluster cluster;
  const int before = cluster.spec()["replicas"];
  Step none = scale;
  none.body["spec"]["replicas"] = 0;
  REQUIRE_FALSE(act::carry_out({none}, cluster.client, {.dry_run = true, .poll = 1ms}).error);
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
  const auto outcome = act::carry_out({none, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.spec()["replicas"] == before);
}

TEST_CASE("a count that is to be so many at least: a greater one that others have set meanwhile stays") {
  for (const int others : {2, 4}) {
    Cluster cluster;
    Step raise = scale;  // to 3
    raise.at_least = true;
    (*cluster.client.find(deployment))["spec"]["replicas"] = others;
    REQUIRE_FALSE(act::carry_out({raise}, cluster.client, quick).error);
    CHECK(cluster.spec()["replicas"] == std::max(others, 3));
    (*cluster.client.find(deployment))["spec"]["replicas"] = others;
    cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
    REQUIRE(act::carry_out({raise, protect}, cluster.client, quick).error);
    CHECK(cluster.spec()["replicas"] == others);
  }
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

TEST_CASE("after a step that says so a run goes back by the caller's plan alone, also on a signal") {
  catch_interrupts();
  Step aside = overlay;
  aside.back_by_plan = true;
  for (const bool refused : {false, true}) {
    CAPTURE(refused);
    reset_interrupts();
    Cluster cluster;
    cluster.client.after_write = [&](const Call& call) {
      cluster.settle();
      if (call.body == overlay.body && !interrupted()) std::raise(SIGTERM);
    };
    act::Options options = quick;
    options.way_back = [&]() -> Result<std::vector<Step>> {
      if (refused) return Error{ExitStatus::unsafe, "its node is not ready"};
      return std::vector{scale};
    };
    const auto outcome = act::carry_out({aside, rollout}, cluster.client, options);
    reset_interrupts();
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == (refused ? ExitStatus::not_rolled_back : ExitStatus::interrupted));
    CHECK(cluster.spec()["replicas"] == (refused ? 1 : 3));
    CHECK(cluster.spec().contains("minReadySeconds"));  // not taken back step by step
  }
}

TEST_CASE("a DaemonSet's pods, and the first ones of a Deployment, are new pods: the caller's way back retires them") {
  const kube::ObjectRef daemons{"apps/v1", "DaemonSet", "kube-system", "k3s-core-ha-coredns"};
  const Step make{.id = "make", .action = Action::apply, .object = daemons, .body = body_of(daemons, {{"a", 1}})};
  for (const bool set : {true, false}) {
    CAPTURE(set);
    Cluster cluster;
    if (!set) (*cluster.client.find(deployment))["spec"]["replicas"] = 0;
    cluster.client.fault = fail_at("apply", "poddisruptionbudgets/k3s-core-ha-coredns", status_error(422, "Invalid"));
    act::Options options = quick;
    options.new_pods = act::NewPods::gentle;
    int asked = 0;
    options.way_back = [&]() -> Result<std::vector<Step>> {
      ++asked;
      return std::vector<Step>{};
    };
    CHECK(act::carry_out({set ? make : scale, protect}, cluster.client, options).error);
    CHECK(asked == 1);
  }
}

TEST_CASE("a DaemonSet that was let go without its pods is made again, one that was made goes") {
  const kube::ObjectRef daemons{"apps/v1", "DaemonSet", "kube-system", "k3s-core-ha-coredns"};
  const Step make{.id = "make", .action = Action::apply, .object = daemons, .body = body_of(daemons, {{"a", 1}})};
  Cluster cluster;
  cluster.client.fault = fail_at("apply", "poddisruptionbudgets/k3s-core-ha-coredns", status_error(422, "Invalid"));
  auto outcome = act::carry_out({make, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.client.find(daemons) == nullptr);

  cluster.client.fault = nullptr;
  REQUIRE_FALSE(act::carry_out({make}, cluster.client, quick).error);
  (*cluster.client.find(daemons))["status"] = {{"desiredNumberScheduled", 0}};
  cluster.client.fault = fail_at("apply", "poddisruptionbudgets/k3s-core-ha-coredns", status_error(422, "Invalid"));
  const Step let_go{.id = "free", .action = Action::remove, .object = daemons, .propagation = "Orphan"};
  outcome = act::carry_out({let_go, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  REQUIRE(cluster.client.find(daemons) != nullptr);
  CHECK((*cluster.client.find(daemons))["spec"]["a"] == 1);
}

TEST_CASE("what was taken by force goes back to its value, and is nobody's of ours") {
  const Step surge{.id = "surge",
                   .action = Action::apply,
                   .object = deployment,
                   .body = body_of(deployment, {{"strategy", {{"rollingUpdate", {{"maxUnavailable", 2}}}}}})};
  Cluster cluster;
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
  const auto outcome = act::carry_out({surge, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.spec()["strategy"]["rollingUpdate"]["maxUnavailable"] == 1);
  CHECK(cluster::applied_fields(*cluster.client.find(deployment), kube::field_manager).empty());
}

TEST_CASE("util/retry/util.go: disown reads a version that moved on anew, and gives up after five") {
  const Step widen{.id = "widen",
                   .action = Action::apply,
                   .object = deployment,
                   .body = body_of(deployment, {{"minReadySeconds", 3}, {"paused", true}})};
  const Step disown{.id = "disown",
                    .action = Action::disown,
                    .object = deployment,
                    .body = body_of(deployment, {{"minReadySeconds", 3}})};
  for (const int others : {4, 5}) {
    CAPTURE(others);
    Cluster cluster;
    REQUIRE_FALSE(act::carry_out({widen}, cluster.client, quick).error);
    int tries = 0;
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (call.verb != "patch" || call.dry_run || ++tries > others) return std::nullopt;
      (*cluster.client.find(deployment))["metadata"]["resourceVersion"] = fmt::format("theirs-{}", tries);
      return std::nullopt;
    };
    const auto outcome = act::carry_out({disown}, cluster.client, quick);
    CHECK(outcome.error.has_value() == (others == 5));
    CHECK(tries == 5);
  }
}

TEST_CASE("disown: we hold no more than is said, every value stays, and a version that moved on is read anew") {
  const Json wide = body_of(deployment, {{"minReadySeconds", 3}, {"paused", true}});
  const Step widen{.id = "widen", .action = Action::apply, .object = deployment, .body = wide};
  const Step disown{.id = "disown",
                    .action = Action::disown,
                    .object = deployment,
                    .body = body_of(deployment, {{"minReadySeconds", 3}})};
  Cluster cluster;
  REQUIRE_FALSE(act::carry_out({widen}, cluster.client, quick).error);
  const Json before = cluster.spec();
  bool moved = false;
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb == "patch" && !call.dry_run && !std::exchange(moved, true))
      (*cluster.client.find(deployment))["metadata"]["resourceVersion"] = "later";
    return std::nullopt;
  };
  const auto outcome = act::carry_out({disown}, cluster.client, quick);
  CHECK_FALSE(outcome.error);
  CHECK(moved);
  CHECK(outcome.states == std::vector{act::StepState::done});
  CHECK(cluster.spec() == before);
  const Json& object = *cluster.client.find(deployment);
  CHECK(cluster::applied_fields(object, kube::field_manager) == cluster::fields_in(disown.body));
  CHECK(act::carry_out({disown}, cluster.client, quick).states == std::vector{act::StepState::unchanged});

  // Going back from it we hold again what we held.
  REQUIRE_FALSE(act::carry_out({widen}, cluster.client, quick).error);
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid"));
  REQUIRE(act::carry_out({disown, protect}, cluster.client, quick).error);
  CHECK(cluster::applied_fields(*cluster.client.find(deployment), kube::field_manager) == cluster::fields_in(wide));
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

TEST_CASE("of several Helm charts those are waited for whose chart or configuration is taken back") {
  const kube::ObjectRef chart{"helm.cattle.io/v1", "HelmChart", "kube-system", "coredns-ha"};
  Cluster cluster;
  const auto job = [](const std::string& name) {
    return kube::ObjectRef{"batch/v1", "Job", "kube-system", "helm-install-" + name};
  };
  for (const std::string name : {"traefik", "coredns-ha"}) {
    Json made = body_of(job(name), {{"template", Json::object()}});
    made["status"]["conditions"] = Json::array({{{"type", "Complete"}, {"status", "True"}}});
    cluster.client.put(made);
  }
  const Step apply{.id = "chart", .action = Action::apply, .object = chart, .body = body_of(chart, {{"version", "2"}})};
  const auto wait = [&](const std::string& name) {
    return Step{.id = name, .action = Action::wait_chart, .object = job(name)};
  };
  cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
  const auto outcome =
      act::carry_out({wait("traefik"), rollout, apply, wait("coredns-ha"), rollout, protect}, cluster.client, quick);
  REQUIRE(outcome.error);
  CHECK(outcome.error->status == ExitStatus::rolled_back);
  CHECK(cluster.client.find(chart) == nullptr);
  int looks = 0;
  for (const Call& call : cluster.client.calls)
    if (call.verb == "list" && call.path.ends_with("/jobs")) ++looks;
  CHECK(looks == 3);  // each on the way, and the one whose chart was taken back once more
}

TEST_CASE("a Helm chart's configuration is taken back, and what the chart makes of that is waited for") {
  const kube::ObjectRef config{"helm.cattle.io/v1", "HelmChartConfig", "kube-system", "traefik"};
  const kube::ObjectRef job{"batch/v1", "Job", "kube-system", "helm-install-traefik"};
  const std::string hash_key = "helmcharts.helm.cattle.io/configHash";
  for (const bool taken_up : {true, false}) {
    CAPTURE(taken_up);
    Cluster cluster;
    std::vector<std::string> hashes;
    const auto put_job = [&](const std::string& hash) {
      Json made = body_of(job, {{"template", {{"metadata", {{"annotations", {{hash_key, hash}}}}}}}});
      made["status"]["conditions"] = Json::array({{{"type", "Complete"}, {"status", "True"}}});
      cluster.client.put(made);
      hashes.push_back(hash);
    };
    put_job("former");
    cluster.client.after_write = [&](const Call&) {
      cluster.settle();
      const std::string now = cluster.client.find(config) == nullptr ? "back" : "ours";
      if (taken_up && hashes.back() != now) put_job(now);
    };
    const Step values{.id = "values",
                      .action = Action::apply,
                      .object = config,
                      .body = body_of(config, {{"values", {{"deployment", {{"replicas", 2}}}}}})};
    const Step chart{.id = "chart", .action = Action::wait_chart, .object = job, .former = "former"};
    cluster.client.fault = fail_at("apply", "k3s-core-ha-coredns", status_error(422, "Invalid", "no such thing"));
    const auto outcome = act::carry_out({values, chart, rollout, protect}, cluster.client, quick);
    REQUIRE(outcome.error);
    CHECK(outcome.error->status == ExitStatus::rolled_back);
    CHECK(outcome.error->message.find(taken_up ? "no such thing" : "has not taken the change up") != std::string::npos);
    CHECK(cluster.client.find(config) == nullptr);
    CHECK(hashes.back() == (taken_up ? "back" : "former"));
    std::string listed;
    for (const Call& call : cluster.client.calls)
      if (call.verb == "list") listed = call.path;
    CHECK(listed.ends_with("/deployments"));  // the rollout of what the chart makes is waited for last
  }
}

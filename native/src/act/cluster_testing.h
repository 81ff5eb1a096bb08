// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "act/act.h"
#include "kube/fake_client_testing.h"

namespace core_ha::act::testing {

using ha::Action;
using ha::Step;
using kube::testing::Call;
using kube::testing::FakeClient;
using kube::testing::lost_answer;
using kube::testing::status_error;
using namespace std::chrono_literals;

inline const kube::ObjectRef deployment{"apps/v1", "Deployment", "kube-system", "coredns"};
inline const kube::ObjectRef service{"v1", "Service", "kube-system", "kube-dns"};
inline const kube::ObjectRef budget{"policy/v1", "PodDisruptionBudget", "kube-system", "k3s-core-ha-coredns"};
inline const kube::ObjectRef old_pod{"v1", "Pod", "kube-system", "coredns-old"};

inline Json body_of(const kube::ObjectRef& ref, const Json& spec) {
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

inline const Step overlay{.id = "overlay",
                          .action = Action::apply,
                          .object = deployment,
                          .body = body_of(deployment, {{"minReadySeconds", 3}})};
inline const Step scale{
    .id = "scale", .action = Action::scale, .object = deployment, .body = {{"spec", {{"replicas", 3}}}}};
inline const Step rollout{.id = "rollout", .action = Action::wait_rollout, .object = deployment};
inline const Step protect{
    .id = "protect", .action = Action::apply, .object = budget, .body = body_of(budget, {{"maxUnavailable", 1}})};
inline const Step label{.id = "label",
                        .action = Action::patch,
                        .object = old_pod,
                        .body = {{"metadata", {{"labels", {{"k3s-core-ha/retiring", "true"}}}}}},
                        .uid = "uid-coredns-old"};
inline const Step unlabel{.id = "unlabel",
                          .action = Action::patch,
                          .object = old_pod,
                          .body = {{"metadata", {{"labels", {{"k8s-app", nullptr}}}}}},
                          .uid = "uid-coredns-old"};
inline const Step retire{.id = "retire", .action = Action::remove, .object = old_pod, .uid = "uid-coredns-old"};

inline const Options quick{.wait_timeout = 1s, .poll = 1ms};

/// Fails the call number `nth` (from 1) that `match` fits, dry runs left out.
inline auto fail_at(std::string verb, std::string end, kube::ApiError error, int nth = 1) {
  return [=, count = 0](const Call& call) mutable -> std::optional<kube::ApiError> {
    if (call.dry_run || call.verb != verb || !call.path.ends_with(end) || ++count != nth) return std::nullopt;
    return error;
  };
}

}  // namespace core_ha::act::testing

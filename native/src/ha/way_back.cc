// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/way_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/planner.h"
#include "ha/state.h"
#include "ha/strategies/coredns_daemonset.h"
#include "ha/strategies/coredns_helm.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/extra.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/metrics_server_helm.h"
#include "ha/strategies/own_chart.h"
#include "ha/strategies/own_local_path.h"
#include "ha/strategies/own_metrics_server.h"
#include "ha/strategies/rollout.h"
#include "ha/strategies/shipped.h"
#include "ha/strategies/swap.h"
#include "ha/strategies/traefik.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr const char* reason = "as it was before";

/// Our whole set for the object as it was.
Json body_of(const Json& object) {
  return cluster::body_from_fields(object, cluster::applied_fields(object, kube::field_manager));
}

/// The Deployment's set, without what a change holds only while it is paused.
Json overlay_of(const Json& deployment) {
  Json body = body_of(deployment);
  if (const auto spec = body.find("spec"); spec != body.end()) {
    if (spec->erase("paused") > 0) spec->erase("replicas");
    if (spec->empty()) body.erase("spec");
  }
  return body;
}

void restore(Planner& planner, const Planner& earlier, const std::string& id, const kube::ObjectRef& ref) {
  const Json* object = earlier.live(ref);
  if (object == nullptr) return planner.remove_own(id, ref, "it was not there before");
  const Json wish = body_of(*object);
  const Json* now = planner.live(ref);
  const HandBack back = now == nullptr ? HandBack{wish} : hand_back_to(*object, *now, wish);
  planner.ensure(id, back.body, reason);
  if (back.disowns) planner.disown(id + "-back", wish);
}

/// Whether the object is there, with fields of ours.
bool is_held(const Planner& planner, const kube::ObjectRef& ref) {
  const Json* object = planner.live(ref);
  return object != nullptr && !cluster::applied_fields(*object, kube::field_manager).empty();
}

/// Objects of k3s's CoreDNS that strategy custom takes over besides.
void coredns_objects_back(Planner& planner, const Planner& earlier) {
  for (const auto& object : shipped_coredns_objects(planner.snapshot)) {
    const auto ref = kube::ref_of(object);
    planner.set_aside(ref);
    if (earlier.live(ref) != nullptr && planner.live(ref) != nullptr)
      restore(planner, earlier, fmt::format("coredns-{}", kube::resource_of(ref.kind)), ref);
  }
}

/// What the servers' Nodes said of manifests that k3s leaves alone.
void marks_back(Planner& planner, const Planner& earlier) {
  for (const auto& node : planner.snapshot.nodes)
    for (const auto& before : earlier.snapshot.nodes)
      if (before["metadata"]["name"] == node["metadata"]["name"]) plan_aside_mark(planner, node, aside_marks(before));
}

/// What local-path-provisioner has besides serves it: there before it is again, and gone after it.
void local_path_back(Planner& planner, const Planner& earlier) {
  const bool was_there = earlier.live(local_path.deployment) != nullptr;
  if (!was_there) plan_local_path_back(planner, earlier);
  for (const Json& object : own_local_path_objects(planner.snapshot))
    if (const auto ref = kube::ref_of(object);
        ref != local_path.deployment && (is_held(earlier, ref) || is_held(planner, ref))) {
      planner.set_aside(ref);
      restore(planner, earlier, fmt::format("local-path-{}", kube::resource_of(ref.kind)), ref);
    }
  if (was_there) plan_local_path_back(planner, earlier);
}

/// What is not there any more cannot go back, and what was never touched gives no step.
void metrics_server_back(Planner& planner, const Planner& earlier) {
  const Json* was = earlier.live(metrics_server.deployment);
  const Json* now = planner.live(metrics_server.deployment);
  for (const Json& object : own_metrics_server_objects(planner.snapshot))
    if (const auto ref = kube::ref_of(object);
        ref != metrics_server.deployment && (is_held(earlier, ref) || is_held(planner, ref))) {
      planner.set_aside(ref);
      restore(planner, earlier, beside_metrics_server_id(ref), ref);
    }
  if (was == nullptr && now != nullptr && is_taken_over(*now)) {
    restore(planner, earlier, "metrics-server-budget", metrics_server.budget);
    restore(planner, earlier, "metrics-server-deployment", metrics_server.deployment);
  }
  if (was == nullptr || now == nullptr) return;
  const bool chart_before = own_chart(earlier.snapshot, metrics_server_chart) != nullptr && replicas_of(*was) == 0;
  if (chart_before) plan_own(planner, metrics_server_chart, design_back(planner, earlier, metrics_server_chart), true);
  restore(planner, earlier, "metrics-server-budget", metrics_server.budget);
  planner.set_aside(metrics_server.deployment);
  const Json overlay = overlay_of(*was);
  const HandBack back = hand_back_to(*was, *now, overlay);
  const bool shipped = cluster::fields_in(overlay).empty() && replicas_of(*was) == 1;
  Target target{.body = back.body, .replicas = replicas_of(*was), .count = shipped ? Count::released : Count::fixed};
  if (!shipped && !chart_before) target.once_raised = [&] { plan_without(planner, metrics_server_chart); };
  plan_rollout(planner, metrics_server, *now, target);
  if (back.disowns) planner.disown("metrics-server-back", overlay);
  if (shipped) plan_without(planner, metrics_server_chart);
}

/// The DaemonSet that served before. One that is beside replicas of the Deployment is of a change half-way, as is one
/// that was missing while its pods served: then the one that is there now does.
const Json* daemonset_before(const CoreDns& was, const CoreDns& now) {
  if (was.replicas() > 0 || !was.served_by_daemons()) return nullptr;
  return was.daemonset != nullptr ? was.daemonset : now.daemonset;
}

/// A count of 1 that nobody of ours held is k3s's own, and becomes so again; any other is set, whoever it came from.
Count count_of(const Planner& earlier, const CoreDns& was, const Json& overlay) {
  if (earlier.live(coredns_autoscaler) != nullptr) return Count::at_least;
  return cluster::fields_in(overlay).empty() && was.replicas() == 1 ? Count::released : Count::fixed;
}

}  // namespace

Plan plan_way_back(const cluster::Snapshot& before, const cluster::Snapshot& now) {
  const Spec spec;  // what was wished in words says no more than what is there
  Plan plan;
  Plan unused;
  Planner planner(spec, now, plan);
  const Planner earlier(spec, before, unused);
  const CoreDns was = view_coredns(before);
  const CoreDns coredns = view_coredns(now);
  if (was.deployment == nullptr || coredns.deployment == nullptr) {
    planner.refuse(ExitStatus::unsafe, fmt::format("{} is not there", kube::to_string(coredns_deployment)));
    return plan;
  }
  const Json overlay = overlay_of(*was.deployment);
  const Count count = count_of(earlier, was, overlay);
  const HandBack back = hand_back_to(*was.deployment, *coredns.deployment, overlay);
  planner.set_aside(coredns_deployment);
  planner.set_aside(coredns_service);
  marks_back(planner, earlier);
  if (earlier.live(coredns_service) != nullptr && planner.live(coredns_service) != nullptr)
    restore(planner, earlier, "kube-dns-traffic", coredns_service);
  if (count != Count::at_least) restore(planner, earlier, "coredns-autoscaler", coredns_autoscaler);
  restore(planner, earlier, "coredns-budget", coredns_budget);
  const auto nodes = cluster::judge_nodes(now, coredns.pod_spec());
  const bool chart_before = own_chart(before, coredns_chart) != nullptr && was.replicas() == 0;
  if (chart_before) {
    plan_chart_serves(planner, coredns, nodes, design_back(planner, earlier, coredns_chart), back.body);
  } else if (const Json* daemonset = daemonset_before(was, coredns)) {
    plan_daemons(planner, coredns, nodes, {.daemonset = body_of(*daemonset), .deployment = back.body});
  } else {
    const int replicas =
        was.served_by_daemons() || was.served_by_chart() ? std::max(1, was.replicas()) : was.replicas();
    plan_swap(planner, coredns, nodes, {.body = back.body, .replicas = replicas, .count = count},
              ends_gently(was.pod_spec()));
  }
  if (back.disowns) planner.disown("coredns-back", overlay);
  if (!chart_before) plan_without(planner, coredns_chart);
  coredns_objects_back(planner, earlier);
  if (count == Count::at_least) restore(planner, earlier, "coredns-autoscaler", coredns_autoscaler);
  plan_extras_back(planner, earlier);
  local_path_back(planner, earlier);
  metrics_server_back(planner, earlier);
  if (earlier.snapshot.charts.contains("traefik")) {
    restore(planner, earlier, "traefik-values", traefik_config);
    wait_for_traefik_back(planner, earlier);
  }
  restore(planner, earlier, "wish-back", state_object);
  if (plan.refusal) plan.steps.clear();
  planner.finish();
  return plan;
}

}  // namespace core_ha::ha

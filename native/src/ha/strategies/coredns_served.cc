// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_served.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/strategies/coredns_overlay.h"
#include "ha/strategies/coredns_traffic.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

Json budget(const CoreDns& coredns) {
  Json body = apply_body(coredns_budget);
  body["metadata"]["labels"] = own_labels("coredns");
  body["spec"] = {{"maxUnavailable", 1},
                  {"unhealthyPodEvictionPolicy", "AlwaysAllow"},  // a pod that serves nobody must not block a drain
                  {"selector", (*coredns.deployment)["spec"]["selector"]}};
  return body;
}

/// Somebody else's budget over CoreDNS's pods; null: none.
const Json* foreign_budget(const cluster::Snapshot& snapshot, const CoreDns& coredns) {
  for (const auto& object : snapshot.poddisruptionbudgets) {
    const auto ref = kube::ref_of(object);
    const Json selector = object.value("spec", Json::object()).value("selector", Json());
    if (ref.ns == coredns_deployment.ns && ref.name != coredns_budget.name && selector.is_object() &&
        cluster::selects(selector, coredns.pod_labels()))
      return &object;
  }
  return nullptr;
}

/// A count, or a share of `replicas` rounded up, as budgets have it.
int scaled(const Json& value, int replicas) {
  if (value.is_number_integer()) return value.get<int>();
  const double share = value.is_string() ? std::strtod(value.get_ref<const std::string&>().c_str(), nullptr) : 0;
  return static_cast<int>(std::ceil(share / 100 * replicas));
}

/// Whether the budget lets none of so many healthy replicas go.
bool blocks_drains(const Json& budget, int replicas) {
  const Json spec = budget.value("spec", Json::object());
  if (spec.contains("maxUnavailable")) return scaled(spec["maxUnavailable"], replicas) < 1;
  return spec.contains("minAvailable") && scaled(spec["minAvailable"], replicas) >= replicas;
}

std::string budget_words(const Json& budget) {
  const Json spec = budget.value("spec", Json::object());
  for (const char* key : {"maxUnavailable", "minAvailable"})
    if (spec.contains(key)) return fmt::format("{} {}", key, spec[key].dump());
  return "without a number";
}

void plan_budget(Planner& planner, const CoreDns& coredns, int replicas) {
  if (!planner.snapshot.serves(coredns_budget.api_version)) {
    planner.warn("The server has no policy/v1: no PodDisruptionBudget, so drains may take several replicas at once.");
    return;
  }
  const Json* other = foreign_budget(planner.snapshot, coredns);
  if (other == nullptr) {
    planner.ensure("coredns-budget", budget(coredns), "drains take one replica at a time");
    return;
  }
  const std::string name = kube::ref_of(*other).name;
  if (replicas > 1 && blocks_drains(*other, replicas)) {
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("PodDisruptionBudget kube-system/{} ({}) lets none of {} replicas of CoreDNS go, so it "
                               "would block every drain: remove it, or have it allow one.",
                               name, budget_words(*other), replicas));
    return;
  }
  planner.warn(
      fmt::format("PodDisruptionBudget kube-system/{} covers CoreDNS already, and two would block every drain: "
                  "ours is left out.",
                  name));
  planner.remove_own("coredns-budget", coredns_budget, "two budgets over the same pods block every drain");
}

/// Nothing of ours helps pods that nobody is sent to; and it is by the Service that old pods are let go.
void check_service(Planner& planner, const CoreDns& coredns) {
  const Json* service = planner.live(coredns_service);
  if (service == nullptr) return;  // warned of with its traffic
  const Json selector = (*service)["spec"].value("selector", Json::object());
  const Json labels = coredns.pod_labels();
  if (selector.empty() || cluster::selects({{"matchLabels", selector}}, labels)) return;
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("Service kube-system/kube-dns selects {}, and CoreDNS's pods carry {}: "
                             "it has no endpoints, and nobody is sent to CoreDNS.",
                             selector.dump(), labels.dump()));
}

}  // namespace

std::string foreign_autoscaler(const cluster::Snapshot& snapshot) {
  for (const auto& object : snapshot.horizontalpodautoscalers) {
    const auto ref = kube::ref_of(object);
    const Json target = object.value("spec", Json::object()).value("scaleTargetRef", Json::object());
    if (ref.ns == coredns_deployment.ns && ref.name != coredns_autoscaler.name &&
        target.value("kind", "") == coredns_deployment.kind && target.value("name", "") == coredns_deployment.name)
      return ref.name;
  }
  return {};
}

void plan_served(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas,
                 Count count) {
  const int minor = planner.snapshot.minor();
  if (const std::string other = foreign_autoscaler(planner.snapshot); !other.empty()) {
    planner.refuse(ExitStatus::conflict,
                   fmt::format("HorizontalPodAutoscaler kube-system/{} scales CoreDNS already, and two would fight: "
                               "remove it, or set coredns_strategy to packaged.",
                               other));
    return;
  }
  if (minor < pre_stop_sleep_minor)
    planner.warn(
        fmt::format("Kubernetes 1.{} does not know preStop.sleep (1.{} does): left out, so rollouts may lose a "
                    "few queries.",
                    minor, pre_stop_sleep_minor));
  check_service(planner, coredns);
  plan_traffic(planner, nodes);
  if (count == Count::fixed)
    planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count becomes a fixed one");
  Json body = coredns_overlay(coredns, minor);
  // Manifests of ours hold the count, and an apply that drops it would reset it to 1 at once. It leaves our set by
  // itself when the autoscaler, or a scale of ours, changes it.
  if (cluster::applied_fields(*coredns.deployment, kube::field_manager).contains({"f:spec", "f:replicas"}))
    body["spec"]["replicas"] = std::max(coredns.replicas(), replicas);
  const std::size_t before = planner.steps();
  const Placement placement = plan_swap(planner, coredns, nodes,
                                        {.body = std::move(body),
                                         .replicas = replicas,
                                         .count = count,
                                         .gentle = minor >= pre_stop_sleep_minor || ends_gently(coredns.pod_spec())});
  if (planner.steps() != before) check_placement(planner, coredns.pod_template(), nodes, replicas, placement);
  plan_budget(planner, coredns, replicas);
}

}  // namespace core_ha::ha

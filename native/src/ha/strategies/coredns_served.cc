// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_served.h"

#include <fmt/format.h>

#include <algorithm>

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

/// Somebody else's HPA on the Deployment; empty: none.
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

/// Somebody else's budget over CoreDNS's pods; empty: none. Selectors by expression are not judged.
std::string foreign_budget(const cluster::Snapshot& snapshot, const CoreDns& coredns) {
  const Json labels =
      (*coredns.deployment)["spec"]["template"].value("metadata", Json::object()).value("labels", Json::object());
  for (const auto& object : snapshot.poddisruptionbudgets) {
    const auto ref = kube::ref_of(object);
    const Json selector = object.value("spec", Json::object()).value("selector", Json());
    if (ref.ns != coredns_deployment.ns || ref.name == coredns_budget.name || !selector.is_object() ||
        selector.contains("matchExpressions"))
      continue;
    const Json wanted = selector.value("matchLabels", Json::object());
    const bool covers = std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& item) {
      return labels.contains(item.key()) && labels[item.key()] == item.value();
    });
    if (covers) return ref.name;
  }
  return {};
}

void plan_budget(Planner& planner, const CoreDns& coredns) {
  if (!planner.snapshot.serves(coredns_budget.api_version)) {
    planner.warn("The server has no policy/v1: no PodDisruptionBudget, so drains may take several replicas at once.");
    return;
  }
  const std::string other = foreign_budget(planner.snapshot, coredns);
  if (other.empty()) {
    planner.ensure("coredns-budget", budget(coredns), "drains take one replica at a time");
    return;
  }
  planner.warn(
      fmt::format("PodDisruptionBudget kube-system/{} covers CoreDNS already, and two would block every drain: "
                  "ours is left out.",
                  other));
  planner.remove_own("coredns-budget", coredns_budget, "two budgets over the same pods block every drain");
}

}  // namespace

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
  plan_traffic(planner, nodes);
  if (count == Count::fixed)
    planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count becomes a fixed one");
  const std::size_t before = planner.steps();
  plan_swap(planner, coredns,
            {.body = coredns_overlay(coredns, minor),
             .replicas = replicas,
             .count = count,
             .gentle = minor >= pre_stop_sleep_minor || ends_gently(coredns.pod_spec())});
  if (planner.steps() != before &&
      std::none_of(nodes.begin(), nodes.end(), [](const cluster::Node& node) { return node.open(); }))
    planner.refuse(ExitStatus::unsafe,
                   "No node takes pods now (all are cordoned or not ready), so nothing can roll out.");
  plan_budget(planner, coredns);
}

}  // namespace core_ha::ha

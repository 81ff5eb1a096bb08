// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <algorithm>

#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_overlay.h"
#include "ha/strategies/swap.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr int same_node_minor = 34;             ///< PreferSameNode and PreferSameZone on by default
constexpr int traffic_distribution_minor = 31;  ///< the field itself, with PreferClose
const cluster::FieldPath traffic_field{"f:spec", "f:trafficDistribution"};

Json autoscaler(const Spec& spec, const Sizing& sizing) {
  Json body = apply_body(coredns_autoscaler);
  body["metadata"]["labels"] = own_labels("coredns");
  body["spec"] = {
      {"scaleTargetRef",
       {{"apiVersion", coredns_deployment.api_version},
        {"kind", coredns_deployment.kind},
        {"name", coredns_deployment.name}}},
      {"minReplicas", sizing.min_replicas},
      {"maxReplicas", sizing.max_replicas},
      {"metrics",
       Json::array(
           {{{"type", "Resource"},
             {"resource",
              {{"name", "cpu"},
               {"target", {{"type", "Utilization"}, {"averageUtilization", spec.coredns_cpu_utilization}}}}}}})}};
  return body;
}

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

/// Without metrics the autoscaler keeps the minimum and no more.
void look_at_metrics(Planner& planner) {
  const auto& services = planner.snapshot.apiservices;
  const auto metrics = std::find_if(services.begin(), services.end(), [](const Json& service) {
    return service["metadata"]["name"] == "v1beta1.metrics.k8s.io";
  });
  if (metrics == services.end()) {
    planner.warn("metrics-server is not installed: CoreDNS keeps its minimum and does not grow under load.");
    return;
  }
  for (const auto& condition : metrics->value("status", Json::object()).value("conditions", Json::array()))
    if (condition.value("type", "") == "Available" && condition.value("status", "") == "True") return;
  planner.warn("metrics-server does not answer: CoreDNS keeps its minimum and does not grow under load until it does.");
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

void plan_autoscaler(Planner& planner, const Sizing& sizing) {
  if (!planner.snapshot.serves(coredns_autoscaler.api_version)) {
    planner.warn("The server has no autoscaling/v2: the count stays as set, and does not grow under load.");
    return;
  }
  planner.ensure("coredns-autoscaler", autoscaler(planner.spec, sizing),
                 fmt::format("keeps {} to {} replicas", sizing.min_replicas, sizing.max_replicas));
  look_at_metrics(planner);
}

}  // namespace

TrafficChoice choose_traffic(const Spec& spec, const cluster::Snapshot& snapshot) {
  const std::string& wish = spec.coredns_traffic_distribution;
  const int minor = snapshot.minor();
  if (wish == "none") return {};
  const bool automatic = wish == "auto";
  const std::string value = automatic ? "PreferSameNode" : wish;
  const Json* service = cluster::find_named(snapshot.services, coredns_service.name);
  if (automatic && service != nullptr) {
    const Json* present = cluster::value_at(*service, traffic_field);
    const bool ours = cluster::applied_fields(*service, kube::field_manager).contains(traffic_field);
    if (present != nullptr && !ours && *present != value)
      return {{},
              fmt::format("Service kube-system/kube-dns has trafficDistribution {} from somebody else: left so.",
                          present->dump())};
  }
  if (minor >= same_node_minor) return {value, {}};
  if (value == "PreferSameZone" && minor >= traffic_distribution_minor) return {"PreferClose", {}};  // its older name
  return {{},
          fmt::format("Kubernetes 1.{} does not know trafficDistribution {} (1.{} does): left out.", minor, value,
                      value == "PreferSameZone" ? traffic_distribution_minor : same_node_minor)};
}

std::vector<std::string> without_same_node(const std::vector<cluster::Node>& nodes) {
  std::vector<std::string> names;
  for (const auto& node : nodes)
    if (node.minor != 0 && node.minor < same_node_minor) names.push_back(node.name);
  return names;
}

namespace {

/// First of all: clients that keep their source port choose a replica anew when the old pods' endpoints go, and keep
/// that one. By then each is to prefer its own node's.
void plan_traffic(Planner& planner, const std::vector<cluster::Node>& nodes) {
  Json service = apply_body(coredns_service);
  const auto [distribution, warning] = choose_traffic(planner.spec, planner.snapshot);
  if (!warning.empty()) planner.warn(warning);
  if (const auto old = without_same_node(nodes); distribution == "PreferSameNode" && !old.empty())
    planner.warn(
        fmt::format("{} of {} nodes ({}{}) run a kube-proxy older than 1.{}, which does not prefer its own node's "
                    "replica.",
                    old.size(), nodes.size(), old.front(), old.size() > 1 ? ", …" : "", same_node_minor));
  if (!distribution.empty()) service["spec"]["trafficDistribution"] = distribution;
  if (planner.live(coredns_service) == nullptr)
    planner.warn("Service kube-system/kube-dns is missing: nobody is sent to CoreDNS.");
  else
    planner.ensure("kube-dns-traffic", service,
                   distribution.empty() ? "queries go to all replicas alike"
                                        : "queries go to a near replica, so that a far node's death is not noticed");
}

}  // namespace

void plan_autoscaling(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                      const std::vector<cluster::Node>& nodes) {
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
  const std::size_t before = planner.steps();
  plan_swap(planner, coredns,
            {.body = coredns_overlay(coredns, minor),
             .replicas = sizing.min_replicas,
             .gentle = minor >= pre_stop_sleep_minor || ends_gently(coredns.pod_spec())});
  if (planner.steps() != before &&
      std::none_of(nodes.begin(), nodes.end(), [](const cluster::Node& node) { return node.open(); }))
    planner.refuse(ExitStatus::unsafe,
                   "No node takes pods now (all are cordoned or not ready), so nothing can roll out.");
  plan_budget(planner, coredns);
  plan_autoscaler(planner, sizing);
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <algorithm>

#include "ha/strategies/absent.h"
#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_served.h"
#include "ha/strategies/metrics_server.h"

namespace core_ha::ha {

namespace {

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

/// Without metrics the autoscaler keeps the minimum and no more.
void look_at_metrics(Planner& planner) {
  if (to_make(planner, metrics_server) != nullptr) return;  // about to be there
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

void plan_autoscaling(Planner& planner, const CoreDns& coredns, const Sizing& sizing,
                      const std::vector<cluster::Node>& nodes) {
  // Also at the very count that is wished: the autoscaler is to move it.
  if (const std::string holder = count_holder(*coredns.deployment); !holder.empty())
    planner.refuse(ExitStatus::conflict,
                   fmt::format(".spec.replicas of {} is held by {}, at {}, and an autoscaler would fight with it: have "
                               "it leave the field out.",
                               kube::to_string(coredns_deployment), holder, coredns.replicas()));
  plan_served(planner, coredns, nodes, sizing.min_replicas, Count::at_least);
  plan_autoscaler(planner, sizing);  // last: from here on the count is its
}

}  // namespace core_ha::ha

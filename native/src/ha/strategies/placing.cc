// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where pods may run is a requirement of their nodes' labels, and nothing softer: what is only preferred cannot be
// counted, so neither a level nor a refusal could rest on it. It is a node affinity and no nodeSelector, for k3s sets
// the latter, and a field beside k3s's own is what lasts. Zones are the other way round: a hard rule would leave pods
// Pending when a zone is lost, and k3s's own spread over them is soft, too; what it came to is looked at afterwards.
#include "ha/strategies/placing.h"

#include <fmt/format.h>

#include <vector>

#include "cluster/managed_fields.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr const char* required = "requiredDuringSchedulingIgnoredDuringExecution";

Json soft_spread(const std::string& topology_key, const Json& label_selector) {
  return {{"topologyKey", topology_key},
          {"whenUnsatisfiable", "ScheduleAnyway"},
          {"maxSkew", 1},
          {"labelSelector", label_selector},
          {"nodeTaintsPolicy", "Honor"},
          {"matchLabelKeys", {"pod-template-hash"}}};
}

/// Takes out what we alone have required of the nodes.
void strip_ours(Json& pod_spec, const Json& deployment) {
  const cluster::FieldPath field{"f:spec",     "f:template",     "f:spec",
                                 "f:affinity", "f:nodeAffinity", std::string("f:") + required};
  const auto owners = cluster::owners_of(deployment, field);
  if (owners != std::vector<std::string>{std::string(kube::field_manager)} || !pod_spec.contains("affinity")) return;
  Json& affinity = pod_spec["affinity"];
  affinity["nodeAffinity"].erase(required);
  if (affinity["nodeAffinity"].empty()) affinity.erase("nodeAffinity");
  if (affinity.empty()) pod_spec.erase("affinity");
}

}  // namespace

void narrow_nodes(Json& pod_spec, const Json& expressions) {
  if (expressions.empty()) return;
  Json& terms = pod_spec["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"];
  if (!terms.is_array() || terms.empty()) terms = Json::array({Json::object()});
  for (auto& term : terms)
    for (const auto& expression : expressions)
      term["matchExpressions"].push_back(expression);
}

void narrow_nodes(Json& pod_spec, const Spec& spec) {
  Json expressions = Json::array();
  for (const auto& [label, values] : spec.node_affinity)
    expressions.push_back({{"key", label}, {"operator", "In"}, {"values", values}});
  narrow_nodes(pod_spec, expressions);
}

Json wished_pod_spec(const Json& deployment, const Spec& spec) {
  Json pod_spec = deployment["spec"]["template"]["spec"];
  strip_ours(pod_spec, deployment);
  narrow_nodes(pod_spec, spec);
  return pod_spec;
}

Json host_spread(const Json& label_selector) {
  return soft_spread("kubernetes.io/hostname", label_selector);
}

Json zone_spread(const Spec& spec, const Json& label_selector) {
  return soft_spread(spec.zone_label, label_selector);
}

std::string affinity_left_out(const std::string& title) {
  return fmt::format("node_affinity is not kept for {}: it stays as k3s ships it, on any node.", title);
}

}  // namespace core_ha::ha

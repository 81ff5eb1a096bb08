// SPDX-License-Identifier: GPL-3.0-or-later
//
// The chart's pods carry the label by which k3s's own Service selects, so its APIService, and what asks for metrics,
// see no change. Two things follow. The packaged pods of strategy replicas, which keep away from whatever carries that
// label, would keep the chart's from their nodes: they become k3s's own again before the chart comes, and the other way
// round the chart goes before they keep away. And nothing needs a swap: who asks is the API server, which asks another
// endpoint when one is gone. The chart's names for values: kubernetes-sigs/metrics-server, charts/metrics-server.
#include "ha/strategies/metrics_server_helm.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/placement/zones.h"
#include "ha/state.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr int usual_port = 10250;
constexpr std::string_view port_argument = "--secure-port=";

Json chart_selector() {
  return {{"matchLabels", {{"app.kubernetes.io/instance", metrics_server_chart.chart.name}}}};
}

/// The packaged Deployment with what is wished of its pods, from which those of the chart are derived.
Json model(const Planner& planner, const Json& deployment) {
  Json base = pods_base(planner, metrics_server, deployment);
  base = cluster::overlay(base, settings_body(base, planner.spec.metrics_server_pods));
  place_by_values(base, planner.spec.metrics_server_values);
  return base;
}

std::vector<cluster::Node> judged(const Planner& planner, const Json& base) {
  return cluster::judge_nodes(planner.snapshot, wished_pod_spec(base, planner.spec), planner.spec.zone_label);
}

/// Where the pods may run, and that they keep apart.
Json pod_spec(const Planner& planner, const Json& base, const std::vector<cluster::Node>& nodes) {
  Json pod = wished_pod_spec(base, planner.spec);
  Json affinity = {
      {"podAntiAffinity",
       {{"requiredDuringSchedulingIgnoredDuringExecution",
         Json::array({{{"topologyKey", "kubernetes.io/hostname"}, {"labelSelector", chart_selector()}}})}}}};
  const Json::json_pointer on_nodes("/affinity/nodeAffinity");
  if (pod.contains(on_nodes)) affinity["nodeAffinity"] = pod.at(on_nodes);
  pod["affinity"] = std::move(affinity);
  pod.erase("topologySpreadConstraints");
  if (zones_of(nodes).several())
    pod["topologySpreadConstraints"] = Json::array({zone_spread(planner.spec, chart_selector())});
  return pod;
}

int port_of(const Json& container) {
  for (const auto& argument : container.value("args", Json::array())) {
    const auto text = argument.get<std::string>();
    int port = 0;
    if (text.starts_with(port_argument) &&
        std::from_chars(text.data() + port_argument.size(), text.data() + text.size(), port).ec == std::errc())
      return port;
  }
  return usual_port;
}

Json values_of(const Planner& planner, const Json& base, const std::vector<cluster::Node>& nodes, int replicas) {
  const Json pod = pod_spec(planner, base, nodes);
  const Json& container = pod["containers"].at(0);
  Json arguments = container.value("args", Json::array());
  std::erase_if(arguments.get_ref<Json::array_t&>(),
                [](const Json& argument) { return argument.get_ref<const std::string&>().starts_with(port_argument); });
  Json values = {
      {"fullnameOverride", metrics_server_chart.chart.name},
      {"replicas", replicas},
      {"apiService", {{"create", false}}},
      {"podLabels", {{"k8s-app", "metrics-server"}}},
      {"image", chart_image(container.value("image", ""))},
      {"resources", container.value("resources", Json::object())},
      {"containerPort", port_of(container)},
      {"defaultArgs", arguments},
      {"updateStrategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 0}, {"maxUnavailable", 1}}}}}};
  put_placing(values, pod);
  for (const char* probe : {"livenessProbe", "readinessProbe"}) {
    if (!container.contains(probe)) continue;
    values[probe] = container[probe];
    values[probe].emplace("initialDelaySeconds", 0);  // which the API leaves out
  }
  if (replicas > 1 && !covered_by_budget(planner.snapshot, metrics_server_chart.chart, "metrics-server"))
    values["podDisruptionBudget"] = {{"enabled", true}, {"maxUnavailable", 1}};
  put_over(values, planner.spec.metrics_server_values);
  return values;
}

}  // namespace

ChartWay design_metrics_server_chart(Planner& planner) {
  if (!is_wished(planner.spec, metrics_server_chart)) return design_without(planner, metrics_server_chart);
  const Json* deployment = planner.live(metrics_server.deployment);
  if (deployment == nullptr || !is_shipped(*deployment)) {  // nothing that the chart could stand in for
    ChartWay way;
    way.change.mark = kept_mark(planner.snapshot, metrics_server_chart.chart.name);
    return way;
  }
  const Json base = model(planner, *deployment);
  const auto nodes = judged(planner, base);
  const int replicas = size_metrics_server(planner.spec, nodes).min_replicas;
  return design_own(planner, metrics_server_chart, values_of(planner, base, nodes, replicas), replicas);
}

void plan_metrics_server_helm(Planner& planner, const ChartWay& way) {
  const Json& deployment = *planner.live(metrics_server.deployment);
  const Json base = model(planner, deployment);
  const auto nodes = judged(planner, base);
  const Sizing sizing = size_metrics_server(planner.spec, nodes);
  if (sizing.refusal) return planner.refuse(sizing.refusal->status, sizing.refusal->message);
  if (planner.refused()) return;
  check_shipped(planner, metrics_server, deployment);
  const int before = replicas_of(deployment);
  if (refuse_foreign_autoscaler(planner, metrics_server) || refuse_paused(planner, metrics_server, deployment)) return;
  if (before > 0 && refuse_foreign_count(planner, metrics_server, deployment, 0)) return;
  if (way.writes) {
    Json made = base["spec"]["template"];
    made["spec"] = pod_spec(planner, base, nodes);
    Placement placement;
    if (const Json* chart = planner.live(metrics_server_chart.chart.deployment()))
      placement.staying = nodes_of(planner.snapshot.pods, *chart);
    placement.pods = std::max(0, sizing.min_replicas - static_cast<int>(placement.staying.size()));
    if (!find_room(planner, metrics_server, made, nodes, sizing.min_replicas, placement)) return;
  }
  planner.fix_count(metrics_server.deployment, 0);
  planner.remove_own("metrics-server-budget", metrics_server.budget, "the chart has one for its pods");
  const Json nothing = apply_body(metrics_server.deployment);
  HandBack back = hand_back(planner, deployment, nothing);
  if (back.disowns) planner.set_aside(metrics_server.deployment);
  // Manifests of ours hold the count, and an apply that drops it would reset it to 1 at once.
  if (cluster::applied_fields(deployment, kube::field_manager).contains(replicas_field))
    back.body["spec"]["replicas"] = before;
  if (planner.ensure("metrics-server-overlay", back.body, "its pods no longer keep away from the chart's") &&
      before > 0)
    planner.add({.id = "metrics-server-rollout",
                 .action = Action::wait_rollout,
                 .object = metrics_server.deployment,
                 .reason = "every replica runs k3s's own template and is available"});
  if (back.disowns) planner.disown("metrics-server-back", nothing);
  plan_own(planner, metrics_server_chart, way, before > 0);
  if (before > 0)
    planner.scale("metrics-server-set-aside", metrics_server.deployment, 0,
                  fmt::format("0 replicas, from {}: the chart's answer", before));
}

}  // namespace core_ha::ha

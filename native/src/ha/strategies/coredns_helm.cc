// SPDX-License-Identifier: GPL-3.0-or-later
//
// The chart's pods carry the label k8s-app=kube-dns, so that k3s's own Service sends queries to them: its address is
// what every pod of the cluster has in its resolv.conf. What k3s goes on feeding, NodeHosts, is mounted from its
// ConfigMap as a directory, since what is mounted as a file does not follow changes. All else of the Corefile is in the
// chart's values, which follow k3s's by the next run.
//
// The chart has no preStop that an image without a shell could run, so its pods end gently by health's lameduck.
//
// The way there: the chart's pods come up beside the old ones; then these are retired as in coredns_daemonset.cc. The
// way out is a swap (swap.cc): the chart's Deployment owns its pods until the other serves. It is paused, its
// ReplicaSets are deleted with Orphan, and then it, so that the pods can be retired one by one; a ReplicaSet that it
// left behind would be adopted by k3s's Deployment, whose selector is the label alone. Only then is the chart
// uninstalled, which finds nothing that serves any more. The chart's names for values: coredns/helm, charts/coredns.
#include "ha/strategies/coredns_helm.h"

#include <algorithm>
#include <string>
#include <utility>

#include "ha/corefile.h"
#include "ha/placement/capacity.h"
#include "ha/placement/zones.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_aside.h"
#include "ha/strategies/coredns_overlay.h"
#include "ha/strategies/coredns_served.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/retire.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr int lameduck_seconds = 5;

Json chart_labels() {
  return {{"matchLabels", {{"app.kubernetes.io/instance", coredns_chart.chart.name}}}};
}

/// Over hosts as k3s's own spread is, and over zones.
Json spreads(const Planner& planner, const std::vector<cluster::Node>& nodes) {
  Json hosts = soft_spread("kubernetes.io/hostname", chart_labels());
  hosts["whenUnsatisfiable"] = "DoNotSchedule";
  Json entries = Json::array({std::move(hosts)});
  if (zones_of(nodes).several()) entries.push_back(zone_spread(planner.spec, chart_labels()));
  return entries;
}

/// k3s's Corefile; empty: there is none.
std::string corefile_of(const Planner& planner) {
  const Json* live = planner.live(coredns_config);
  Json config = live == nullptr ? Json() : *live;
  // Under strategy custom it may be ours.
  if (live != nullptr && !cluster::applied_fields(*live, kube::field_manager).empty())
    config = shipped(planner, coredns_config);
  return config.is_object() ? config.value("data", Json::object()).value("Corefile", "") : "";
}

/// Puts the Corefile into the values; refused where they have no place for something of it.
bool put_corefile(Planner& planner, Json& values) {
  auto content = chart_values_of(corefile_of(planner));
  if (!content) {
    planner.refuse(content.error().status, content.error().message);
    return false;
  }
  add_lameduck((*content)["servers"], lameduck_seconds);
  replace_path((*content)["servers"], "/etc/coredns/NodeHosts", "/etc/coredns/k3s/NodeHosts");
  values.update(*content);
  return true;
}

/// k3s's, and no default of the chart's beside them: a limit of CPU time would slow answers down.
Json resources_of(const Json& container) {
  Json resources = container.value("resources", Json::object());
  for (const char* group : {"limits", "requests"})
    for (const char* name : {"cpu", "memory"})
      if (!resources[group].contains(name)) resources[group][name] = nullptr;
  return resources;
}

/// The numbers of a probe, for which the chart has values.
Json probe_of(const Json& probe) {
  Json values = {{"enabled", true}};
  for (const char* key :
       {"initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"})
    if (probe.contains(key)) values[key] = probe[key];
  values.emplace("initialDelaySeconds", 0);  // which the API leaves out
  return values;
}

/// The pods as the scheduler will see them.
Json pod_template(const Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes) {
  Json made = coredns.pod_template();
  made["spec"] = wished_pod_spec(coredns.model(), planner.spec);
  made["spec"]["topologySpreadConstraints"] = spreads(planner, nodes);
  return made;
}

void check_room(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas) {
  Placement placement;
  for (const auto& pod : coredns.pods)
    if (!pod.node.empty()) (pod.charted ? placement.staying : placement.leaving).push_back(pod.node);
  const int staying = static_cast<int>(placement.staying.size());
  placement.pods = std::max(0, replicas - staying) + (staying > 0 ? 1 : 0);
  check_placement(planner, coredns_component.title, pod_template(planner, coredns, nodes), nodes, replicas, placement);
}

}  // namespace

std::optional<Json> coredns_values(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                                   int replicas) {
  Json pod = pod_template(planner, coredns, nodes)["spec"];
  const Json& container = coredns_container(pod);
  const std::string& name = coredns_chart.chart.name;
  Json values = {{"fullnameOverride", name},
                 {"isClusterService", true},
                 {"k8sAppLabelOverride", "kube-dns"},
                 {"replicaCount", replicas},
                 {"serviceAccount", {{"create", true}}},
                 {"image", chart_image(container.value("image", ""))},
                 {"resources", resources_of(container)},
                 {"rollingUpdate", {{"maxUnavailable", 0}, {"maxSurge", 1}}},
                 {"terminationGracePeriodSeconds", coredns_grace_period(coredns)}};
  put_placing(values, pod);
  for (const char* probe : {"livenessProbe", "readinessProbe"})
    if (container.contains(probe)) values[probe] = probe_of(container[probe]);
  if (replicas > 1 && !covered_by_budget(planner.snapshot, coredns_chart.chart, "kube-dns"))
    values["podDisruptionBudget"] = {{"maxUnavailable", 1}, {"unhealthyPodEvictionPolicy", "AlwaysAllow"}};
  values["extraVolumes"] = Json::array(
      {{{"name", "k3s"},
        {"configMap",
         {{"name", coredns_config.name}, {"items", Json::array({{{"key", "NodeHosts"}, {"path", "NodeHosts"}}})}}}},
       {{"name", "custom"}, {"configMap", {{"name", "coredns-custom"}, {"optional", true}}}}});
  values["extraVolumeMounts"] =
      Json::array({{{"name", "k3s"}, {"mountPath", "/etc/coredns/k3s"}, {"readOnly", true}},
                   {{"name", "custom"}, {"mountPath", "/etc/coredns/custom"}, {"readOnly", true}}});
  const Json& wished = planner.spec.coredns_values;
  const bool own_servers = wished.contains("servers") && !wished["servers"].is_null();
  if (!own_servers && !put_corefile(planner, values)) return std::nullopt;
  put_over(values, wished);
  return values;
}

ChartWay design_coredns_chart(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes) {
  if (!is_wished(planner.spec, coredns_chart)) return design_without(planner, coredns_chart);
  ChartWay way;
  if (coredns.deployment == nullptr) return way;  // refused with the rest
  const int replicas = size_coredns(planner.spec, nodes).min_replicas;
  const auto values = coredns_values(planner, coredns, nodes, replicas);
  return values ? design_own(planner, coredns_chart, *values, replicas) : way;
}

void plan_helm(Planner& planner, const CoreDns& coredns, const Sizing& sizing, const std::vector<cluster::Node>& nodes,
               const ChartWay& way) {
  if (planner.refused() || !plan_service(planner, coredns, nodes, sizing.min_replicas)) return;
  planner.fix_count(coredns_deployment, 0);
  planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count becomes a fixed one, in the chart's values");
  planner.remove_own("coredns-budget", coredns_budget, "the chart has one for its pods");
  const Json nothing = apply_body(coredns_deployment);
  const HandBack back = hand_back(planner, *coredns.deployment, nothing);
  if (back.disowns) planner.set_aside(coredns_deployment);
  plan_chart_serves(planner, coredns, nodes, way, back.body);
  if (back.disowns) planner.disown("coredns-back", nothing);
  if (way.writes) check_room(planner, coredns, nodes, sizing.min_replicas);
}

void plan_chart_serves(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                       const ChartWay& way, const Json& deployment) {
  const CoreDnsAside aside(planner, coredns, deployment, "the chart's serve");
  if (aside.refuse()) return;
  const auto leaves = [&](const CoreDnsPod& pod) {
    const bool of_deployment = std::any_of(coredns.replica_sets.begin(), coredns.replica_sets.end(),
                                           [&](const auto& set) { return set.uid == pod.owner; });
    return of_deployment || (!pod.charted && coredns.of_another(pod)) || left_over(pod);
  };
  std::vector<const CoreDnsPod*> leaving;
  for (const auto& pod : coredns.pods)
    if (leaves(pod)) leaving.push_back(&pod);
  for (const auto* pod : leaving)
    if (pod->owner.empty() && pod->chartic && pod->hashed)
      plan_labels(planner, "forget-" + pod->ref.name, *pod,
                  {{"pod-template-hash", nullptr}, {cluster::retiring_label, "true"}},
                  "the chart's new ReplicaSet must not adopt it");
  plan_own(planner, coredns_chart, way, !leaving.empty() || !aside.done());
  plan_freeing_daemons(planner, coredns);
  plan_no_revisions(planner);
  aside.plan(leaving);
  plan_retirement(planner, leaving, nodes);
  std::vector<const CoreDnsPod*> gone;
  for (const auto& pod : coredns.ended)
    if (leaves(pod)) gone.push_back(&pod);
  plan_clearing(planner, gone);
}

}  // namespace core_ha::ha

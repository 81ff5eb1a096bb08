// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "cluster/k3s.h"
#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/placement/prediction.h"
#include "ha/planner.h"
#include "ha/standing.h"
#include "ha/state.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_daemonset.h"
#include "ha/strategies/coredns_helm.h"
#include "ha/strategies/coredns_served.h"
#include "ha/strategies/coredns_traffic.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/extra.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/local_path_helm.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/metrics_server_helm.h"
#include "ha/strategies/own_chart.h"
#include "ha/strategies/own_coredns.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/rivals.h"
#include "ha/strategies/shipped.h"
#include "ha/strategies/traefik.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// How long a pod stays on a node that is not reachable, as admission wrote it into the pods.
int toleration_seconds(const cluster::Snapshot& snapshot) {
  for (const auto& pod : snapshot.pods)
    for (const auto& toleration : pod["spec"].value("tolerations", Json::array()))
      if (toleration.value("key", "") == "node.kubernetes.io/unreachable" && toleration.contains("tolerationSeconds"))
        return toleration.value("tolerationSeconds", usual_toleration_seconds);
  return usual_toleration_seconds;
}

Situation situation(const cluster::Snapshot& snapshot, const std::vector<cluster::Node>& nodes, int replicas,
                    bool local) {
  return {.replicas = replicas,
          .nodes = static_cast<int>(nodes.size()),
          .servers = static_cast<int>(
              std::count_if(nodes.begin(), nodes.end(), [](const cluster::Node& node) { return node.server; })),
          .local = local,
          .kube_proxy = cluster::kube_proxy_serves(snapshot),
          .monitor = node_monitor(snapshot),
          .toleration_seconds = toleration_seconds(snapshot)};
}

/// How CoreDNS stands; the strategy is the one whose objects are there.
Json coredns_stands(const Planner& planner, const CoreDns& coredns) {
  if (coredns.deployment == nullptr || coredns.absent)
    return {{"strategy", nullptr}, {"replicas", 0}, {"ready", 0}, {"nodes", Json::array()}};
  std::vector<std::string> nodes;
  for (const auto& pod : coredns.pods)
    if (!pod.node.empty()) nodes.push_back(pod.node);
  if (coredns.chart != nullptr && coredns.replicas() == 0) return stands(*coredns.chart, "helm", nodes);
  if (coredns.daemonset != nullptr) {
    const Json status = coredns.daemonset->value("status", Json::object());
    return {{"strategy", "daemonset"},
            {"replicas", status.value("desiredNumberScheduled", 0)},
            {"ready", status.value("numberReady", 0)},
            {"nodes", std::set<std::string>(nodes.begin(), nodes.end())}};
  }
  const bool overlaid = !cluster::applied_fields(*coredns.deployment, kube::field_manager).empty();
  const char* strategy = is_taken_over(*coredns.deployment)            ? "custom"
                         : planner.live(coredns_autoscaler) != nullptr ? "autoscaling"
                         : overlaid                                    ? "replicas"
                                                                       : "packaged";
  return stands(*coredns.deployment, strategy, nodes);
}

void refuse_missing(Planner& planner) {
  planner.refuse(ExitStatus::unsafe, missing_words(planner, coredns_component));
}

void warn_of_pods(Planner& planner, const PodSettings& pods, const char* component, const std::string& strategy) {
  if (strategy == "packaged" && !pods.empty())
    planner.warn(fmt::format("{0}_image, {0}_resources and {0}_tolerations are not read under {0}_strategy packaged.",
                             component));
}

/// A key that another strategy reads was probably meant for something.
void warn_of_unused(Planner& planner) {
  const Spec& spec = planner.spec;
  if (spec.metrics_server_strategy == "packaged" && spec.metrics_server_replicas)
    planner.warn("metrics_server_replicas is not read under metrics_server_strategy packaged.");
  if (spec.local_path_provisioner_strategy == "packaged" && spec.local_path_provisioner_replicas)
    planner.warn("local_path_provisioner_replicas is not read under local_path_provisioner_strategy packaged.");
  if (spec.traefik_strategy == "packaged" && (spec.traefik_replicas || !spec.traefik_values.empty()))
    planner.warn("traefik_replicas and traefik_values are not read under traefik_strategy packaged.");
  warn_of_pods(planner, spec.metrics_server_pods, "metrics_server", spec.metrics_server_strategy);
  warn_of_pods(planner, spec.local_path_provisioner_pods, "local_path_provisioner",
               spec.local_path_provisioner_strategy);
  warn_of_pods(planner, spec.coredns_pods, "coredns", spec.coredns_strategy);
  const auto warn_of_chart = [&](const char* component, const std::string& strategy, const Json& chart,
                                 const Json& values) {
    if (strategy != "helm" && !(chart.empty() && values.empty()))
      planner.warn(fmt::format("{0}_chart and {0}_values are not read under {0}_strategy {1}.", component, strategy));
  };
  warn_of_chart("coredns", spec.coredns_strategy, spec.coredns_chart, spec.coredns_values);
  warn_of_chart("metrics_server", spec.metrics_server_strategy, spec.metrics_server_chart, spec.metrics_server_values);
  warn_of_chart("local_path_provisioner", spec.local_path_provisioner_strategy, spec.local_path_provisioner_chart,
                spec.local_path_provisioner_values);
  if (spec.metrics_server_strategy != "custom" && !spec.metrics_server_manifest.empty())
    planner.warn(fmt::format("metrics_server_manifest is not read under metrics_server_strategy {}.",
                             spec.metrics_server_strategy));
  if (spec.coredns_strategy == "packaged") return;
  const auto warn = [&](const char* key) {
    planner.warn(fmt::format("{} is not read under coredns_strategy {}.", key, spec.coredns_strategy));
  };
  if (spec.coredns_strategy != "daemonset" && spec.coredns_daemonset_nodes != Spec().coredns_daemonset_nodes)
    warn("coredns_daemonset_nodes");
  if (spec.coredns_strategy != "autoscaling" && (spec.coredns_strategy != "custom" || spec.fixed_count())) {
    if (spec.coredns_min_replicas) warn("coredns_min_replicas");
    if (spec.coredns_max_replicas) warn("coredns_max_replicas");
  }
  if (!spec.fixed_count() && spec.coredns_replicas) warn("coredns_replicas");
  if (spec.coredns_strategy != "custom" && spec.coredns_lameduck) warn("coredns_lameduck");
  if (spec.coredns_strategy != "custom" && !spec.coredns_manifest.empty()) warn("coredns_manifest");
}

}  // namespace

std::string_view to_string(Action action) {
  switch (action) {
    case Action::apply: return "apply";
    case Action::scale: return "scale";
    case Action::patch: return "patch";
    case Action::disown: return "disown";
    case Action::remove: return "remove";
    case Action::wait_rollout: return "wait_rollout";
    case Action::wait_gone: return "wait_gone";
    case Action::wait_pods_gone: return "wait_pods_gone";
    case Action::wait_pods_ready: return "wait_pods_ready";
    case Action::wait_chart: return "wait_chart";
    case Action::wait_endpoints_gone: return "wait_endpoints_gone";
  }
  return "apply";
}

bool is_wait(Action action) {
  using enum Action;
  return action == wait_rollout || action == wait_gone || action == wait_pods_gone || action == wait_pods_ready ||
         action == wait_chart || action == wait_endpoints_gone;
}

bool may_force(std::string_view owner, std::string_view field) {
  if (owner == kube::field_manager || owner == "deploy" || owner.starts_with("deploy@")) return true;
  return owner == "kube-controller-manager" && field == ".spec.replicas";
}

/// The charts about which nothing of ours is left in the end are no longer kept with the wish.
static void settle(Planner& planner, std::map<std::string, std::string> marks,
                   const std::map<std::string, bool>& settled) {
  if (all_packaged(planner.spec)) return;  // then no wish is
  if (std::erase_if(marks, [&](const auto& mark) { return settled.at(mark.first); }) > 0) plan_settled(planner, marks);
}

static Plan plan_all(const Spec& spec, const cluster::Snapshot& snapshot, std::optional<std::int64_t> revision,
                     const OnNodes& on_nodes, bool sparing) {
  Plan plan;
  Planner planner(spec, snapshot, plan);
  planner.sparing = sparing;
  planner.told_aside = on_nodes.set_aside;
  CoreDns coredns = view_coredns(snapshot);
  view_absent(planner, coredns);
  derive_pods(planner, coredns);
  const bool as_shipped = spec.coredns_strategy == "packaged";
  const auto nodes = cluster::judge_nodes(snapshot,
                                          coredns.deployment == nullptr
                                              ? Json::object()
                                              : wished_pod_spec(coredns.model(), as_shipped ? packaged_spec() : spec),
                                          spec.zone_label);

  plan.components["coredns"] = coredns_stands(planner, coredns);
  plan.components["metrics_server"] = metrics_server_stands(planner);
  plan.components["local_path_provisioner"] = local_path_stands(planner);
  plan.components.update(extras_stand(planner));
  if (snapshot.charts.contains("traefik")) plan.components["traefik"] = traefik_stands(planner);
  const Traefik traefik = design_traefik(planner);
  const ChartWay dns_chart = design_coredns_chart(planner, coredns, nodes);
  const ChartWay metrics_chart = design_metrics_server_chart(planner);
  const ChartWay local_chart = design_local_path_chart(planner);
  std::map<std::string, std::string> marks;
  if (traefik.mark) marks["traefik"] = *traefik.mark;
  if (dns_chart.change.mark) marks[coredns_chart.chart.name] = *dns_chart.change.mark;
  if (metrics_chart.change.mark) marks[metrics_server_chart.chart.name] = *metrics_chart.change.mark;
  if (local_chart.change.mark) marks[local_path_chart.chart.name] = *local_chart.change.mark;
  plan_state(planner, revision, marks);
  plan_set_aside(planner);
  check_own_manifests(planner);
  // First, as going back is cheapest from here: a failure of these then leaves cluster DNS untouched.
  plan_traefik(planner, traefik);
  const bool keeps_metrics_chart = plan_metrics_server(planner, metrics_chart);
  const bool keeps_local_chart = plan_local_path(planner, on_nodes.carriers, local_chart);
  plan_extras(planner);
  plan_coredns_objects(planner);
  warn_of_unused(planner);
  const std::string rival = rival_words(planner, coredns_component);

  if (as_shipped) {
    plan.level = {"none", "CoreDNS is to be as k3s ships it: one replica, gone with the node that it runs on."};
    plan_packaged(planner, coredns, nodes);
    if (coredns.deployment == nullptr && coredns.served_by_chart())
      refuse_missing(planner);  // nothing would be left that serves
    else if (dns_chart.there)
      plan_without(planner, coredns_chart);
    else if (coredns.deployment == nullptr && !aside_on(planner, coredns_component).empty())
      planner.warn(missing_words(planner, coredns_component));
    if (!rival.empty()) planner.warn(rival);
    if (all_packaged(spec)) plan_no_state(planner);
    plan.predicted = predict(situation(snapshot, nodes, 1, false));
  } else {
    const bool daemons = spec.coredns_strategy == "daemonset";
    if (coredns.deployment != nullptr && !coredns.absent)
      check_shipped(planner, coredns_component, *coredns.deployment);
    const Sizing sizing = daemons && coredns.deployment != nullptr
                              ? size_daemonset(spec, judge_daemon_nodes(snapshot, coredns, spec))
                              : size_coredns(spec, nodes);
    plan.level = sizing.level;
    plan.warnings.insert(plan.warnings.end(), sizing.warnings.begin(), sizing.warnings.end());
    if (!rival.empty()) planner.refuse(ExitStatus::conflict, rival);
    if (coredns.deployment == nullptr)
      refuse_missing(planner);
    else if (sizing.refusal)
      planner.refuse(sizing.refusal->status, sizing.refusal->message);
    else if (coredns.absent)
      plan_absent(planner, coredns, sizing, nodes);
    else if (daemons)
      plan_daemonset(planner, coredns, sizing);
    else if (is_wished(spec, coredns_chart))
      plan_helm(planner, coredns, sizing, nodes, dns_chart);
    else if (spec.fixed_count())
      plan_replicas(planner, coredns, sizing, nodes);
    else
      plan_autoscaling(planner, coredns, sizing, nodes);
    if (dns_chart.there && !is_wished(spec, coredns_chart)) plan_without(planner, coredns_chart);
    if (!plan.refusal) {
      const TrafficChoice traffic = choose_traffic(spec, snapshot, sizing.min_replicas);
      const bool local = traffic.value == "PreferSameNode" && without_same_node(nodes).empty();
      Situation then = situation(snapshot, nodes, sizing.min_replicas, local);
      then.among = traffic.among;
      then.daemons = daemons;
      plan.predicted = predict(then);
    }
  }
  settle(planner, marks,
         {{"traefik", traefik.settles},
          {coredns_chart.chart.name, !is_wished(spec, coredns_chart)},
          {metrics_server_chart.chart.name, !keeps_metrics_chart},
          {local_path_chart.chart.name, !keeps_local_chart}});
  if (plan.refusal) {
    plan.steps.clear();  // not to be carried out, not even in part
    return plan;
  }
  if (plan.steps.empty())
    if (std::string words = short_of_zone(coredns, nodes, plan.level, !is_wished(spec, coredns_chart)); !words.empty())
      planner.leave(std::move(words));
  planner.finish();
  return plan;
}

Plan make_plan(const Spec& spec, const cluster::Snapshot& snapshot, std::optional<std::int64_t> revision,
               const OnNodes& on_nodes) {
  Plan plan = plan_all(spec, snapshot, revision, on_nodes, false);
  return plan.crowded ? plan_all(spec, snapshot, revision, on_nodes, true) : plan;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// All replicas answer, so two of them need no election, only to be apart: the API server asks another endpoint when one
// does not answer. Upstream's own highly available manifest has the same parts: required anti-affinity over hosts,
// maxUnavailable 1 (which k3s ships already, and which lets a rollout pass on two nodes) and a PodDisruptionBudget.
#include "ha/strategies/metrics_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/placement/level.h"
#include "ha/placement/zones.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/metrics_server_helm.h"
#include "ha/strategies/own_metrics_server.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/rivals.h"
#include "ha/strategies/rollout.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// How long a pod answers on after its endpoint is taken away, in seconds: API servers learn of it within one or two.
constexpr int metrics_pre_stop_seconds = 5;

Json overlay(const Planner& planner, const Json& deployment, const Zones& zones, int replicas) {
  Json body = apply_body(metrics_server.deployment);
  const bool custom = is_custom(planner.spec, metrics_server);
  const Json theirs = custom ? to_be(planner, metrics_server.deployment) : shipped(planner, metrics_server.deployment);
  if (custom) body = theirs;
  body =
      cluster::overlay(body, settings_body(theirs.is_null() ? deployment : theirs, planner.spec.metrics_server_pods));
  narrow_nodes(body["spec"]["template"]["spec"], planner.spec);
  if (replicas < 2) return body;  // nobody to keep away from, and nobody else to ask
  // One more than so many would find a node of its own only by pushing somebody out, who is of a lower priority even if
  // it is CoreDNS; and maxUnavailable 1 ends one at the beginning of a rollout anyway.
  body["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = 0;
  Json& pod = body["spec"]["template"]["spec"];
  const Json& selector = deployment["spec"]["selector"];
  pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
      Json::array({{{"topologyKey", "kubernetes.io/hostname"}, {"labelSelector", selector}}});
  if (zones.several()) pod["topologySpreadConstraints"] = Json::array({zone_spread(planner.spec, selector)});
  if (planner.snapshot.minor() >= pre_stop_sleep_minor)
    body["spec"]["template"]["spec"] = cluster::overlay(
        pod, {{"containers", answers_on(deployment["spec"]["template"]["spec"]["containers"].at(0).value("name", ""),
                                        metrics_pre_stop_seconds)}});
  return body;
}

/// The nodes of the Deployment's own pods: those of our chart carry its label, too.
std::vector<std::string> packaged_nodes(const Planner& planner, const Json& deployment) {
  std::vector<std::string> nodes;
  for (const Json* pod : pods_of(planner.snapshot.pods, deployment)) {
    const std::string node = (*pod)["spec"].value("nodeName", "");
    const Json labels = (*pod)["metadata"].value("labels", Json::object());
    if (!node.empty() && labels.value("app.kubernetes.io/instance", "") != metrics_server_chart.chart.name)
      nodes.push_back(node);
  }
  return nodes;
}

/// Whether the new replicas find a node each now.
bool placeable(Planner& planner, const Json& deployment, const Json& body, const std::vector<cluster::Node>& nodes,
               int replicas) {
  Placement placement{.staying = packaged_nodes(planner, deployment)};
  std::size_t held = placement.staying.size();
  if (!planner.holds(body)) {
    // All are replaced, each on a host that takes pods.
    std::set<std::string> open;
    std::set<std::string> hosts;
    std::set<std::string> stuck;  // hosts that one keeps which may never end
    for (const auto& node : nodes) {
      if (node.open()) open.insert(node.host);
      if (std::count(placement.staying.begin(), placement.staying.end(), node.name) > 0)
        (node.open() ? hosts : stuck).insert(node.host);
    }
    std::erase_if(open, [&](const auto& host) { return stuck.contains(host) && !hosts.contains(host); });
    held = hosts.size();
    placement.spare = open.size() > std::max(held, static_cast<std::size_t>(replicas)) ? 1 : 0;
  }
  placement.pods = std::max(0, replicas - static_cast<int>(held));
  return find_room(planner, metrics_server, cluster::overlay(deployment, body)["spec"]["template"], nodes, replicas,
                   placement);
}

/// Whether an apply of our whole set gives the pods another template.
bool changes_pods(const Json& deployment, const Json& body) {
  const auto of_pods = [](const cluster::FieldPath& path) { return path.size() > 1 && path[1] == "f:template"; };
  const auto wished = cluster::fields_in(body);
  const auto held = cluster::applied_fields(deployment, kube::field_manager);
  return std::any_of(wished.begin(), wished.end(),
                     [&](const auto& path) {
                       return of_pods(path) && !cluster::has_value(deployment, path, *cluster::value_at(body, path));
                     }) ||
         std::any_of(held.begin(), held.end(), [&](const auto& path) {
           return of_pods(path) && !wished.contains(path) && cluster::owners_of(deployment, path).size() == 1;
         });
}

/// Whether a second one, of the template as it is, finds room beside a lone one without pushing anybody out.
bool second_fits(Planner& planner, const Json& deployment) {
  if (planner.sparing) return false;
  const auto nodes = cluster::judge_nodes(planner.snapshot, deployment["spec"]["template"]["spec"]);
  const Fit fit = judge_fit(planner.snapshot, metrics_server.title, deployment["spec"]["template"], nodes,
                            {.pods = 1, .staying = packaged_nodes(planner, deployment)});
  planner.want_usage(fit.unread);
  if (!fit.refusal.empty() || !fit.warning.empty()) return false;
  ++planner.expected;
  ++planner.stacked;
  return true;
}

void roll_out(Planner& planner, const Json& deployment, const Json& wish, int replicas, Count count) {
  const HandBack back = hand_back(planner, deployment, wish);
  if (back.disowns) planner.set_aside(metrics_server.deployment);
  Target target{.body = back.body, .replicas = replicas, .count = count};
  // k3s's maxUnavailable 1 ends a lone one before the next one answers.
  target.seconded = replicas == 1 && replicas_of(deployment) == 1 && changes_pods(deployment, back.body) &&
                    count_may_go(deployment) && second_fits(planner, deployment);
  // What keeps away from everything of its label would keep away from the chart's pods, too.
  if (count == Count::fixed) target.once_raised = [&] { plan_without(planner, metrics_server_chart); };
  plan_rollout(planner, metrics_server, deployment, target);
  if (back.disowns) planner.disown("metrics-server-back", wish);
}

void plan_as_shipped(Planner& planner, const Json& deployment) {
  const auto held = cluster::applied_fields(deployment, kube::field_manager);
  const bool ours = !held.empty() || planner.live(metrics_server.budget) != nullptr || count_is_ours(deployment) ||
                    own_chart(planner.snapshot, metrics_server_chart) != nullptr;
  if (!ours) return plan_without(planner, metrics_server_chart);
  planner.remove_own("metrics-server-budget", metrics_server.budget, "k3s ships none");
  roll_out(planner, deployment, apply_body(metrics_server.deployment), 1, Count::released);
  plan_without(planner, metrics_server_chart);
}

/// Strategies replicas and custom; false: it is left as it is for now. `absent`: the Deployment is to be made.
bool plan_own_pods(Planner& planner, const Json& deployment, bool absent) {
  const bool custom = is_custom(planner.spec, metrics_server);
  Json base = pods_base(planner, metrics_server, deployment);
  if (custom) base = cluster::overlay(base, settings_body(base, planner.spec.metrics_server_pods));
  const auto nodes =
      cluster::judge_nodes(planner.snapshot, wished_pod_spec(base, planner.spec), planner.spec.zone_label);
  const Sizing sizing = size_metrics_server(planner.spec, nodes);
  if (sizing.refusal) {
    planner.refuse(sizing.refusal->status, sizing.refusal->message);
    return false;
  }
  const int replicas = sizing.min_replicas;
  if (custom) planner.set_aside(metrics_server.deployment);
  if (replicas < 2 && !custom) {
    if (!planner.spec.node_affinity.empty()) planner.warn(affinity_left_out("metrics-server"));
    plan_as_shipped(planner, deployment);
    return true;
  }
  if (!absent) check_shipped(planner, metrics_server, deployment);
  if (refuse_foreign_autoscaler(planner, metrics_server)) return false;
  Json body = overlay(planner, deployment, zones_of(nodes), replicas);
  if (absent) {
    if (!find_room(planner, metrics_server, body["spec"]["template"], nodes, replicas, {.pods = replicas}))
      return false;
    planner.fix_count(metrics_server.deployment, replicas);
    plan_making(planner, metrics_server, std::move(body), replicas);
    return true;
  }
  // As where it was made with its count, or by manifests of ours.
  if (cluster::applied_fields(deployment, kube::field_manager).contains(replicas_field))
    body["spec"]["replicas"] = replicas;
  if ((!planner.holds(body) || replicas_of(deployment) != replicas) &&
      !placeable(planner, deployment, body, nodes, replicas))
    return false;
  roll_out(planner, deployment, body, replicas, Count::fixed);
  plan_budget(planner, metrics_server, deployment, replicas);
  return true;
}

}  // namespace

bool plan_metrics_server(Planner& planner, const ChartWay& chart) {
  const bool helm = is_wished(planner.spec, metrics_server_chart);
  const Json* deployment = planner.live(metrics_server.deployment);
  const bool packaged = planner.spec.metrics_server_strategy == "packaged";
  if (std::string words = rival_words(planner, metrics_server); !words.empty()) {
    planner.warn(std::move(words));
    if (!packaged) return chart.there;
  }
  if (const Json* made = to_make(planner, metrics_server)) {
    plan_beside_metrics_server(planner, false);
    if (plan_own_pods(planner, *made, true)) plan_beside_metrics_server(planner, true);
    return chart.there;
  }
  if (deployment != nullptr && !packaged && !is_shipped(*deployment)) {
    planner.warn(fmt::format("{} is not the one that k3s ships: it is left as it is.",
                             kube::to_string(metrics_server.deployment)));
    return chart.there;
  }
  plan_beside_metrics_server(planner, true);
  plan_beside_metrics_server(planner, false);
  if (deployment == nullptr) {
    planner.remove_own("metrics-server-budget", metrics_server.budget, "metrics-server is gone");
    if (helm)
      planner.warn(
          fmt::format("{} is not there: nothing stands in for it.", kube::to_string(metrics_server.deployment)));
    else
      plan_without(planner, metrics_server_chart);
    if (is_custom(planner.spec, metrics_server) || !aside_on(planner, metrics_server).empty())
      planner.warn(missing_words(planner, metrics_server));
    return helm;
  }
  if (packaged) {
    plan_as_shipped(planner, *deployment);
    return false;
  }
  if (!helm) return plan_own_pods(planner, *deployment, false) ? false : chart.there;
  plan_metrics_server_helm(planner, chart);
  return true;
}

Json metrics_server_stands(const Planner& planner) {
  const Json* deployment = planner.live(metrics_server.deployment);
  if (deployment == nullptr) return {{"strategy", nullptr}, {"replicas", 0}, {"ready", 0}, {"nodes", Json::array()}};
  if (const Json* chart = planner.live(metrics_server_chart.chart.deployment());
      chart != nullptr && own_chart(planner.snapshot, metrics_server_chart) != nullptr && replicas_of(*deployment) == 0)
    return stands(*chart, "helm", nodes_of(planner.snapshot.pods, *chart));
  const bool overlaid = !cluster::applied_fields(*deployment, kube::field_manager).empty();
  return stands(*deployment,
                is_taken_over(*deployment) ? "custom"
                : overlaid                 ? "replicas"
                                           : "packaged",
                packaged_nodes(planner, *deployment));
}

}  // namespace core_ha::ha

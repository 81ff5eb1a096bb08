// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_served.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/strategies/chart.h"
#include "ha/strategies/coredns_overlay.h"
#include "ha/strategies/coredns_traffic.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// Nothing of ours helps pods that nobody is sent to; and it is by the Service that old pods are let go.
void check_service(Planner& planner, const CoreDns& coredns) {
  const Json* service = planner.live(coredns_service);
  if (service == nullptr) return;  // warned of with its traffic
  const Json selector = (*service)["spec"].value("selector", Json::object());
  const Json labels = pod_labels(*coredns.deployment);
  if (selector.empty() || cluster::selects({{"matchLabels", selector}}, labels)) return;
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("Service kube-system/kube-dns selects {}, and CoreDNS's pods carry {}: "
                             "it has no endpoints, and nobody is sent to CoreDNS.",
                             selector.dump(), labels.dump()));
}

}  // namespace

bool plan_service(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas) {
  const int minor = planner.snapshot.minor();
  if (refuse_foreign_autoscaler(planner, coredns_component)) return false;
  if (minor < pre_stop_sleep_minor)
    planner.warn(
        fmt::format("Kubernetes 1.{} does not know preStop.sleep (1.{} does): left out, so rollouts may lose a "
                    "few queries.",
                    minor, pre_stop_sleep_minor));
  check_service(planner, coredns);
  plan_traffic(planner, nodes, replicas);
  return true;
}

void derive_pods(const Planner& planner, CoreDns& coredns) {
  if (coredns.deployment == nullptr) return;
  coredns.base = pods_base(planner, coredns_component, *coredns.deployment);
  const bool helm = planner.spec.coredns_strategy == "helm";
  if (helm || planner.spec.coredns_strategy == "custom" || planner.spec.coredns_strategy == "daemonset")
    coredns.base = cluster::overlay(coredns.base, settings_body(coredns.base, planner.spec.coredns_pods));
  if (helm) place_by_values(coredns.base, planner.spec.coredns_values);
}

Json wished_deployment(const Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes) {
  const bool custom = is_custom(planner.spec, coredns_component);
  const Json theirs = custom ? to_be(planner, coredns_deployment) : shipped(planner, coredns_deployment);
  const Json& base = theirs.is_null() ? *coredns.deployment : theirs;
  const Json wish = cluster::overlay(settings_body(base, planner.spec.coredns_pods),
                                     coredns_overlay(coredns, planner.spec, zones_of(nodes), planner.snapshot.minor()));
  return custom ? cluster::overlay(theirs, wish) : wish;
}

void plan_served(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, int replicas,
                 Count count) {
  const int minor = planner.snapshot.minor();
  if (!plan_service(planner, coredns, nodes, replicas)) return;
  if (count == Count::fixed) {
    planner.fix_count(coredns_deployment, replicas);
    planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count becomes a fixed one");
  }
  if (is_custom(planner.spec, coredns_component)) planner.set_aside(coredns_deployment);
  Json wish = wished_deployment(planner, coredns, nodes);
  // Manifests of ours hold the count, and an apply that drops it would reset it to 1 at once. It leaves our set by
  // itself when the autoscaler, or a scale of ours, changes it.
  if (cluster::applied_fields(*coredns.deployment, kube::field_manager).contains(replicas_field))
    wish["spec"]["replicas"] = std::max(coredns.replicas(), replicas);
  const HandBack back = hand_back(planner, *coredns.deployment, wish);
  if (back.disowns) planner.set_aside(coredns_deployment);
  const std::size_t before = planner.steps();
  const Placement placement =
      plan_swap(planner, coredns, nodes, {.body = back.body, .replicas = replicas, .count = count},
                minor >= pre_stop_sleep_minor || ends_gently(coredns.pod_spec()));
  if (back.disowns) planner.disown("coredns-back", wish);
  if (planner.steps() != before)
    check_placement(planner, coredns_component.title, coredns.pod_template(), nodes, replicas, placement);
  plan_budget(planner, coredns_component, *coredns.deployment, replicas);
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "ha/placement/words.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr int same_node_minor = 34;             ///< PreferSameNode and PreferSameZone on by default
constexpr int traffic_distribution_minor = 31;  ///< the field itself, with PreferClose
const cluster::FieldPath traffic_field{"f:spec", "f:trafficDistribution"};

/// Of every object of AddOn coredns. The hash is k3s's: SHA-1 of `k3s.cattle.io/v1, Kind=Addoncorednskube-system`.
Json addon_marks() {
  return {{"metadata",
           {{"labels", {{"objectset.rio.cattle.io/hash", "bce283298811743a0386ab510f2f67ef74240c57"}}},
            {"annotations",
             {{"objectset.rio.cattle.io/id", ""},
              {"objectset.rio.cattle.io/owner-gvk", "k3s.cattle.io/v1, Kind=Addon"},
              {"objectset.rio.cattle.io/owner-name", "coredns"},
              {"objectset.rio.cattle.io/owner-namespace", "kube-system"}}}}}};
}

/// As kube-proxy and the EndpointSlice controller tell zones, whatever label replicas are spread by. Nodes of which
/// nothing tells the zone are one of their own.
int count_zones(const cluster::Snapshot& snapshot) {
  std::set<std::string> zones;
  for (const auto& node : snapshot.nodes)
    zones.insert(node["metadata"].value("labels", Json::object()).value(cluster::usual_zone_label, ""));
  return static_cast<int>(zones.size());
}

}  // namespace

void plan_service_marks(Planner& planner) {
  const Json* live = planner.live(coredns_service);
  if (live == nullptr || !cluster::addon_of(*live).empty() || cluster::applied_manifest(*live) ||
      !mends(planner, coredns_component))
    return;
  const Json ours = cluster::body_from_fields(*live, cluster::applied_fields(*live, kube::field_manager));
  plan_mended(planner, "kube-dns-marks", cluster::overlay(ours, addon_marks()), ours,
              "k3s is to know it for its own at its next start");
}

Json missing_service(const Planner& planner) {
  return cluster::overlay(shipped(planner, coredns_service), addon_marks());
}

TrafficChoice choose_traffic(const Spec& spec, const cluster::Snapshot& snapshot, int replicas) {
  const std::string& wish = spec.coredns_traffic_distribution;
  const int minor = snapshot.minor();
  if (wish == "none") return {{}, {}, replicas};
  const int zones = count_zones(snapshot);
  const int among = zones > 1 ? std::max(1, replicas / zones) : replicas;
  const bool automatic = wish == "auto";
  const bool everywhere = replicas >= static_cast<int>(snapshot.nodes.size());
  const std::string by_itself = zones < 2 || everywhere ? "PreferSameNode" : "";
  const std::string& value = automatic ? by_itself : wish;
  const Json* service = cluster::find_named(snapshot.services, coredns_service.name);
  if (automatic && service != nullptr) {
    const Json* present = cluster::value_at(*service, traffic_field);
    const bool ours = cluster::applied_fields(*service, kube::field_manager).contains(traffic_field);
    if (present != nullptr && !ours && *present != value)
      return {{},
              fmt::format("Service kube-system/kube-dns has trafficDistribution {} from somebody else: left so.",
                          present->dump()),
              among};
  }
  if (value.empty()) return {{}, {}, replicas};
  if (minor >= same_node_minor) return {value, {}, among};
  if (value == "PreferSameZone" && minor >= traffic_distribution_minor)
    return {"PreferClose", {}, among};  // its older name
  return {{},
          fmt::format("Kubernetes 1.{} does not know trafficDistribution {} (1.{} does): left out.", minor, value,
                      value == "PreferSameZone" ? traffic_distribution_minor : same_node_minor),
          replicas};
}

std::vector<std::string> without_same_node(const std::vector<cluster::Node>& nodes) {
  std::vector<std::string> names;
  for (const auto& node : nodes)
    if (node.minor != 0 && node.minor < same_node_minor) names.push_back(node.name);
  return names;
}

void plan_traffic(Planner& planner, const std::vector<cluster::Node>& nodes, int replicas) {
  Json service = apply_body(coredns_service);
  const TrafficChoice choice = choose_traffic(planner.spec, planner.snapshot, replicas);
  const std::string& distribution = choice.value;
  if (!choice.warning.empty()) planner.warn(choice.warning);
  if (const auto old = without_same_node(nodes); distribution == "PreferSameNode" && !old.empty())
    planner.warn(
        fmt::format("{} of {} nodes ({}) run a kube-proxy older than 1.{}, which does not prefer its own node's "
                    "replica.",
                    old.size(), nodes.size(), few(old), same_node_minor));
  if (!distribution.empty()) service["spec"]["trafficDistribution"] = distribution;
  const bool custom = is_custom(planner.spec, coredns_component);
  plan_service_marks(planner);
  if (!custom && planner.live(coredns_service) == nullptr) {
    if (!mends(planner, coredns_component))
      return planner.warn("Service kube-system/kube-dns is missing: nobody is sent to CoreDNS.");
    return plan_mended(planner, "kube-dns-traffic", missing_service(planner), service);
  }
  if (custom) {
    planner.set_aside(coredns_service);
    service = cluster::overlay(to_be(planner, coredns_service), service);
  }
  plan_set(planner, "kube-dns-traffic", service,
           distribution.empty() ? "queries go to all replicas alike"
                                : "queries go to a near replica, so that a far node's death is not noticed");
}

}  // namespace core_ha::ha

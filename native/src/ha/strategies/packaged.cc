// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "ha/placement/words.h"
#include "ha/strategies/coredns.h"
#include "ha/strategies/coredns_served.h"
#include "ha/strategies/coredns_traffic.h"
#include "ha/strategies/shipped.h"
#include "ha/strategies/swap.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// Whether the Deployment's count is one that we, or our autoscaler, made, and nobody else's autoscaler goes on with.
bool count_was_ours(const Planner& planner, const CoreDns& coredns) {
  if (!foreign_autoscaler(planner.snapshot, coredns_component).empty()) return false;
  if (!cluster::applied_fields(*coredns.deployment, kube::field_manager).empty()) return true;
  if (planner.live(coredns_autoscaler) != nullptr || coredns.served_by_daemons() || coredns.served_by_chart())
    return true;
  return count_is_ours(*coredns.deployment);
}

/// Whether a pod of the Deployment ends gently once our fields are gone.
bool gentle_without_us(const CoreDns& coredns) {
  for (const auto& path : cluster::applied_fields(*coredns.deployment, kube::field_manager))
    if (std::find(path.begin(), path.end(), "f:preStop") != path.end()) return false;
  return ends_gently(coredns.pod_spec());
}

/// Whether the packaged spread rule has a place for the one new pod.
struct Room {
  std::string closed = {};                 ///< why there is none; empty: there is
  const CoreDnsPod* makes_room = nullptr;  ///< the pod whose end would make one
};

/// The packaged spread rule counts hosts that take no pods, also for a taint that lasts, and pods that are about to go:
/// after a node's death, or with a replica on every other host, it can leave no place for the one new pod.
Room room(const CoreDns& coredns, const std::vector<cluster::Node>& nodes) {
  std::map<std::string, int> pods;  // by host
  std::map<std::string, const cluster::Node*> node_of;
  for (const auto& node : nodes)
    if (node.eligible() || node.tainted) {
      pods.emplace(node.host, 0);
      node_of.emplace(node.name, &node);
    }
  int serving = 0;
  for (const auto& pod : coredns.pods)
    if (const auto node = node_of.find(pod.node); node != node_of.end() && pod.serves) {
      ++pods[node->second->host];
      ++serving;
    }
  int least = std::numeric_limits<int>::max();
  for (const auto& [host, count] : pods)
    least = std::min(least, count);
  std::vector<std::string> closed;
  for (const auto& [name, node] : node_of) {
    if (node->open() && pods[node->host] == least) return {};
    if (!node->open() && pods[node->host] == least) closed.push_back(closed_words(*node));
  }
  Room none{.closed = closed.empty() ? "no node takes pods" : few(closed)};
  for (const auto& pod : coredns.pods) {
    const auto node = node_of.find(pod.node);
    if (node != node_of.end() && node->second->open() && pod.serves && pods[node->second->host] == least + 1 &&
        serving > 1)
      none.makes_room = &pod;
  }
  return none;
}

bool swaps(const CoreDns& coredns, bool gentle) {
  return std::any_of(coredns.replica_sets.begin(), coredns.replica_sets.end(),
                     [&](const auto& set) { return set.gentle != gentle; });
}

}  // namespace

void plan_packaged(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes) {
  plan_service_marks(planner);
  if (planner.live(coredns_service) != nullptr)
    plan_set(planner, "kube-dns-traffic", apply_body(coredns_service), "no field of ours is left");
  else if (mends(planner, coredns_component))
    plan_mended(planner, "kube-dns-traffic", missing_service(planner), apply_body(coredns_service));
  planner.remove_own("coredns-autoscaler", coredns_autoscaler, "the count is no longer ours");
  planner.remove_own("coredns-budget", coredns_budget, "k3s ships none");
  if (coredns.deployment == nullptr) return;
  const bool gentle = gentle_without_us(coredns);
  const Room found = swaps(coredns, gentle) || coredns.replicas() == 0 ? room(coredns, nodes) : Room{};
  if (!found.closed.empty() && found.makes_room == nullptr)
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("The packaged spread rule has no place for the new replica while these nodes take no "
                               "pods: {}.",
                               found.closed));
  const Json nothing = apply_body(coredns_deployment);
  const HandBack back = hand_back(planner, *coredns.deployment, nothing);
  if (back.disowns) planner.set_aside(coredns_deployment);
  plan_swap(
      planner, coredns, nodes,
      {.body = back.body, .replicas = 1, .count = count_was_ours(planner, coredns) ? Count::released : Count::at_least},
      gentle, found.makes_room);
  if (back.disowns) planner.disown("coredns-back", nothing);
}

}  // namespace core_ha::ha

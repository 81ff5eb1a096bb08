// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_aside.h"

#include <fmt/format.h>

#include <utility>

#include "ha/strategies/retire.h"
#include "kube/client.h"

namespace core_ha::ha {

CoreDnsAside::CoreDnsAside(Planner& planner, const CoreDns& coredns, Json rest, std::string instead)
    : planner_(planner),
      coredns_(coredns),
      held_(cluster::applied_fields(*coredns.deployment, kube::field_manager)),
      instead_(std::move(instead)),
      rest_(std::move(rest)) {
  // Manifests of ours hold the count, and an apply that drops it would reset it to 1 at once. Any other count leaves
  // our set by itself when a scale of ours changes it.
  if (held_.contains(replicas_field) && coredns.replicas() == 0) rest_["spec"]["replicas"] = 0;
}

bool CoreDnsAside::refuse() const {
  if (refuse_paused(planner_, coredns_component, *coredns_.deployment)) return true;
  return coredns_.replicas() > 0 && refuse_foreign_count(planner_, coredns_component, *coredns_.deployment, 0);
}

bool CoreDnsAside::done() const {
  return coredns_.replicas() == 0 && coredns_.replica_sets.empty() && planner_.holds(rest_);
}

void CoreDnsAside::plan(const std::vector<const CoreDnsPod*>& leaving) const {
  if (done()) return planner_.wish(rest_);
  const bool frees = !coredns_.replica_sets.empty();
  if (frees) {
    Json paused = rest_;
    paused["spec"]["paused"] = true;
    if (held_.contains(replicas_field)) paused["spec"]["replicas"] = coredns_.replicas();
    planner_.ensure("coredns-pause", paused, "the template changes while nothing rolls");
    std::vector<const CoreDnsReplicaSet*> sets;
    sets.reserve(coredns_.replica_sets.size());
    for (const auto& set : coredns_.replica_sets)
      sets.push_back(&set);
    plan_freeing(planner_, sets);
  }
  if (coredns_.replicas() != 0)
    planner_.scale("coredns-scale", coredns_deployment, 0,
                   fmt::format("0 replicas, from {}: {}", coredns_.replicas(), instead_));
  for (const auto* pod : leaving)
    if (pod->hashed && !pod->chartic)
      plan_labels(planner_, "forget-" + pod->ref.name, *pod,
                  {{"pod-template-hash", nullptr}, {cluster::retiring_label, "true"}},
                  "a ReplicaSet of 0 must not adopt it");
  const std::string reason = "no field of ours is left";
  if (frees)
    planner_.apply("coredns-overlay", rest_, reason);
  else
    planner_.ensure("coredns-overlay", rest_, reason);
}

}  // namespace core_ha::ha

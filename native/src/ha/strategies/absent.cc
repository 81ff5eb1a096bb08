// SPDX-License-Identifier: GPL-3.0-or-later
//
// A component that every server was told to do without (--disable) is not there, and nothing of it is staged for
// strategy custom to build on. It then builds on a manifest of ours, with the objects, names, labels and settings of
// k3s's own, so that one who enables the component again finds it adopted. What is made so is not taken away again:
// k3s ships nothing in its place.
#include "ha/strategies/absent.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "ha/placement/words.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/own_coredns.h"
#include "ha/strategies/own_metrics_server.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

std::string step_of(const Component& component, const char* what) {
  return fmt::format("{}-{}", component.id, what);
}

}  // namespace

void stage_own(cluster::Snapshot& snapshot) {
  if (ships_none(snapshot, coredns_component))
    snapshot.manifests[cluster::coredns_manifest] = own_coredns_objects(snapshot);
  if (ships_none(snapshot, metrics_server))
    snapshot.manifests[cluster::metrics_server_manifest] = own_metrics_server_objects(snapshot);
}

bool ships_none(const cluster::Snapshot& snapshot, const Component& component) {
  return cluster::disabled_everywhere(snapshot, component.addon);
}

const Json* to_make(const Planner& planner, const Component& component) {
  if (planner.live(component.deployment) != nullptr || !is_custom(planner.spec, component)) return nullptr;
  const auto staged = planner.snapshot.manifests.find(std::string(component.manifest));
  if (staged == planner.snapshot.manifests.end()) return nullptr;
  for (const auto& object : *staged)
    if (kube::ref_of(object) == component.deployment) return &object;
  return nullptr;
}

void plan_making(Planner& planner, const Component& component, Json body, int replicas) {
  body["spec"]["replicas"] = replicas;
  const std::string why = ships_none(planner.snapshot, component)
                              ? fmt::format("k3s was started with --disable {}", component.addon)
                              : fmt::format("there is none, and k3s leaves {}.yaml alone", component.manifest);
  planner.apply(step_of(component, "deployment"), body, fmt::format("{}, so this is {}", why, component.title));
  planner.add({.id = step_of(component, "rollout"),
               .action = Action::wait_rollout,
               .object = component.deployment,
               .reason = "every replica is available"});
  plan_budget(planner, component, body, replicas);
}

void plan_beside(Planner& planner, const Component& component, const std::string& id, const Json& object) {
  const auto ref = kube::ref_of(object);
  const bool none = ships_none(planner.snapshot, component);
  const Json* live = planner.live(ref);
  if (none && is_custom(planner.spec, component)) {
    planner.set_aside(ref);
    planner.ensure(
        id, object,
        fmt::format("k3s was started with --disable {}, so {} needs this of ours", component.addon, component.title));
  } else if (live == nullptr || cluster::applied_fields(*live, kube::field_manager).empty()) {
    return;
  } else if (none && planner.live(component.deployment) == nullptr) {
    planner.remove_own(id, ref, fmt::format("{} is gone", component.title));
  } else {
    // What it ships may not be known whole, and k3s may not have come to it yet: until it does, it stays as it is.
    const Json theirs = shipped(planner, ref);
    plan_set_to(planner, id, theirs.is_null() ? *live : theirs, head_of(object), "k3s ships its own");
  }
}

std::string missing_words(const Planner& planner, const Component& component) {
  const std::string name = kube::to_string(component.deployment);
  const auto servers = cluster::disabled_on(planner.snapshot, component.addon);
  if (const auto skips = aside_on(planner, component); servers.empty() && !skips.empty())
    return fmt::format(
        "{} is not there, and {}.yaml.skip on {} keeps k3s from making it: remove the file, or have strategy custom "
        "make one.",
        name, component.manifest, few(skips));
  if (servers.empty())
    return fmt::format("{} is not there: is this a k3s cluster, and was {} removed from it?", name, component.title);
  return fmt::format(
      "{} is not there: k3s was started with --disable {} on {}. Where every server was, strategy custom makes one.",
      name, component.addon, few(servers));
}

}  // namespace core_ha::ha

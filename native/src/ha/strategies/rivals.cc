// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who wants another CoreDNS than k3s's is told in many places to put a manifest of his own among k3s's. k3s applies all
// of them. Two that declare one object set each other's values back at every start of a server, and every 15 s while
// one of them fails, as one with k3s's Service and its address does. Two whose names are the same up to the first dot
// are one AddOn to k3s, and each prunes what the other applied. None of that can be ended by the API: the file is its
// owner's, and on his servers. So it is told of, and nothing is built on it.
//
// A file shows in two ways: on the server that this runs on it can be read; and k3s writes the AddOn by which it
// applied an object last into an annotation of it, wherever the file is.
#include "ha/strategies/rivals.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cluster/k3s.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/shipped.h"

namespace core_ha::ha {

namespace {

/// What of the component k3s applies.
std::vector<kube::ObjectRef> applied_objects(const Component& component) {
  std::vector<kube::ObjectRef> refs{component.deployment};
  if (component.deployment == coredns_deployment) refs.insert(refs.end(), {coredns_service, coredns_config});
  return refs;
}

std::string foreign_addon_of(const Planner& planner, const kube::ObjectRef& ref, const Component& component) {
  const Json* object = planner.live(ref);
  return object == nullptr ? std::string() : foreign_addon(*object, component);
}

std::string other_side(const Planner& planner, const Component& component) {
  return is_aside_everywhere(planner, component) ? "what strategy custom applies"
                                                 : fmt::format("k3s's own {}.yaml", component.manifest);
}

std::string end_words(const Component& component) {
  return fmt::format(
      "each sets the other's values back, at every start of a server or every 15 s. Remove the file on every server, "
      "and restart k3s on one; what it is for can be {}_manifest, under strategy custom.",
      component.deployment == coredns_deployment ? "coredns" : "metrics_server");
}

}  // namespace

std::string foreign_addon(const Json& object, const Component& component) {
  const std::string addon = cluster::addon_of(object);
  return addon == component.manifest || addon == component.addon ? "" : addon;
}

std::string rival_words(const Planner& planner, const Component& component) {
  if (component.manifest.empty()) return {};
  const bool instead = ships_none(planner.snapshot, component) || is_aside_everywhere(planner, component);
  for (const auto& file : planner.snapshot.rivals) {
    const std::string name = file["metadata"]["name"];
    if (file.value("manifest", "") != component.manifest) continue;
    if (file.value("addon", false))
      return fmt::format(
          "{0} among k3s's manifests on this server is AddOn {1} to k3s, as its own {1}.yaml is, and "
          "each prunes what the other one applied. Give it a name that does not begin with {1} and a "
          "dot, on every server, and restart k3s on one.",
          name, component.manifest);
    if (!instead || is_custom(planner.spec, component))
      return fmt::format("{} among k3s's manifests on this server declares {}, as {} does: {}", name,
                         file.value("object", ""), other_side(planner, component), end_words(component));
  }
  if (instead) return {};
  for (const auto& ref : applied_objects(component))
    if (const std::string addon = foreign_addon_of(planner, ref, component); !addon.empty())
      return fmt::format("{} was applied by k3s from a file of somebody's, AddOn {}, and is in {}, too: {}",
                         kube::to_string(ref), addon, other_side(planner, component), end_words(component));
  return {};
}

std::string rival_warning(const Planner& planner, const Component& component) {
  const Json* live = planner.live(component.deployment);
  const std::string addon = foreign_addon_of(planner, component.deployment, component);
  if (addon.empty() || !is_custom(planner.spec, component) || is_taken_over(*live)) return {};
  return fmt::format(
      "{} was applied by k3s from a file of somebody's, AddOn {}: where that still is, it sets back what "
      "strategy custom changes. Remove it on every server.",
      kube::to_string(component.deployment), addon);
}

}  // namespace core_ha::ha

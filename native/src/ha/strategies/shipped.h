// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "ha/planner.h"
#include "ha/strategies/component.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// Annotation of a server's Node: k3s's manifests that it leaves alone, for a `.skip` beside each; names with commas.
inline constexpr const char* set_aside_annotation = "k3s-core-ha/set-aside";

/// k3s's manifests that the wish wants set aside (strategy custom), by their files' names without `.yaml`.
std::set<std::string> wanted_aside(const Spec& spec);

/// Whether the component's strategy is custom.
bool is_custom(const Spec& spec, const Component& component);

/// Refuses (exit 4) to let go of a component that strategy custom made where k3s ships none: there would be none.
bool refuse_to_leave_none(Planner& planner, const Component& component);

/// What a Node says that k3s leaves alone there, the annotation by which it does (null: none), and the step that puts
/// it there.
std::set<std::string> aside_marks(const Json& node);
Json aside_annotation(const std::set<std::string>& names);
void plan_aside_mark(Planner& planner, const Json& node, const std::set<std::string>& names);

/// The servers of which is known that they leave the component's manifest alone; and whether all do.
std::vector<std::string> aside_on(const Planner& planner, const Component& component);
bool is_aside_everywhere(const Planner& planner, const Component& component);

/// Marks the servers' Nodes with what they leave alone, as far as it is wanted; refuses (exit 4) a wish for which a
/// server lacks the proof, or for which nothing is staged.
void plan_set_aside(Planner& planner);

/// Whether what is missing of k3s's objects beside the component's Deployment may be made again as k3s ships it: k3s
/// itself does at its next start alone.
bool mends(const Planner& planner, const Component& component);

/// The object as the release of the server that this runs on ships it, or, where nothing is staged, as k3s applied it
/// last; null: neither is known whole.
Json shipped(const Planner& planner, const kube::ObjectRef& ref);

/// What strategy custom makes of the object: the user's own, else what is shipped.
Json to_be(const Planner& planner, const kube::ObjectRef& ref);

/// Refuses objects of the user's that stand for none in k3s's manifest (exit 2), and a Deployment whose selector is
/// another than the live one's, for a selector cannot be changed.
void check_own_manifests(Planner& planner);

/// Whether the object is wholly ours, as strategy custom has it.
bool is_taken_over(const Json& object);

/// Whether the Deployment is k3s's, applied from its manifest, or, as strategy custom has it, by us in its place.
bool is_shipped(const Json& deployment);

/// The Deployment that new pods are derived from: what the release ships where it is ours or is to be, else `live`.
Json pods_base(const Planner& planner, const Component& component, const Json& live);

/// The set that we are to apply for an object of k3s's so that in the end we hold `wish` and no more.
struct HandBack {
  Json body;             ///< `wish`, and k3s's values where nobody but us holds a field of its manifest any more
  bool disowns = false;  ///< then these are let go by their mark alone: dropped, they would be gone
};
HandBack hand_back(const Planner& planner, const Json& live, const Json& wish);
/// The same with the values of another object, as it was before a change.
HandBack hand_back_to(const Json& theirs, const Json& live, const Json& wish);

/// The head of an apply body for an object, which may have no namespace.
Json head_of(const Json& object);

/// Has our set for the object be this; from one that is wholly ours, what k3s ships stays as it ships it.
void plan_set(Planner& planner, const std::string& id, const Json& wish, const std::string& reason);
/// The same where `theirs` is what k3s ships.
void plan_set_to(Planner& planner, const std::string& id, const Json& theirs, const Json& wish,
                 const std::string& reason);

/// Makes a missing object as k3s ships it, and lets it go: all that is ours of it is `wish`.
void plan_mended(Planner& planner, const std::string& id, const Json& theirs, const Json& wish,
                 const std::string& reason = "it is missing, and k3s makes it at its next start alone");

/// The objects of k3s's CoreDNS beside its Deployment and Service, as staged; {} where they are not.
std::vector<Json> shipped_coredns_objects(const cluster::Snapshot& snapshot);

/// The objects of k3s's CoreDNS beside its Deployment and Service, as the release ships them, the Corefile with
/// what the wish adds; without strategy custom, no field of ours in them.
void plan_coredns_objects(Planner& planner);

/// The Corefile in which the plugin `health` has so many seconds of lameduck; null: it has none that is bare.
std::optional<std::string> with_lameduck(const std::string& corefile, int seconds);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/managed_fields.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"

namespace core_ha::ha {

/// Annotation of what manifests of ours keep from being deleted (see manifests.cc).
inline constexpr const char* keep_annotation = "k3s-core-ha/keep";

/// Labels of the objects that are ours alone.
Json own_labels(std::string_view component);

/// `ref` as the head of an apply body.
Json apply_body(const kube::ObjectRef& ref);

/// Gathers a plan's steps. Knows what is live, so that a strategy says what it wishes and no more: what is so already
/// gives no step, and what others hold gives a refusal.
class Planner {
 public:
  Planner(const Spec& spec_, const cluster::Snapshot& snapshot_, Plan& plan);

  const Spec& spec;
  const cluster::Snapshot& snapshot;
  int expected = 0;  ///< pods that the steps so far bring to hosts where none of them was
  int stacked = 0;   ///< of them, so many may come to one host
  /// Of servers, what lies beside k3s's manifests there now (OnNodes::set_aside).
  std::map<std::string, std::set<std::string>> told_aside = {};
  bool sparing = false;  ///< CoreDNS needs the room that others would take: none is added before it

  void refuse(ExitStatus status, std::string sentence);
  bool refused() const { return plan_.refusal.has_value(); }
  void warn(std::string sentence) { plan_.warnings.push_back(std::move(sentence)); }

  /// Whether objects of the kind are observed.
  bool reads(std::string_view kind) const;
  /// The object as observed, or null.
  const Json* live(const kube::ObjectRef& ref) const;

  /// Whether the object has the body's values, and our manager holds its fields and no others.
  bool holds(const Json& body) const;

  /// Plans an apply of our whole set for the object that the body names; refused when k3s or somebody else holds a
  /// field of it against us.
  void apply(std::string id, const Json& body, std::string reason);
  /// The same where it is not so yet; true when a step was planned.
  bool ensure(std::string id, const Json& body, std::string reason);
  /// k3s leaves the object's manifest alone: no value in it is contested.
  void set_aside(const kube::ObjectRef& ref) { aside_.insert(ref); }
  /// Has us hold no more of the object than `body` has, and leaves every value as it is.
  void disown(std::string id, const Json& body);
  /// The step planned last is for the object as observed alone: anybody's later write makes it stale.
  void only_as_observed();
  /// The step planned last sets a count that an autoscaler takes over: what is greater by then stays.
  void at_least() { plan_.steps.back().at_least = true; }
  /// Once the step planned last is done, a run that fails goes back by a plan alone (Step::back_by_plan).
  void only_by_plan() { plan_.steps.back().back_by_plan = true; }
  /// A run that fails leaves what the step planned last has done (Step::stays_done).
  void stays_done() { plan_.steps.back().stays_done = true; }
  /// Takes the mark off by which manifests of ours keep the object from being deleted, if it is there.
  void unguard(const kube::ObjectRef& ref);
  void scale(std::string id, const kube::ObjectRef& ref, int replicas, std::string reason);
  /// Our set for the object is this, whether or not a step makes it so.
  void wish(const Json& body) { note_wish(body); }
  /// Plans to delete a lasting object of ours if it is there. `propagation`: as in Step.
  void remove_own(std::string id, const kube::ObjectRef& ref, std::string reason, std::string propagation = {});
  /// Any other step; it changes no lasting object.
  void add(Step step);

  std::size_t steps() const { return plan_.steps.size(); }

  /// Tells in a sentence what is not as wished for now.
  void leave(std::string sentence) { plan_.unmet.push_back(std::move(sentence)); }
  /// What is expected may leave CoreDNS no room.
  void crowd() { plan_.crowded = true; }

  /// Nodes whose usage must be known before this plan holds.
  void want_usage(const std::vector<std::string>& nodes);
  /// The object's count of replicas is a fixed one: manifests have no other way to keep it.
  void fix_count(const kube::ObjectRef& ref, int replicas) { plan_.counts[ref] = replicas; }
  /// The object is for `apply` alone: a tool that applies manifests would take more of it than is in them.
  void keep_out_of_manifests(const kube::ObjectRef& ref) { plan_.not_in_manifests.insert(ref); }
  void set_revision(std::int64_t revision) { plan_.revision = revision; }
  std::int64_t revision() const { return plan_.revision; }

  /// Fills in the plan's differences.
  void finish();

 private:
  struct Touched {
    kube::ObjectRef ref;
    Json before;
    Json after;
    std::set<cluster::FieldPath> held;  ///< our set after the steps so far
  };
  Touched& touch(const kube::ObjectRef& ref);
  void check(const Json& body, const Json* live);
  void note_wish(const Json& body);

  Plan& plan_;
  std::vector<Touched> touched_;
  std::set<kube::ObjectRef> aside_;
};

}  // namespace core_ha::ha

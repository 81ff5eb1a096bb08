// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "ha/spec.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

enum class Action {
  apply,               ///< server-side apply of `body`, our whole wished set; creates what is missing
  scale,               ///< `body` {"spec":{"replicas":N}} as merge patch of the scale subresource
  patch,               ///< `body` as merge patch, `uid` as precondition
  disown,              ///< hold by server-side apply no more than `body` has; every value stays as it is
  remove,              ///< delete, `uid` as precondition; already gone is done
  wait_rollout,        ///< as kubectl rollout status
  wait_gone,           ///< until the object, as `uid`, is gone
  wait_pods_gone,      ///< until no pod in the namespace of `object` that `selector` selects can run any more
  wait_pods_ready,     ///< until as many pods as `body` says, as of scale, that `selector` selects are ready and owned,
                       ///< besides those of `pod_uids`
  wait_chart,          ///< until the chart's job `object` is complete, for another configuration than `former`
  wait_endpoints_gone  ///< until no EndpointSlice of Service `object` names a pod of `pod_uids`, then `settle` longer
};

/// `apply`, `wait_endpoints_gone`: the `action` of results.
std::string_view to_string(Action action);

/// Whether it changes nothing.
bool is_wait(Action action);

/// One thing to do, as plain data: made by plan, carried out by act, shown by report.
struct Step {
  std::string id = {};  ///< unique in its plan
  Action action = Action::apply;
  kube::ObjectRef object = {};
  std::string reason = {};                 ///< one sentence: why
  Json body = {};                          ///< apply, scale, patch, disown, wait_pods_ready
  std::string manager = "k3s-core-ha";     ///< apply, scale, patch, disown
  std::string version = {};                ///< apply: only while the object has this resourceVersion; empty: whichever
  std::string uid = {};                    ///< patch, remove, wait_gone: only this object; empty: any of that name
  std::string propagation = {};            ///< remove: Orphan, Background; empty: the kind's default
  std::string selector = {};               ///< wait_pods_gone, wait_pods_ready: of labels
  std::string former = {};                 ///< wait_chart: the configuration's hash before; empty: any will do
  bool back_by_plan = false;               ///< once it is done, going back step by step would be unsafe
  bool stays_done = false;                 ///< going back leaves it as it is
  bool at_least = false;                   ///< scale: a greater count that others have set meanwhile stays
  bool made_anew = false;                  ///< remove: another makes it again, so it is no difference
  bool unscheduled = false;                ///< remove: a pod, only as long as it has no node
  std::vector<std::string> pod_uids = {};  ///< wait_endpoints_gone, wait_pods_ready
  std::chrono::seconds settle{0};          ///< wait_endpoints_gone: for what kube-proxies still have under way
};

/// Whether an apply may take `field` (`.spec.replicas`) from this manager by force: from k3s's deploy controller and
/// from ourselves any field, from the HPA's controller the count of replicas. Nothing from anybody else.
bool may_force(std::string_view owner, std::string_view field);

/// The failure that is survived, and why this one, in a sentence.
struct Level {
  std::string name;  ///< `none`, `node` or `zone`
  std::string reason;
};

/// What an object would be; a dry run by the server says it better, where there is a server.
struct Difference {
  kube::ObjectRef object;
  Json before;  ///< null: it does not exist
  Json after;   ///< null: it goes
};

/// What is to be done, or why it is refused. Made without any I/O.
struct Plan {
  Level level;
  std::vector<Step> steps;        ///< empty: nothing to do
  std::vector<Json> wished = {};  ///< our whole set for each lasting object, whether it is so already or not
  std::map<kube::ObjectRef, int> counts = {};       ///< fixed counts of replicas, which manifests must hold
  std::set<kube::ObjectRef> not_in_manifests = {};  ///< a tool that applies them would take more than is in them
  std::vector<Difference> diff;                     ///< one for each lasting object that a step changes
  std::vector<std::string> warnings;                ///< sentences for a person
  std::vector<std::string> unmet = {};              ///< what is not as wished for now: more of them
  Json components = Json::object();                 ///< how each stands, as observed: strategy, replicas, ready, nodes
  Json predicted = Json::object();
  std::int64_t revision = 0;             ///< of the wish, as the cluster keeps it; 0: it keeps none
  bool crowded = false;                  ///< what it makes first may leave CoreDNS no room
  std::vector<std::string> unread = {};  ///< nodes whose usage decides: observe it, and plan anew
  std::optional<Error> refusal;          ///< set: the steps must not be carried out
};

/// What a run knows of nodes besides what the API says.
struct OnNodes {
  std::vector<std::string> carriers = {};  ///< that have the helper at helper_path
  /// Of servers, k3s's manifests beside which a `.skip` lies, by their files' names without `.yaml`.
  std::map<std::string, std::set<std::string>> set_aside = {};
};

/// The steps that lead from the cluster as observed to the wish, from whatever point an earlier run was stopped at.
/// `revision`: the wish's, where it is known; a lower one than the cluster's is refused.
Plan make_plan(const Spec& spec, const cluster::Snapshot& snapshot, std::optional<std::int64_t> revision = {},
               const OnNodes& on_nodes = {});

}  // namespace core_ha::ha

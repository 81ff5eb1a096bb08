// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/rollout.h"

#include <fmt/format.h>

#include <map>
#include <optional>

namespace core_ha::act {
namespace {

const Json& member(const Json& map, const char* key) {
  static const Json none;
  if (!map.is_object()) return none;
  const auto it = map.find(key);
  return it == map.end() ? none : *it;
}

long number(const Json& map, const char* key, long otherwise = 0) {
  const Json& value = member(map, key);
  return value.is_number_integer() ? value.get<long>() : otherwise;
}

bool deadline_exceeded(const Json& status) {
  for (const Json& condition : member(status, "conditions"))
    if (member(condition, "type") == "Progressing" && member(condition, "reason") == "ProgressDeadlineExceeded")
      return true;
  return false;
}

/// What the DaemonSet's own counts say before any pod of it is looked at; nothing: that they are not in the way.
std::optional<Rollout> not_begun(const Json& daemonset) {
  const Json& status = member(daemonset, "status");
  if (number(member(daemonset, "metadata"), "generation") > number(status, "observedGeneration"))
    return Rollout{Rollout::State::waiting, "the change has not been seen by the controller yet"};
  return std::nullopt;
}

}  // namespace

Rollout rollout_status(const Json& deployment) {
  using enum Rollout::State;
  const Json& status = member(deployment, "status");
  const long wanted = number(member(deployment, "spec"), "replicas", 1);
  const long updated = number(status, "updatedReplicas");
  const long all = number(status, "replicas");
  const long available = number(status, "availableReplicas");
  if (number(member(deployment, "metadata"), "generation") > number(status, "observedGeneration"))
    return {waiting, "the change has not been seen by the controller yet"};
  if (deadline_exceeded(status)) return {failed, "the rollout made no progress within its deadline"};
  if (updated < wanted) return {waiting, fmt::format("{} of {} new replicas exist", updated, wanted)};
  if (all > updated) return {waiting, fmt::format("{} old replicas are still there", all - updated)};
  if (available < updated) return {waiting, fmt::format("{} of {} new replicas are available", available, updated)};
  return {done, fmt::format("{} of {} replicas are available", available, wanted)};
}

Rollout daemonset_rollout_status(const Json& daemonset) {
  using enum Rollout::State;
  if (auto early = not_begun(daemonset)) return *early;
  const Json& status = member(daemonset, "status");
  const long desired = number(status, "desiredNumberScheduled");
  const long updated = number(status, "updatedNumberScheduled");
  const long available = number(status, "numberAvailable");
  if (updated < desired) return {waiting, fmt::format("{} of {} nodes have a new pod", updated, desired)};
  if (available < desired) return {waiting, fmt::format("{} of {} new pods are available", available, desired)};
  return {done, fmt::format("{} of {} pods are available", available, desired)};
}

Rollout daemonset_rollout_status(const Json& daemonset, const std::vector<Json>& pods,
                                 const std::set<std::string>& not_ready) {
  using enum Rollout::State;
  if (auto early = not_begun(daemonset)) return *early;
  std::map<std::string, bool> available;  // by node
  for (const Json& pod : pods) {
    const bool ending = !member(member(pod, "metadata"), "deletionTimestamp").is_null();
    bool& one = available[node_of_daemon(pod)];
    one = one || (!ending && is_ready(pod));
  }
  const Json& status = member(daemonset, "status");
  const auto desired = number(status, "desiredNumberScheduled");
  long absent = 0;
  long there = 0;
  for (const auto& [node, one] : available) {
    if (not_ready.contains(node))
      ++absent;
    else if (one)
      ++there;
  }
  const std::string words =
      fmt::format("{} of {} pods are available, {} are on nodes that are not ready", there, desired, absent);
  const bool everywhere = there > 0 && there + absent >= desired;
  const bool updated = number(status, "updatedNumberScheduled") >= desired - absent;
  return {everywhere && updated ? done : waiting, words};
}

std::string node_of_daemon(const Json& pod) {
  const Json& spec = member(pod, "spec");
  if (const Json& bound = member(spec, "nodeName"); bound.is_string()) return bound.get<std::string>();
  const Json& required =
      member(member(member(spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution");
  for (const Json& term : member(required, "nodeSelectorTerms"))
    for (const Json& field : member(term, "matchFields"))
      if (const Json& values = member(field, "values"); values.is_array() && !values.empty() && values[0].is_string())
        return values[0].get<std::string>();
  return {};
}

bool is_ready(const Json& object) {
  for (const Json& condition : member(member(object, "status"), "conditions"))
    if (member(condition, "type") == "Ready") return member(condition, "status") == "True";
  return false;
}

}  // namespace core_ha::act

// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/rollout.h"

#include <fmt/format.h>

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

}  // namespace core_ha::act

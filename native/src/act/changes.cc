// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/changes.h"

#include <algorithm>

#include "cluster/snapshot.h"

namespace core_ha::act {

void Changes::note(const ha::Step& step, const Written& written) {
  if (step.object.kind == "Pod" || step.object.kind == "ReplicaSet") return;
  auto at = std::find_if(changes_.begin(), changes_.end(), [&](const Change& c) { return c.object == step.object; });
  if (step.action == ha::Action::scale) {
    // The answers are Scale objects: only the count is of interest, and only in an object noted before or later.
    const auto count = [](const Json& scale) { return scale.value(Json::json_pointer("/spec/replicas"), Json()); };
    if (at == changes_.end()) at = changes_.insert(at, {step.object, Json::object(), Json::object()});
    if (!at->before.is_null() && !at->before.contains("kind")) at->before["spec"]["replicas"] = count(written.before);
    if (!at->after.is_null()) at->after["spec"]["replicas"] = count(written.after);
    return;
  }
  if (at == changes_.end()) {
    changes_.push_back({step.object, cluster::lasting(written.before), cluster::lasting(written.after)});
    return;
  }
  Json after = cluster::lasting(written.after);
  // A dry run of one step does not know of the scale step before it.
  if (const auto scaled = Json::json_pointer("/spec/replicas");
      at->after.is_object() && at->after.contains(scaled) && after.is_object() && after.contains(scaled))
    after[scaled] = at->after[scaled];
  if (at->before.is_object() && !at->before.contains("kind")) at->before = cluster::lasting(written.before);
  at->after = std::move(after);
}

void Changes::refresh(kube::Client& client) {
  for (Change& change : changes_) {
    const auto now = client.get_object(change.object);
    if (now)
      change.after = cluster::lasting(*now);
    else if (now.error().not_found())
      change.after = Json();
  }
}

std::vector<Change> Changes::list() const {
  std::vector<Change> differing;
  std::copy_if(changes_.begin(), changes_.end(), std::back_inserter(differing),
               [](const Change& change) { return change.before != change.after; });
  return differing;
}

}  // namespace core_ha::act

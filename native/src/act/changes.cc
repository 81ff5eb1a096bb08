// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/changes.h"

#include <algorithm>

#include "cluster/snapshot.h"

namespace core_ha::act {

void Changes::note(const ha::Step& step, const Written& written) {
  const std::string& kind = step.object.kind;
  if (step.made_anew) return;
  if (kind == "Pod" || kind == "ReplicaSet" || kind == "ControllerRevision" || kind == "Job") return;
  const auto at =
      std::find_if(changes_.begin(), changes_.end(), [&](const Change& c) { return c.object == step.object; });
  if (at == changes_.end()) {
    changes_.push_back({step.object, cluster::lasting(written.before), cluster::lasting(written.after)});
    return;
  }
  // In a dry run the server answers each step as if the others had not been: the count comes from the scale step, the
  // rest from the last apply.
  const Json::json_pointer count("/spec/replicas");
  Json after = cluster::lasting(written.after);
  if (step.action == ha::Action::scale) {
    if (at->after.is_object()) at->after[count] = after[count];
    return;
  }
  if (at->after.is_object() && at->after.contains(count) && after.is_object() && after.contains(count) &&
      at->after[count] != at->before.value(count, Json()) && !step.body.contains(count))
    after[count] = at->after[count];
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

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

enum class Action {
  apply,               ///< server-side apply of `body`; creates what is missing
  scale,               ///< `body` {"spec":{"replicas":N}} as merge patch of the scale subresource
  patch,               ///< `body` as merge patch, `uid` as precondition
  remove,              ///< delete, `uid` as precondition; already gone is done
  wait_rollout,        ///< as kubectl rollout status
  wait_gone,           ///< until the object, as `uid`, is gone
  wait_endpoints_gone  ///< until no EndpointSlice of Service `object` names a pod of `pod_uids`, then `settle` longer
};

/// `apply`, `wait_endpoints_gone`: the `action` of results.
std::string_view to_string(Action action);

/// One thing to do, as plain data: made by plan, carried out by act, shown by report.
struct Step {
  std::string id;  ///< unique in its plan
  Action action = Action::apply;
  kube::ObjectRef object;
  std::string reason;       ///< one sentence: why
  Json body;                ///< apply, scale, patch
  std::string manager = "k3s-core-ha";  ///< apply, scale, patch
  std::string uid;          ///< patch, remove, wait_gone: only this object; empty: any of that name
  std::string propagation;  ///< remove: Orphan, Background; empty: the kind's default
  std::vector<std::string> pod_uids;   ///< wait_endpoints_gone
  std::chrono::seconds settle{0};      ///< wait_endpoints_gone: for what kube-proxies still have under way
};

}  // namespace core_ha::ha

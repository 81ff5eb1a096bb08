// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "act/rollout.h"
#include "base/interrupt.h"
#include "base/log.h"

namespace core_ha::act {
namespace {

/// What is waited for: over (well or not), or what is still missing.
struct Look {
  bool over = false;
  std::optional<Error> failed = {};
  std::string words = {};
};

Error interrupted_error() {
  return {ExitStatus::interrupted, "interrupted"};
}

std::string uid_of(const Json& object) {
  return object.value(Json::json_pointer("/metadata/uid"), std::string());
}

Look look_at_rollout(const ha::Step& step, const kube::Objects& found) {
  const std::string name = to_string(step.object);
  if (found.empty()) return {.over = true, .failed = Error{ExitStatus::api, name + " is gone"}};
  const Rollout rollout = rollout_status(found.begin()->second);
  if (rollout.state == Rollout::State::failed)
    return {.over = true, .failed = Error{ExitStatus::api, fmt::format("{}: {}", name, rollout.words)}};
  return {.over = rollout.state == Rollout::State::done, .words = rollout.words};
}

Look look_whether_gone(const ha::Step& step, const kube::Objects& found) {
  const bool gone = found.empty() || (!step.uid.empty() && uid_of(found.begin()->second) != step.uid);
  return {.over = gone, .words = "it is still there"};
}

Look look_at_endpoints(const ha::Step& step, const kube::Objects& slices) {
  size_t named = 0;
  for (const auto& [name, slice] : slices) {
    for (const Json& endpoint : slice.value("endpoints", Json::array())) {
      const auto uid = endpoint.value(Json::json_pointer("/targetRef/uid"), std::string());
      if (std::find(step.pod_uids.begin(), step.pod_uids.end(), uid) != step.pod_uids.end()) ++named;
    }
  }
  return {.over = named == 0, .words = fmt::format("{} of its pods still named", named)};
}

/// The objects that a step waits for.
kube::Read objects_of(const ha::Step& step) {
  if (step.action == ha::Action::wait_endpoints_gone)
    return {.path = kube::rest_path({"discovery.k8s.io/v1", "EndpointSlice", step.object.ns, ""}),
            .list = true,
            .label_selector = "kubernetes.io/service-name=" + step.object.name};
  kube::ObjectRef all = step.object;
  all.name.clear();
  return {.path = kube::rest_path(all), .list = true, .field_selector = "metadata.name=" + step.object.name};
}

Look look(const ha::Step& step, const kube::Objects& found) {
  switch (step.action) {
    case ha::Action::wait_rollout: return look_at_rollout(step, found);
    case ha::Action::wait_gone: return look_whether_gone(step, found);
    default: return look_at_endpoints(step, found);
  }
}

}  // namespace

Result<void> wait_for(const ha::Step& step, kube::Client& client, std::chrono::seconds timeout) {
  const auto start = Deadline::Clock::now();
  Look now{.words = "nothing was heard of it"};
  const auto seen = client.follow(
      objects_of(step),
      [&](const kube::Objects& found) {
        Look next = look(step, found);
        if (!next.over && next.words != now.words) log::progress(fmt::format("{}: {}", step.id, next.words));
        now = std::move(next);
        return now.over;
      },
      Deadline::after(timeout));
  if (!seen) return seen.error().as_error();
  if (!*seen)
    return Error{ExitStatus::api,
                 fmt::format("{}: after {:.0f} s of waiting {}", to_string(step.object),
                             std::chrono::duration<double>(Deadline::Clock::now() - start).count(), now.words)};
  if (now.failed) return *now.failed;
  if (step.settle.count() > 0 && !sleep_for(step.settle)) return interrupted_error();
  return {};
}

}  // namespace core_ha::act

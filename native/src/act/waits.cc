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

/// One look at what is waited for: over (well or not), or what is still missing.
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

Look look_at_rollout(const ha::Step& step, kube::Client& client) {
  const auto deployment = client.get_object(step.object);
  if (!deployment) {
    if (may_pass(deployment.error())) return {.words = deployment.error().message};
    return {.over = true, .failed = deployment.error().as_error()};  // deleted while waiting is a failure, too
  }
  const Rollout rollout = rollout_status(*deployment);
  if (rollout.state == Rollout::State::failed)
    return {.over = true,
            .failed = Error{ExitStatus::api, fmt::format("{}: {}", to_string(step.object), rollout.words)}};
  return {.over = rollout.state == Rollout::State::done, .words = rollout.words};
}

Look look_whether_gone(const ha::Step& step, kube::Client& client) {
  const auto object = client.get_object(step.object);
  if (object) {
    const bool another = !step.uid.empty() && uid_of(*object) != step.uid;
    return {.over = another, .words = "it is still there"};
  }
  if (object.error().not_found()) return {.over = true};
  if (may_pass(object.error())) return {.words = object.error().message};
  return {.over = true, .failed = object.error().as_error()};
}

Look look_at_endpoints(const ha::Step& step, kube::Client& client) {
  const kube::Read read{.path = kube::rest_path({"discovery.k8s.io/v1", "EndpointSlice", step.object.ns, ""}),
                        .list = true,
                        .label_selector = "kubernetes.io/service-name=" + step.object.name};
  const auto slices = std::move(client.read_all({read}).front());
  if (!slices) {
    if (may_pass(slices.error())) return {.words = slices.error().message};
    return {.over = true, .failed = slices.error().as_error()};
  }
  size_t named = 0;
  for (const Json& slice : slices->value("items", Json::array())) {
    for (const Json& endpoint : slice.value("endpoints", Json::array())) {
      const auto uid = endpoint.value(Json::json_pointer("/targetRef/uid"), std::string());
      if (std::find(step.pod_uids.begin(), step.pod_uids.end(), uid) != step.pod_uids.end()) ++named;
    }
  }
  return {.over = named == 0, .words = fmt::format("{} of its pods still named", named)};
}

Look look(const ha::Step& step, kube::Client& client) {
  switch (step.action) {
    case ha::Action::wait_rollout: return look_at_rollout(step, client);
    case ha::Action::wait_gone: return look_whether_gone(step, client);
    default: return look_at_endpoints(step, client);
  }
}

}  // namespace

bool may_pass(const kube::ApiError& error) {
  if (error.status == ExitStatus::interrupted) return false;
  return error.no_answer() || error.code == 429 || error.code >= 500;
}

Result<void> wait_for(const ha::Step& step, kube::Client& client, const WaitOptions& options) {
  const Deadline until = Deadline::after(options.timeout);
  std::string said;
  for (;;) {
    Look now = look(step, client);
    if (now.failed) return *now.failed;
    if (now.over) break;
    if (should_stop()) return interrupted_error();
    if (now.words != said) log::progress(fmt::format("{}: {}", step.id, now.words));
    said = now.words;
    if (until.expired())
      return Error{ExitStatus::api, fmt::format("{}: after {} s of waiting {}", to_string(step.object),
                                                options.timeout.count(), now.words)};
    if (!sleep_for(options.poll)) return interrupted_error();
  }
  if (step.settle.count() > 0 && !sleep_for(step.settle)) return interrupted_error();
  return {};
}

}  // namespace core_ha::act

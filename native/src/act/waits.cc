// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/waits.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "act/rollout.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/helm.h"

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

Look look_at_rollout(const ha::Step& step, const kube::Objects& found) {
  const std::string name = to_string(step.object);
  if (found.empty()) return {.over = true, .failed = Error{ExitStatus::api, name + " is gone"}};
  const Json& object = found.begin()->second;
  const Rollout rollout = step.object.kind == "DaemonSet" ? daemonset_rollout_status(object) : rollout_status(object);
  if (rollout.state == Rollout::State::failed)
    return {.over = true, .failed = Error{ExitStatus::api, fmt::format("{}: {}", name, rollout.words)}};
  return {.over = rollout.state == Rollout::State::done, .words = rollout.words};
}

Look look_whether_gone(const ha::Step& step, const kube::Objects& found) {
  const bool gone = found.empty() || (!step.uid.empty() && kube::uid_of(found.begin()->second) != step.uid);
  return {.over = gone, .words = "it is still there"};
}

Look look_whether_pods_gone(const kube::Objects& pods) {
  if (pods.empty()) return {.over = true};
  const auto& [name, pod] = *pods.begin();
  const std::string node = pod.value(Json::json_pointer("/spec/nodeName"), std::string());
  return {.words = fmt::format("pod {} is still there, on {}", name, node.empty() ? "no node" : node)};
}

/// The Deployment's own status would not do: it tells of the pods that it had, until its controller has seen that one
/// was let go.
Look look_at_pods(const ha::Step& step, const kube::Objects& pods) {
  const int wanted = step.body.value(Json::json_pointer("/spec/replicas"), 0);
  const auto ready = std::count_if(pods.begin(), pods.end(), [&](const auto& pod) {
    const Json& metadata = pod.second["metadata"];
    const bool counts =
        std::find(step.pod_uids.begin(), step.pod_uids.end(), kube::uid_of(pod.second)) == step.pod_uids.end();
    return counts && metadata.contains("ownerReferences") && !metadata.contains("deletionTimestamp") &&
           is_ready(pod.second);
  });
  return {.over = ready >= wanted, .words = fmt::format("{} of {} pods are ready", ready, wanted)};
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

Look look_at_chart(const ha::Step& step, const kube::Objects& found) {
  if (found.empty()) return {.words = "it is not there"};
  const Json& job = found.begin()->second;
  if (job["metadata"].contains("deletionTimestamp")) return {.words = "it is about to be replaced"};
  if (!step.former.empty() && cluster::config_hash(job) == step.former)
    return {.words = "helm-controller has not taken the change up"};
  if (cluster::has_failed(job))
    return {.over = true, .failed = Error{ExitStatus::api, fmt::format("{} has failed", to_string(step.object))}};
  return {.over = cluster::is_complete(job), .words = "it has not come to its end"};
}

/// What a container's status says of why it does not run, or ended badly; empty: nothing.
std::string trouble_of(const Json& status) {
  // How it ended says more than that it waits to be started again.
  for (const char* state : {"/state/terminated", "/lastState/terminated", "/state/waiting"}) {
    const Json::json_pointer at(state);
    if (!status.contains(at)) continue;
    const Json& why = status.at(at);
    if (why.value("exitCode", 1) == 0) continue;
    std::string words = why.value("reason", "");
    if (why.contains("exitCode")) words += fmt::format(", exit status {}", why["exitCode"].dump());
    if (const std::string message = why.value("message", ""); !message.empty()) words += ": " + message;
    std::replace(words.begin(), words.end(), '\n', ' ');
    return words;
  }
  return {};
}

/// Why no node takes a pod; empty: one does, or nothing is known.
std::string why_nowhere(const Json& status) {
  for (const Json& condition : status.value("conditions", Json::array()))
    if (condition.value("type", "") == "PodScheduled" && condition.value("status", "") == "False")
      return fmt::format("{}: {}", condition.value("reason", ""), condition.value("message", ""));
  return {};
}

/// The job of helm-controller's on which it depends what is waited for; empty: none.
std::string job_behind(const ha::Step& step) {
  if (step.action == ha::Action::wait_chart) return step.object.name;
  return step.action == ha::Action::wait_gone && step.object.kind == "HelmChart" ? "helm-delete-" + step.object.name
                                                                                 : "";
}

/// The trouble of the last pod of that job, as the end of a sentence; empty: nothing is known.
std::string trouble_of_job(const ha::Step& step, kube::Client& client) {
  const std::string job = job_behind(step);
  if (job.empty()) return {};
  const kube::ObjectRef all{"v1", "Pod", step.object.ns, ""};
  auto answers = client.read_all(
      {{.path = rest_path(all), .list = true, .label_selector = "batch.kubernetes.io/job-name=" + job}});
  if (!answers.front()) return {};
  const Json* last = nullptr;
  const Json::json_pointer made("/metadata/creationTimestamp");
  for (const Json& pod : (*answers.front())["items"])
    if (last == nullptr || last->value(made, "") <= pod.value(made, "")) last = &pod;
  if (last == nullptr) return "; it has no pod";
  const Json status = last->value("status", Json::object());
  std::string words;
  for (const Json& container : status.value("containerStatuses", Json::array()))
    if (words.empty()) words = trouble_of(container);
  if (words.empty()) words = why_nowhere(status);
  const std::string name = (*last)["metadata"].value("name", "");
  return words.empty() ? fmt::format("; its pod {} is {}", name, status.value("phase", "without a phase"))
                       : fmt::format("; its pod {}: {}", name, words);
}

/// How often helm may fail at a chart before it is taken for certain: each time leaves a failed release behind, of
/// which helm keeps ten. And how long to wait between two looks, until the next job is made.
constexpr std::size_t tries = 3;
constexpr std::chrono::seconds between_jobs{2};

/// Whether the chart's job, which is at its end, has done what it was for; else it is one more of those that `failed`.
bool has_deployed(const ha::Step& step, kube::Client& client, std::set<std::string>& failed) {
  const auto job = client.get_object(step.object);
  if (!job) return false;
  const std::string label = cluster::release_label(*job);
  if (label.empty()) return true;
  auto answers = client.read_all({cluster::release_secrets(step.object.ns, "status=deployed," + label)});
  if (!answers.front()) return false;
  if (cluster::is_deployed(*job, (*answers.front())["items"])) return true;
  if (cluster::is_complete(*job)) failed.insert(kube::uid_of(*job));
  return false;
}

/// Whether the job, which has not come to its end and may never do so, is for what helm has deployed last: so it is
/// where a configuration that no job could apply was taken back.
bool has_nothing_to_do(const ha::Step& step, kube::Client& client) {
  const auto job = client.get_object(step.object);
  if (!job || (*job)["metadata"].contains("deletionTimestamp") || cluster::config_hash(*job) == step.former)
    return false;
  auto answers = client.read_all({cluster::release_secrets_of(*job)});
  return answers.front() && cluster::is_in_force(*job, (*answers.front())["items"]);
}

/// The objects that a step waits for.
kube::Read objects_of(const ha::Step& step) {
  if (step.action == ha::Action::wait_endpoints_gone)
    return {.path = kube::rest_path({"discovery.k8s.io/v1", "EndpointSlice", step.object.ns, ""}),
            .list = true,
            .label_selector = "kubernetes.io/service-name=" + step.object.name};
  if (step.action == ha::Action::wait_pods_gone)
    return {.path = kube::rest_path({"v1", "Pod", step.object.ns, ""}),
            .list = true,
            .label_selector = step.selector,
            .field_selector = kube::pods_that_run};
  if (step.action == ha::Action::wait_pods_ready)
    return {.path = kube::rest_path({"v1", "Pod", step.object.ns, ""}), .list = true, .label_selector = step.selector};
  kube::ObjectRef all = step.object;
  all.name.clear();
  return {.path = kube::rest_path(all), .list = true, .field_selector = "metadata.name=" + step.object.name};
}

Look look(const ha::Step& step, const kube::Objects& found) {
  switch (step.action) {
    case ha::Action::wait_rollout: return look_at_rollout(step, found);
    case ha::Action::wait_gone: return look_whether_gone(step, found);
    case ha::Action::wait_pods_gone: return look_whether_pods_gone(found);
    case ha::Action::wait_pods_ready: return look_at_pods(step, found);
    case ha::Action::wait_chart: return look_at_chart(step, found);
    default: return look_at_endpoints(step, found);
  }
}

/// How long a DaemonSet's own counts are waited for before the pods and nodes behind them are looked at: at first, and
/// at most.
constexpr std::chrono::seconds first_look{1};
constexpr std::chrono::seconds longest_look{8};

/// Whether all that the DaemonSet lacks is on nodes that are not ready: such a wait would have no end. Nothing where
/// that cannot be told now.
std::optional<Rollout> look_at_daemons(const ha::Step& step, kube::Client& client) {
  const auto daemonset = client.get_object(step.object);
  if (!daemonset) return std::nullopt;
  kube::ObjectRef all{"v1", "Pod", step.object.ns, ""};
  auto answers = client.read_all({{.path = rest_path(all), .list = true, .label_selector = cluster::component_label}});
  if (!answers.front()) return std::nullopt;
  std::vector<Json> pods;
  std::set<std::string> not_ready;
  for (Json& pod : (*answers.front())["items"]) {
    const Json owners = pod.value(Json::json_pointer("/metadata/ownerReferences"), Json::array());
    if (std::none_of(owners.begin(), owners.end(),
                     [&](const Json& owner) { return owner.value("uid", "") == kube::uid_of(*daemonset); }))
      continue;
    const std::string name = node_of_daemon(pod);
    if (!is_ready(pod) && !name.empty()) {
      const auto node = client.get_object({"v1", "Node", "", name});
      if (node ? !is_ready(*node) : node.error().not_found()) not_ready.insert(name);
    }
    pods.push_back(std::move(pod));
  }
  if (not_ready.empty()) return std::nullopt;
  return daemonset_rollout_status(*daemonset, pods, not_ready);
}

}  // namespace

Result<void> wait_for(const ha::Step& step, kube::Client& client, std::chrono::seconds timeout) {
  const auto start = Deadline::Clock::now();
  const Deadline until = Deadline::after(timeout);
  const bool by_nodes = step.action == ha::Action::wait_rollout && step.object.kind == "DaemonSet";
  Look now{.words = "nothing was heard of it"};
  std::set<std::string> failed_jobs;
  for (auto slice = first_look;; slice = std::min(2 * slice, longest_look)) {
    const auto rest = std::chrono::ceil<std::chrono::seconds>(until.remaining());
    const auto seen = client.follow(
        objects_of(step),
        [&](const kube::Objects& found) {
          Look next = look(step, found);
          if (!next.over && next.words != now.words) log::progress(fmt::format("{}: {}", step.id, next.words));
          now = std::move(next);
          return now.over;
        },
        by_nodes ? Deadline::after(std::min(slice, rest)) : until);
    if (!seen) return seen.error().as_error();
    if (*seen && step.action == ha::Action::wait_chart && !now.failed) {
      if (has_deployed(step, client, failed_jobs)) break;
      now = {.words = fmt::format("helm could not apply the chart (`kubectl -n {} logs job/{}` says why)",
                                  step.object.ns, step.object.name)};
      if (failed_jobs.size() == tries)
        return Error{ExitStatus::api,
                     fmt::format("{}: {} jobs came to their end, and {}", to_string(step.object), tries, now.words)};
      log::progress(fmt::format("{}: {}", step.id, now.words));
      if (!sleep_for(between_jobs)) return interrupted_error();
      if (!until.expired()) continue;
    } else if (*seen) {
      break;
    }
    if (by_nodes) {
      if (const auto rollout = look_at_daemons(step, client)) {
        now.words = rollout->words;
        if (rollout->state == Rollout::State::done) {
          log::progress(fmt::format("{}: {}; it goes on without those", step.id, rollout->words));
          break;
        }
      }
      if (should_stop()) return interrupted_error();
      if (!until.expired()) continue;
    }
    std::string words = fmt::format("after {:.0f} s of waiting {}{}",
                                    std::chrono::duration<double>(Deadline::Clock::now() - start).count(), now.words,
                                    trouble_of_job(step, client));
    if (step.action == ha::Action::wait_chart && has_nothing_to_do(step, client)) {
      log::progress(fmt::format("{}: {}; what it is for is deployed already", step.id, words));
      break;
    }
    return Error{ExitStatus::api, fmt::format("{}: {}", to_string(step.object), words)};
  }
  if (now.failed && step.action == ha::Action::wait_chart) now.failed->message += trouble_of_job(step, client);
  if (now.failed) return *now.failed;
  if (step.settle.count() > 0 && !sleep_for(step.settle)) return interrupted_error();
  return {};
}

}  // namespace core_ha::act

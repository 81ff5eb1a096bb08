// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/writes.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/backoff.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/managed_fields.h"
#include "ha/strategies/component.h"

namespace core_ha::act {
namespace {

using kube::ApiError;
using kube::ApiResult;

constexpr int attempts = 6;  // with the pauses between them 15 s: longer than a datastore takes to elect
constexpr int versions = 5;  // that another writer may move on from while we write (util/retry/util.go)
const Json::json_pointer replicas_at("/spec/replicas");

std::string version_of(const Json& object) {
  return object.is_object() ? object.value(Json::json_pointer("/metadata/resourceVersion"), std::string()) : "";
}

WriteError from(const ApiError& error, bool stale = false) {
  return WriteError{error.as_error(), stale};
}

/// A write that knows how to recognise its own effect.
struct Attempt {
  std::function<ApiResult<Json>()> send;
  std::function<ApiResult<Json>()> read_back;
  std::function<bool(const Json*)> is_done;  ///< of what was read back; null: not there
};

struct Answer {
  ApiResult<Json> result;
  bool unknown = false;  ///< it failed, but may have been done all the same
};

ApiError plain_error(ExitStatus status, std::string message) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  return error;
}

/// Whether the write may have been done for all that the error says: no answer, or that of a server in trouble.
bool unclear(const ApiError& error) {
  return error.sent || error.no_answer() || error.code == 429 || error.code >= 500;
}

/// Sends once; without a clear answer reads back. Nothing: it is certain that it was not done, and why is in `answer`.
std::optional<Answer> send_once(const Attempt& attempt, const WriteOptions& options, ApiResult<Json>& answer) {
  const InterruptShield shield;  // a signal leaves no write behind whose outcome could have been known
  answer = attempt.send();
  if (answer && answer->is_object()) return Answer{std::move(answer)};
  if (answer) answer = plain_error(ExitStatus::api, "the API answered a write with something that is no object");
  if (!unclear(answer.error())) return Answer{std::move(answer)};
  log::progress(fmt::format("{}; reading back whether it was done", answer.error().message));
  auto now = read_patiently(attempt.read_back, options);
  if (!now && !now.error().not_found()) return Answer{std::move(answer), !options.dry_run};
  if (attempt.is_done(now ? &*now : nullptr)) return Answer{now ? std::move(now) : Json::object()};
  return std::nullopt;
}

/// Sends, and sends again only what is not there.
Answer send_surely(const Attempt& attempt, const WriteOptions& options) {
  const Deadline until = Deadline::after(options.patience);
  ApiResult<Json> answer = Json();
  for (int i = 1;; ++i) {
    if (auto certain = send_once(attempt, options, answer)) return std::move(*certain);
    if (until.expired() || (i == attempts && !options.back)) return {std::move(answer)};
    if (!sleep_for(options.poll * (1 << std::min(i - 1, 4))))
      return {plain_error(ExitStatus::interrupted, "interrupted")};
  }
}

/// The error of a write that is described by `planned`, should it have been done.
WriteError from(const Answer& answer, bool stale, const Written& planned) {
  WriteError error = from(answer.result.error(), stale);
  if (answer.unknown) error.perhaps = planned;
  return error;
}

WriteError stored_otherwise(std::string message, const Written& written, const WriteOptions& options) {
  WriteError error{{ExitStatus::conflict, std::move(message)}};
  if (!options.dry_run) error.perhaps = written;
  return error;
}

/// The body's values as the server has them; the first field that differs, or nothing.
std::optional<std::string> first_difference(const Json& body, const Json& stored) {
  for (const auto& path : cluster::fields_in(body)) {
    const Json* const wanted = cluster::value_at(body, path);
    if (wanted != nullptr && !cluster::has_value(stored, path, *wanted)) return cluster::to_string(path);
  }
  return std::nullopt;
}

bool holds_exactly(const Json& stored, const ha::Step& step) {
  return cluster::applied_fields(stored, step.manager) == cluster::fields_in(step.body) &&
         !first_difference(step.body, stored);
}

Error conflict_error(const kube::ObjectRef& ref, const std::vector<kube::FieldConflict>& foreign) {
  std::string list;
  for (const auto& conflict : foreign)
    list += fmt::format("{}{} is held by {}", list.empty() ? "" : ", ", conflict.field, conflict.owner);
  return {ExitStatus::conflict, fmt::format("{}: {}, and is not taken from another owner", to_string(ref), list)};
}

/// Unforced first; when the server names conflicts, by force if all of them may be.
Result<Json, WriteError> apply_judged(const ha::Step& step, kube::Client& client, const WriteOptions& options,
                                      const Written& planned) {
  Json body = step.body;
  if (!step.version.empty()) body["metadata"]["resourceVersion"] = step.version;
  const auto send = [&](bool force) {
    return send_surely({.send =
                            [&] {
                              return client.apply(
                                  step.object, body,
                                  {.manager = step.manager, .force = force, .dry_run = options.dry_run});
                            },
                        .read_back = [&] { return client.get_object(step.object); },
                        .is_done = [&](const Json* now) { return now != nullptr && holds_exactly(*now, step); }},
                       options);
  };
  Answer answer = send(false);
  if (!answer.result && !answer.result.error().conflicts.empty()) {
    std::vector<kube::FieldConflict> foreign;
    for (const auto& conflict : answer.result.error().conflicts)
      if (!ha::may_force(conflict.owner, conflict.field)) foreign.push_back(conflict);
    if (!foreign.empty()) return WriteError{conflict_error(step.object, foreign)};
    answer = send(true);
  }
  if (!answer.result) return from(answer, !step.version.empty() && answer.result.error().conflict(), planned);
  return std::move(*answer.result);
}

/// The steps that take an apply back from an object that was `before`; of one that was not there, by its name.
std::vector<ha::Step> undo_of_apply(const ha::Step& step, const Json& before) {
  ha::Step undo{.id = step.id, .action = ha::Action::remove, .object = step.object, .manager = step.manager};
  if (before.is_null()) return {undo};
  const auto held = cluster::applied_fields(before, step.manager);
  undo.action = ha::Action::apply;
  undo.body = cluster::body_from_fields(before, held);
  std::vector<ha::Step> steps{undo};
  // What is taken from another holder would be gone when we drop it: it gets its value back, and is let go by its mark.
  auto back = held;
  for (const auto& path : cluster::fields_in(step.body)) {
    const Json* const value = cluster::value_at(before, path);
    if (value != nullptr && *value != *cluster::value_at(step.body, path) && path != ha::replicas_field)
      back.insert(path);
  }
  if (back != held) {
    steps.front().body = cluster::body_from_fields(before, back);
    undo.action = ha::Action::disown;
    steps.push_back(undo);
  }
  // A count that we drop falls back to 1, whoever set it before: it is put back by hand.
  if (step.body.contains(replicas_at) && !held.contains(ha::replicas_field))
    steps.push_back({.id = step.id,
                     .action = ha::Action::scale,
                     .object = step.object,
                     .body = {{"spec", {{"replicas", before.value(replicas_at, 1)}}}},
                     .manager = step.manager});
  return steps;
}

Result<Written, WriteError> write_apply(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  auto before = read_patiently([&] { return client.get_object(step.object); }, options);
  if (!before && !before.error().not_found()) return from(before.error());
  Written written{.changed = true};
  if (before) written.before = written.after = std::move(*before);
  written.undo = undo_of_apply(step, written.before);

  auto answer = apply_judged(step, client, options, written);
  if (!answer) return answer.error();
  written.after = std::move(*answer);
  if (written.before.is_null()) written.undo.front().uid = kube::uid_of(written.after);
  if (const auto field = first_difference(step.body, written.after))
    return stored_otherwise(
        fmt::format("{}: the server stored another value in {} than was sent", to_string(step.object), *field), written,
        options);
  written.changed = version_of(written.before) != version_of(written.after);
  return written;
}

/// The count in a Scale, which leaves out a 0.
int count_of(const Json& scale) {
  return scale.value(replicas_at, 0);
}

Result<Written, WriteError> write_scale(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  auto before = read_patiently([&] { return client.get_object(step.object); }, options);
  if (!before) return from(before.error());
  const int wanted = step.body.value(replicas_at, 0);
  const int had = before->value(replicas_at, 1);
  Written written{.changed = true, .undo = {step}, .before = *before, .after = std::move(*before)};
  if (step.at_least && had >= wanted) {
    written.changed = false;
    return written;
  }
  written.undo.front().body = {{"spec", {{"replicas", had}}}};
  written.undo.front().at_least = false;
  Answer answer = send_surely({.send =
                                   [&] {
                                     return client.merge_patch(
                                         step.object, step.body,
                                         {.manager = step.manager, .subresource = "scale", .dry_run = options.dry_run});
                                   },
                               .read_back = [&] { return client.get(rest_path(step.object, "scale")); },
                               .is_done = [&](const Json* now) { return now != nullptr && count_of(*now) == wanted; }},
                              options);
  if (!answer.result) return from(answer, false, written);
  written.after["spec"]["replicas"] = count_of(*answer.result);
  if (written.after["spec"]["replicas"] != wanted)
    return stored_otherwise(fmt::format("{}: the server did not take {} replicas", to_string(step.object), wanted),
                            written, options);
  written.changed = had != wanted;
  return written;
}

/// A patch that only takes away asks nothing of an object that is gone.
bool only_removes(const Json& patch) {
  for (const auto& [key, value] : patch.items()) {
    if (value.is_object() ? !only_removes(value) : !value.is_null()) return false;
  }
  return true;
}

bool patch_holds(const Json& patch, const Json& object) {
  for (const auto& [key, value] : patch.items()) {
    const bool there = object.is_object() && object.contains(key);
    if (value.is_null()     ? there
        : value.is_object() ? !patch_holds(value, there ? object[key] : Json())
                            : !there || object[key] != value)
      return false;
  }
  return true;
}

Result<Written, WriteError> write_patch(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  const auto read = [&] { return client.get_object(step.object); };
  auto before = read_patiently(read, options);
  const bool gone = before ? !step.uid.empty() && kube::uid_of(*before) != step.uid : before.error().not_found();
  if (gone && (options.back || only_removes(step.body))) return Written{};
  if (gone) return WriteError{{ExitStatus::api, fmt::format("{} is not there any more", to_string(step.object))}, true};
  if (!before) return from(before.error());

  Json body = step.body;
  if (!step.uid.empty()) body["metadata"]["uid"] = step.uid;
  Written written{.changed = true, .undo = {step}, .before = *before, .after = std::move(*before)};
  written.undo.front().body = inverse_patch(step.body, written.before);
  Answer answer = send_surely(
      {.send =
           [&] { return client.merge_patch(step.object, body, {.manager = step.manager, .dry_run = options.dry_run}); },
       .read_back = read,
       .is_done = [&](const Json* now) { return now != nullptr && patch_holds(body, *now); }},
      options);
  if (!answer.result) {
    const ApiError& error = answer.result.error();
    return from(answer, error.not_found() || error.conflict(), written);
  }
  written.after = std::move(*answer.result);
  if (!patch_holds(step.body, written.after))
    return stored_otherwise(fmt::format("{}: the server did not take the change", to_string(step.object)), written,
                            options);
  written.changed = version_of(written.before) != version_of(written.after);
  return written;
}

/// Takes managers' marks away, and no value with them: for the version that was read, read anew when it moved on.
Result<Written, WriteError> write_disown(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  const auto read = [&] { return client.get_object(step.object); };
  const auto keep = cluster::fields_in(step.body);
  const auto holds_no_more = [&](const Json& object) {
    const auto held = cluster::applied_fields(object, step.manager);
    return std::includes(keep.begin(), keep.end(), held.begin(), held.end());
  };
  for (int i = 1;; ++i) {
    auto before = read_patiently(read, options);
    if (!before && before.error().not_found()) return Written{};
    if (!before) return from(before.error());
    if (holds_no_more(*before)) return Written{.before = *before, .after = *before};
    const Json patch = {{"metadata",
                         {{"resourceVersion", version_of(*before)},
                          {"managedFields", cluster::managed_fields_without(*before, step.manager, keep)}}}};
    Written written{.changed = true, .before = *before, .after = *before};
    const auto held = cluster::applied_fields(*before, step.manager);
    written.undo = {{.id = step.id,
                     .action = ha::Action::apply,
                     .object = step.object,
                     .body = cluster::body_from_fields(*before, held),
                     .manager = step.manager}};
    Answer answer = send_surely({.send =
                                     [&] {
                                       return client.merge_patch(step.object, patch,
                                                                 {.manager = step.manager, .dry_run = options.dry_run});
                                     },
                                 .read_back = read,
                                 .is_done = [&](const Json* now) { return now != nullptr && holds_no_more(*now); }},
                                options);
    if (answer.result) {
      written.after = std::move(*answer.result);
      if (!holds_no_more(written.after))
        return stored_otherwise(fmt::format("{}: the server did not let the fields go", to_string(step.object)),
                                written, options);
      return written;
    }
    if (!answer.result.error().conflict() || i == versions) return from(answer, false, written);
    // Not at once, and not when the other writer does.
    if (!sleep_for(random_time(options.poll / 10, options.poll)))
      return WriteError{{ExitStatus::interrupted, "interrupted"}};
  }
}

/// Deletes what is read now.
Result<Written, WriteError> remove_once(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  const auto read = [&] { return client.get_object(step.object); };
  auto before = read_patiently(read, options);
  if (!before && !before.error().not_found()) return from(before.error());
  if (!before || (!step.uid.empty() && kube::uid_of(*before) != step.uid)) return Written{};
  if (step.unscheduled && before->contains(Json::json_pointer("/spec/nodeName")))
    return Written{.before = *before, .after = *before};

  const std::string& kind = step.object.kind;
  Written written{.changed = true, .final = kind == "Pod" && !step.unscheduled, .before = std::move(*before)};
  // A ReplicaSet let go with its pods needs no way back: a new one of the same template takes them over. So it is with
  // what a DaemonSet keeps of its templates, and with a chart's job, which is made anew.
  if (kind != "Pod" && kind != "ReplicaSet" && kind != "ControllerRevision" && kind != "Job") {
    written.undo.push_back({.id = step.id, .object = step.object, .manager = step.manager});
    written.undo.front().body =
        cluster::body_from_fields(written.before, cluster::applied_fields(written.before, step.manager));
  }
  const std::string uid = step.uid.empty() ? kube::uid_of(written.before) : step.uid;
  const auto is_done = [&](const Json* now) {
    return now == nullptr || kube::uid_of(*now) != uid || (*now)["metadata"].contains("deletionTimestamp");
  };
  const std::string version = step.unscheduled ? version_of(written.before) : "";
  const Answer answer = send_surely(
      {.send =
           [&] {
             return client.remove(
                 step.object,
                 {.uid = uid, .version = version, .propagation = step.propagation, .dry_run = options.dry_run});
           },
       .read_back = read,
       .is_done = is_done},
      options);
  if (!answer.result && !answer.result.error().not_found())
    return from(answer, answer.result.error().conflict(), written);
  return written;
}

Result<Written, WriteError> write_remove(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  for (int i = 1;; ++i) {
    auto written = remove_once(step, client, options);
    // Of a pod without a node the scheduler writes from time to time why.
    if (written || !step.unscheduled || !written.error().stale || i == versions) return written;
    if (!sleep_for(random_time(options.poll / 10, options.poll)))
      return WriteError{{ExitStatus::interrupted, "interrupted"}};
  }
}

}  // namespace

ApiResult<Json> read_patiently(const std::function<ApiResult<Json>()>& read, const WriteOptions& options) {
  const Deadline until = Deadline::after(options.patience);
  bool said = false;
  for (;;) {
    auto now = read();
    if (now || !now.error().may_pass() || until.expired()) return now;
    if (!std::exchange(said, true)) log::progress(fmt::format("{}; waiting for it", now.error().message));
    if (!sleep_for(options.poll)) return now;
  }
}

Json inverse_patch(const Json& patch, const Json& before) {
  Json inverse = Json::object();
  for (const auto& [key, value] : patch.items()) {
    if (!before.is_object() || !before.contains(key)) {
      inverse[key] = nullptr;
    } else if (value.is_object() && before[key].is_object()) {
      inverse[key] = inverse_patch(value, before[key]);
    } else {
      inverse[key] = before[key];
    }
  }
  return inverse;
}

Result<Written, WriteError> write(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  switch (step.action) {
    case ha::Action::apply: return write_apply(step, client, options);
    case ha::Action::scale: return write_scale(step, client, options);
    case ha::Action::patch: return write_patch(step, client, options);
    case ha::Action::disown: return write_disown(step, client, options);
    case ha::Action::remove: return write_remove(step, client, options);
    default: return WriteError{{ExitStatus::internal, "a wait is not a write"}};
  }
}

}  // namespace core_ha::act

// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/writes.h"

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/managed_fields.h"

namespace core_ha::act {
namespace {

using kube::ApiError;
using kube::ApiResult;

constexpr int attempts = 5;
const Json::json_pointer replicas_at("/spec/replicas");
const Json::json_pointer uid_at("/metadata/uid");

std::string uid_of(const Json& object) {
  return object.is_object() ? object.value(uid_at, std::string()) : "";
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

/// Reads until the API answers: one that answered a moment ago is probably restarting.
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

/// Sends; without an answer reads back and sends again only what is not there.
ApiResult<Json> send_surely(const Attempt& attempt, const WriteOptions& options) {
  for (int i = 1;; ++i) {
    auto answer = attempt.send();
    if (answer || !answer.error().no_answer() || i == attempts || should_stop()) return answer;
    log::progress(fmt::format("{}; reading back whether it was done", answer.error().message));
    auto now = read_patiently(attempt.read_back, options);
    if (!now && !now.error().not_found()) return answer;
    if (attempt.is_done(now ? &*now : nullptr)) return now ? std::move(*now) : Json();
  }
}

/// The body's values as the server has them; the first field that differs, or nothing.
std::optional<std::string> first_difference(const Json& body, const Json& stored) {
  for (const auto& path : cluster::fields_in(body)) {
    const Json* const wanted = cluster::value_at(body, path);
    const Json* const got = cluster::value_at(stored, path);
    if (wanted != nullptr && (got == nullptr || *wanted != *got)) return cluster::to_string(path);
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
Result<Json, WriteError> apply_judged(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
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
  auto answer = send(false);
  if (!answer && !answer.error().conflicts.empty()) {
    std::vector<kube::FieldConflict> foreign;
    for (const auto& conflict : answer.error().conflicts)
      if (!ha::may_force(conflict.owner, conflict.field)) foreign.push_back(conflict);
    if (!foreign.empty()) return WriteError{conflict_error(step.object, foreign)};
    answer = send(true);
  }
  if (!answer) return from(answer.error(), !step.version.empty() && answer.error().conflict());
  return std::move(*answer);
}

Result<Written, WriteError> write_apply(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  Written written;
  const auto read = [&] { return client.get_object(step.object); };
  auto before = read_patiently(read, options);
  if (!before && !before.error().not_found()) return from(before.error());
  if (before) written.before = std::move(*before);

  auto answer = apply_judged(step, client, options);
  if (!answer) return answer.error();
  written.after = std::move(*answer);
  if (const auto field = first_difference(step.body, written.after))
    return WriteError{{ExitStatus::conflict, fmt::format("{}: the server stored another value in {} than was sent",
                                                         to_string(step.object), *field)}};
  const bool existed = !written.before.is_null();
  written.changed = !existed || written.before["metadata"].value("resourceVersion", "") !=
                                    written.after["metadata"].value("resourceVersion", "");
  ha::Step undo{.id = step.id, .object = step.object, .manager = step.manager};
  if (existed) {
    undo.action = ha::Action::apply;
    undo.body = cluster::body_from_fields(written.before, cluster::applied_fields(written.before, step.manager));
  } else {
    undo.action = ha::Action::remove;
    undo.uid = uid_of(written.after);
  }
  written.undo.push_back(std::move(undo));
  // A count that we drop falls back to 1, whoever set it before: it is put back by hand.
  if (existed && step.body.contains(replicas_at) && !written.undo.front().body.contains(replicas_at))
    written.undo.push_back({.id = step.id,
                            .action = ha::Action::scale,
                            .object = step.object,
                            .body = {{"spec", {{"replicas", written.before.value(replicas_at, 1)}}}},
                            .manager = step.manager});
  return written;
}

Result<Written, WriteError> write_scale(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  auto before = read_patiently([&] { return client.get_object(step.object); }, options);
  if (!before) return from(before.error());
  const int wanted = step.body.value(replicas_at, 0);
  const int had = before->value(replicas_at, 1);
  Written written{.before = std::move(*before)};
  auto answer = send_surely(
      {.send =
           [&] {
             return client.merge_patch(step.object, step.body,
                                       {.manager = step.manager, .subresource = "scale", .dry_run = options.dry_run});
           },
       .read_back = [&] { return client.get(rest_path(step.object, "scale")); },
       .is_done = [&](const Json* now) { return now != nullptr && now->value(replicas_at, -1) == wanted; }},
      options);
  if (!answer) return from(answer.error());
  written.after = written.before;
  written.after["spec"]["replicas"] = answer->value(replicas_at, -1);
  if (written.after["spec"]["replicas"] != wanted)
    return WriteError{
        {ExitStatus::conflict, fmt::format("{}: the server did not take {} replicas", to_string(step.object), wanted)}};
  written.changed = had != wanted;
  ha::Step undo = step;
  undo.body = {{"spec", {{"replicas", had}}}};
  written.undo.push_back(std::move(undo));
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
  const bool gone = before ? !step.uid.empty() && uid_of(*before) != step.uid : before.error().not_found();
  if (gone && only_removes(step.body)) return Written{};
  if (gone) return WriteError{{ExitStatus::api, fmt::format("{} is not there any more", to_string(step.object))}, true};
  if (!before) return from(before.error());

  Json body = step.body;
  if (!step.uid.empty()) body["metadata"]["uid"] = step.uid;
  Written written{.before = std::move(*before)};
  auto answer = send_surely(
      {.send =
           [&] { return client.merge_patch(step.object, body, {.manager = step.manager, .dry_run = options.dry_run}); },
       .read_back = read,
       .is_done = [&](const Json* now) { return now != nullptr && patch_holds(body, *now); }},
      options);
  if (!answer) return from(answer.error(), answer.error().not_found() || answer.error().conflict());
  written.after = std::move(*answer);
  if (!patch_holds(step.body, written.after))
    return WriteError{
        {ExitStatus::conflict, fmt::format("{}: the server did not take the change", to_string(step.object))}};
  written.changed =
      written.before["metadata"].value("resourceVersion", "") != written.after["metadata"].value("resourceVersion", "");
  ha::Step undo = step;
  undo.body = inverse_patch(step.body, written.before);
  written.undo.push_back(std::move(undo));
  return written;
}

Result<Written, WriteError> write_remove(const ha::Step& step, kube::Client& client, const WriteOptions& options) {
  const auto read = [&] { return client.get_object(step.object); };
  auto before = read_patiently(read, options);
  if (!before && !before.error().not_found()) return from(before.error());
  if (!before || (!step.uid.empty() && uid_of(*before) != step.uid)) return Written{};

  Written written{.changed = true, .before = std::move(*before)};
  const std::string uid = step.uid.empty() ? uid_of(written.before) : step.uid;
  const auto is_done = [&](const Json* now) {
    return now == nullptr || uid_of(*now) != uid || (*now)["metadata"].contains("deletionTimestamp");
  };
  auto answer =
      send_surely({.send =
                       [&] {
                         return client.remove(
                             step.object, {.uid = uid, .propagation = step.propagation, .dry_run = options.dry_run});
                       },
                   .read_back = read,
                   .is_done = is_done},
                  options);
  if (!answer && !answer.error().not_found()) return from(answer.error(), answer.error().conflict());

  const std::string& kind = step.object.kind;
  written.final = kind == "Pod";
  // A ReplicaSet let go with its pods needs no way back: a new one of the same template takes them over.
  if (kind == "Pod" || kind == "ReplicaSet") return written;
  ha::Step undo{.id = step.id, .action = ha::Action::apply, .object = step.object, .manager = step.manager};
  undo.body = cluster::body_from_fields(written.before, cluster::applied_fields(written.before, step.manager));
  written.undo.push_back(std::move(undo));
  return written;
}

}  // namespace

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
    case ha::Action::remove: return write_remove(step, client, options);
    default: return WriteError{{ExitStatus::internal, "a wait is not a write"}};
  }
}

}  // namespace core_ha::act

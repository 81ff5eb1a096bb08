// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/fake_client_testing.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/interrupt.h"
#include "cluster/managed_fields.h"

namespace core_ha::kube::testing {
namespace {

Json to_fields_v1(const std::set<cluster::FieldPath>& fields) {
  Json root = Json::object();
  for (const auto& path : fields) {
    Json* at = &root;
    for (const auto& element : path)
      at = &(*at)[element];
    if (at->is_null()) *at = Json::object();
  }
  return root;
}

Json& entry_of(Json& object, const std::string& manager, const std::string& operation) {
  Json& entries = object["metadata"]["managedFields"];
  for (Json& entry : entries)
    if (entry["manager"] == manager && entry["operation"] == operation) return entry;
  entries.push_back({{"manager", manager}, {"operation", operation}, {"fieldsV1", Json::object()}});
  return entries.back();
}

// NOLINTNEXTLINE(misc-const-correctness): the field is erased through it.
void erase_field(Json& object, const cluster::FieldPath& path) {
  cluster::FieldPath parent(path.begin(), path.end() - 1);
  if (Json* at = const_cast<Json*>(cluster::value_at(object, parent)); at != nullptr && at->is_object())
    at->erase(path.back().substr(2));
}

std::string path_without_query(const std::string& path) {
  return path.substr(0, path.find('?'));
}

}  // namespace

ApiError status_error(int code, std::string reason, std::string message) {
  ApiError error;
  error.status = ExitStatus::api;
  error.code = code;
  error.reason = std::move(reason);
  error.message = std::move(message);
  return error;
}

ApiError lost_answer(bool sent) {
  ApiError error;
  error.status = ExitStatus::api;
  error.message = "the connection broke";
  error.sent = sent;
  return error;
}

Json& FakeClient::put(Json object, const std::string& manager) {
  const std::string path = rest_path(ref_of(object));
  Json& metadata = object["metadata"];
  if (!metadata.contains("uid")) metadata["uid"] = "uid-" + metadata["name"].get<std::string>();
  metadata["resourceVersion"] = std::to_string(++version_);
  const auto fields = cluster::fields_in(Json{{"spec", object.value("spec", Json::object())}});
  entry_of(object, manager, "Update")["fieldsV1"] = to_fields_v1(fields);
  return objects[path] = std::move(object);
}

Json* FakeClient::find(const ObjectRef& ref) {
  const auto it = objects.find(rest_path(ref));
  return it == objects.end() ? nullptr : &it->second;
}

std::vector<std::string> FakeClient::writes() const {
  std::vector<std::string> list;
  for (const Call& call : calls)
    if (!call.dry_run && call.verb != "get" && call.verb != "list")
      list.push_back(call.verb + " " + call.path.substr(call.path.rfind('/') + 1));
  return list;
}

ApiResult<Json> FakeClient::perform(const Call& call, const std::function<ApiResult<Json>(bool)>& work) {
  calls.push_back(call);
  std::optional<ApiError> failure = fault ? fault(call) : std::nullopt;
  if (failure && !failure->sent) return *failure;
  auto answer = work(!call.dry_run);
  if (answer && change_answer) change_answer(call, *answer);
  const bool wrote = answer && !call.dry_run && call.verb != "get" && call.verb != "list";
  if (wrote && after_write) after_write(call);
  if (failure) return *failure;
  return answer;
}

namespace {

/// The Scale of an object, which leaves a 0 out.
Json scale_of(const Json& object) {
  Json scale = {{"kind", "Scale"}, {"spec", Json::object()}};
  if (const int replicas = object["spec"].value("replicas", 1); replicas != 0) scale["spec"]["replicas"] = replicas;
  return scale;
}

bool may_run(const Json& pod) {
  const std::string phase = pod.value("status", Json::object()).value("phase", "");
  return phase != "Succeeded" && phase != "Failed";
}

}  // namespace

ApiResult<Json> FakeClient::get(const std::string& path) {
  return perform({.verb = "get", .path = path}, [&](bool) -> ApiResult<Json> {
    const bool scale = path.ends_with("/scale");
    const auto it = objects.find(scale ? path.substr(0, path.size() - 6) : path);
    if (it == objects.end()) return status_error(404, "NotFound", path + " not found");
    return scale ? scale_of(it->second) : it->second;
  });
}

ApiResult<Json> FakeClient::list(const Read& read) {
  return perform({.verb = "list", .path = read.path}, [&](bool) -> ApiResult<Json> {
    Json items = Json::array();
    for (const auto& [path, object] : objects)
      if (path.starts_with(path_without_query(read.path) + "/") && (!listed || listed(read, object)) &&
          (read.field_selector.empty() || (read.field_selector == pods_that_run && may_run(object)) ||
           read.field_selector == "metadata.name=" + object["metadata"].value("name", std::string())))
        items.push_back(object);
    return Json{{"items", items}};
  });
}

std::vector<ApiResult<Json>> FakeClient::read_all(const std::vector<Read>& reads) {
  std::vector<ApiResult<Json>> answers;
  answers.reserve(reads.size());
  for (const Read& read : reads)
    answers.push_back(read.list ? list(read) : get(read.path));
  return answers;
}

ApiResult<bool> FakeClient::follow(const Read& read, const std::function<bool(const Objects&)>& look, Deadline until) {
  for (;;) {
    const auto answer = list(read);
    if (!answer && !answer.error().may_pass()) return answer.error();
    Objects found;
    if (answer)
      for (const Json& object : (*answer)["items"])
        found[object["metadata"]["name"]] = object;
    if (answer && look(found)) return true;
    if (until.expired()) return false;
    if (!sleep_for(std::chrono::milliseconds(1))) return ApiError{{ExitStatus::interrupted, "interrupted"}};
  }
}

ApiResult<Json> FakeClient::apply(const ObjectRef& ref, const Json& body, const ApplyOptions& options) {
  const std::string path = rest_path(ref);
  const Call call{.verb = "apply", .path = path, .dry_run = options.dry_run, .force = options.force, .body = body};
  return perform(call, [&](bool store) -> ApiResult<Json> {
    const bool exists = objects.contains(path);
    Json object = exists ? objects[path] : Json{{"metadata", {{"uid", "uid-" + ref.name}}}};
    const std::string version = body["metadata"].value("resourceVersion", "");
    if (!version.empty() && version != object["metadata"].value("resourceVersion", ""))
      return status_error(409, "Conflict", "the object has been modified");
    const auto wished = cluster::fields_in(body);
    ApiError conflict = status_error(409, "Conflict", "Apply failed");
    for (Json& entry : object["metadata"]["managedFields"]) {
      if (entry["manager"] == options.manager) continue;
      auto held = cluster::fields_of(entry["fieldsV1"]);
      for (const auto& field : wished) {
        const Json* const value = cluster::value_at(object, field);
        if (!held.contains(field) || (value != nullptr && *value == *cluster::value_at(body, field))) continue;
        conflict.conflicts.push_back({cluster::to_string(field), entry["manager"]});
        held.erase(field);
      }
      if (options.force) entry["fieldsV1"] = to_fields_v1(held);
    }
    if (!options.force && !conflict.conflicts.empty()) return conflict;
    const auto owners = [&](const cluster::FieldPath& field) { return cluster::owners_of(object, field).size(); };
    for (const auto& field : cluster::applied_fields(object, options.manager))
      if (!wished.contains(field) && owners(field) == 1) erase_field(object, field);
    object = cluster::overlay(object, body);
    entry_of(object, options.manager, "Apply")["fieldsV1"] = to_fields_v1(wished);
    if (!exists || object != objects[path]) object["metadata"]["resourceVersion"] = std::to_string(++version_);
    if (store) objects[path] = object;
    return object;
  });
}

ApiResult<Json> FakeClient::create(const ObjectRef& ref, const Json& body) {
  const std::string path = rest_path(ref);
  return perform({.verb = "create", .path = path, .body = body}, [&](bool) -> ApiResult<Json> {
    if (objects.contains(path)) return status_error(409, "AlreadyExists");
    return put(body, std::string(field_manager));
  });
}

ApiResult<Json> FakeClient::replace(const ObjectRef& ref, const Json& body) {
  const std::string path = rest_path(ref);
  return perform({.verb = "replace", .path = path, .body = body}, [&](bool) -> ApiResult<Json> {
    const auto it = objects.find(path);
    if (it == objects.end()) return status_error(404, "NotFound");
    for (const char* precondition : {"uid", "resourceVersion"})
      if (it->second["metadata"][precondition] != body["metadata"].value(precondition, std::string()))
        return status_error(409, "Conflict", precondition);
    return put(body, std::string(field_manager));
  });
}

ApiResult<Json> FakeClient::merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) {
  const std::string path = rest_path(ref);
  const Call call{
      .verb = "patch", .path = rest_path(ref, options.subresource), .dry_run = options.dry_run, .body = patch};
  return perform(call, [&](bool store) -> ApiResult<Json> {
    const auto it = objects.find(path);
    if (it == objects.end()) return status_error(404, "NotFound");
    Json object = it->second;
    for (const char* precondition : {"uid", "resourceVersion"})
      if (const auto named = patch.value("metadata", Json::object()).value(precondition, std::string());
          !named.empty() && object["metadata"][precondition] != named)
        return status_error(409, "Conflict", precondition);
    object.merge_patch(patch);
    if (object != it->second) object["metadata"]["resourceVersion"] = std::to_string(++version_);
    if (store) it->second = object;
    return options.subresource == "scale" ? scale_of(object) : object;
  });
}

ApiResult<Json> FakeClient::evict(const ObjectRef& pod, const DeleteOptions& options) {
  return remove(pod, options);
}

ApiResult<Json> FakeClient::remove(const ObjectRef& ref, const DeleteOptions& options) {
  const std::string path = rest_path(ref);
  return perform({.verb = "delete", .path = path, .dry_run = options.dry_run}, [&](bool store) -> ApiResult<Json> {
    const auto it = objects.find(path);
    if (it == objects.end()) return status_error(404, "NotFound");
    if (!options.uid.empty() && it->second["metadata"]["uid"] != options.uid)
      return status_error(409, "Conflict", "uid");
    if (!options.version.empty() && it->second["metadata"]["resourceVersion"] != options.version)
      return status_error(409, "Conflict", "resourceVersion");
    if (store) objects.erase(it);
    return Json{{"kind", "Status"}, {"status", "Success"}};
  });
}

}  // namespace core_ha::kube::testing

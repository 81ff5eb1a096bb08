// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kube/client.h"

namespace core_ha::kube::testing {

/// One call as the fake saw it, for tests that count or order them.
struct Call {
  std::string verb;  ///< get list apply create replace patch delete
  std::string path;
  bool dry_run = false;
  bool force = false;
  Json body = {};
};

/// A cluster in memory: objects by path, server-side apply with field managers and conflicts, uids, resource versions.
/// Controllers are the test's own: `after_write` runs after each stored change and may change objects in turn.
class FakeClient final : public Client {
 public:
  std::map<std::string, Json> objects;  ///< by REST path
  std::vector<Call> calls;
  std::function<void(const Call&)> after_write;
  /// What a label selector lists; without it, everything.
  std::function<bool(const Read&, const Json&)> listed;
  /// Asked before each call; an error is the answer. With `sent` and not dry-run the write happens all the same.
  std::function<std::optional<ApiError>(const Call&)> fault;
  /// May change what a call answers.
  std::function<void(const Call&, Json&)> change_answer;
  Deadline deadline;  ///< as it was set last; calls take no time here

  /// Stores an object as another manager's, with uid and resourceVersion.
  Json& put(Json object, const std::string& manager = "deploy@server-1");
  Json* find(const ObjectRef& ref);
  /// The calls that change something: `apply apps/v1 …`, without dry runs.
  std::vector<std::string> writes() const;

  ApiResult<Json> get(const std::string& path) override;
  std::vector<ApiResult<Json>> read_all(const std::vector<Read>& reads) override;
  /// Lists again and again, since nobody else is there to tell of a change; each list is a call.
  ApiResult<bool> follow(const Read& read, const std::function<bool(const Objects&)>& look, Deadline until) override;
  ApiResult<Json> apply(const ObjectRef& ref, const Json& object, const ApplyOptions& options) override;
  ApiResult<Json> create(const ObjectRef& ref, const Json& object) override;
  ApiResult<Json> replace(const ObjectRef& ref, const Json& object) override;
  ApiResult<Json> merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) override;
  ApiResult<Json> remove(const ObjectRef& ref, const DeleteOptions& options) override;
  ApiResult<Json> evict(const ObjectRef& pod, const DeleteOptions& options) override;
  std::vector<std::string> take_warnings() override { return {}; }
  void set_deadline(Deadline until) override { deadline = until; }

 private:
  ApiResult<Json> list(const Read& read);
  ApiResult<Json> perform(const Call& call, const std::function<ApiResult<Json>(bool store)>& work);
  int version_ = 100;
};

ApiError status_error(int code, std::string reason, std::string message = "no");
/// No answer; `sent`: the write may have been done, and in the fake it was.
ApiError lost_answer(bool sent);

}  // namespace core_ha::kube::testing

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/read_only_client_testing.h"

namespace core_ha::cluster::testing {

kube::ApiError refused(int code, const std::string& reason) {
  kube::ApiError error;
  error.status = ExitStatus::api;
  error.message = reason;
  error.code = code;
  error.reason = reason;
  return error;
}

kube::ApiResult<Json> ReadOnlyClient::get(const std::string& path) {
  ++round_trips;
  return answer({.path = path});
}

std::vector<kube::ApiResult<Json>> ReadOnlyClient::read_all(const std::vector<kube::Read>& reads) {
  ++round_trips;
  std::vector<kube::ApiResult<Json>> answers;
  answers.reserve(reads.size());
  for (const auto& read : reads)
    answers.push_back(answer(read));
  return answers;
}

kube::ApiResult<bool> ReadOnlyClient::follow(const kube::Read&, const std::function<bool(const kube::Objects&)>&,
                                             Deadline) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::apply(const kube::ObjectRef&, const Json&, const kube::ApplyOptions&) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::create(const kube::ObjectRef&, const Json&) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::replace(const kube::ObjectRef&, const Json&) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::merge_patch(const kube::ObjectRef&, const Json&, const kube::PatchOptions&) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::remove(const kube::ObjectRef&, const kube::DeleteOptions&) {
  return refused(405, "MethodNotAllowed");
}

kube::ApiResult<Json> ReadOnlyClient::evict(const kube::ObjectRef&, const kube::DeleteOptions&) {
  return refused(405, "MethodNotAllowed");
}

}  // namespace core_ha::cluster::testing

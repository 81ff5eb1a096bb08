// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kube/client.h"

namespace core_ha::cluster::testing {

kube::ApiError refused(int code, const std::string& reason);

/// Answers reads by a function of the test's; a write is an error.
class ReadOnlyClient : public kube::Client {
 public:
  std::function<kube::ApiResult<Json>(const kube::Read&)> answer;
  int round_trips = 0;  ///< one after another; reads that are under way together are one

  kube::ApiResult<Json> get(const std::string& path) override;
  std::vector<kube::ApiResult<Json>> read_all(const std::vector<kube::Read>& reads) override;
  kube::ApiResult<bool> follow(const kube::Read&, const std::function<bool(const kube::Objects&)>&, Deadline) override;
  kube::ApiResult<Json> apply(const kube::ObjectRef&, const Json&, const kube::ApplyOptions&) override;
  kube::ApiResult<Json> create(const kube::ObjectRef&, const Json&) override;
  kube::ApiResult<Json> replace(const kube::ObjectRef&, const Json&) override;
  kube::ApiResult<Json> merge_patch(const kube::ObjectRef&, const Json&, const kube::PatchOptions&) override;
  kube::ApiResult<Json> remove(const kube::ObjectRef&, const kube::DeleteOptions&) override;
  kube::ApiResult<Json> evict(const kube::ObjectRef&, const kube::DeleteOptions&) override;
  std::vector<std::string> take_warnings() override { return {}; }
  void set_deadline(Deadline) override {}
};

}  // namespace core_ha::cluster::testing

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "http/pool.h"
#include "http/retry.h"
#include "kube/client.h"
#include "kube/watch.h"

namespace core_ha::kube {

/// The real one: Client over HTTPS.
class ApiClient final : public Client {
 public:
  static Result<std::unique_ptr<ApiClient>> open(http::Connection connection, const http::Options& options,
                                                 Deadline deadline);
  ApiClient(std::unique_ptr<http::Pool> pool, std::chrono::milliseconds retry_time, Deadline deadline);

  ApiResult<Json> get(const std::string& path) override;
  std::vector<ApiResult<Json>> read_all(const std::vector<Read>& reads) override;
  ApiResult<bool> follow(const Read& read, const std::function<bool(const Objects&)>& look, Deadline until) override;
  ApiResult<Json> apply(const ObjectRef& ref, const Json& object, const ApplyOptions& options) override;
  ApiResult<Json> create(const ObjectRef& ref, const Json& object) override;
  ApiResult<Json> replace(const ObjectRef& ref, const Json& object) override;
  ApiResult<Json> merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) override;
  ApiResult<Json> remove(const ObjectRef& ref, const DeleteOptions& options) override;
  ApiResult<Json> evict(const ObjectRef& pod, const DeleteOptions& options) override;
  std::vector<std::string> take_warnings() override;
  void set_deadline(Deadline deadline) override { deadline_ = deadline; }

  /// Waits, saying so on stderr, until /readyz of one of the servers answers ok; the error says what was last heard.
  Result<void> wait_until_ready(std::chrono::seconds bound);

 private:
  std::vector<http::Response> send(const std::vector<http::Request>& requests, Deadline deadline);
  ApiResult<Json> send_one(http::Request request);
  std::vector<ApiResult<Json>> read_until(const std::vector<Read>& reads, Deadline deadline);
  ApiResult<bool> watch(const Read& read, WatchedList& list, const std::function<bool(const Objects&)>& look,
                        Deadline until);
  void keep_warnings(http::Response& response);

  std::unique_ptr<http::Pool> pool_;
  http::Exchanger exchanger_;
  Deadline deadline_;
  std::vector<std::string> warnings_;
  std::set<std::string> seen_warnings_;
};

}  // namespace core_ha::kube

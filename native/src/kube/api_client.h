// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kube/client.h"
#include "kube/http.h"
#include "kube/retry.h"

namespace core_ha::kube {

/// The real one: Client over HTTPS.
class ApiClient final : public Client {
 public:
  static Result<std::unique_ptr<ApiClient>> open(Connection connection, const HttpOptions& options, Deadline deadline);
  explicit ApiClient(std::unique_ptr<Http> http, Deadline deadline);

  ApiResult<Json> get(const std::string& path) override;
  std::vector<ApiResult<Json>> read_all(const std::vector<Read>& reads) override;
  ApiResult<Json> apply(const ObjectRef& ref, const Json& object, const ApplyOptions& options) override;
  ApiResult<Json> merge_patch(const ObjectRef& ref, const Json& patch, const PatchOptions& options) override;
  ApiResult<Json> remove(const ObjectRef& ref, const DeleteOptions& options) override;
  std::vector<std::string> take_warnings() override;
  void set_deadline(Deadline deadline) override { deadline_ = deadline; }

  /// Waits, saying so on stderr, until /readyz answers ok; the error says what was last heard.
  Result<void> wait_until_ready(std::chrono::seconds bound);

 private:
  std::vector<HttpResponse> send(const std::vector<HttpRequest>& requests);
  ApiResult<Json> send_one(HttpRequest request);

  std::unique_ptr<Http> http_;
  Exchanger exchanger_;
  Deadline deadline_;
  std::vector<std::string> warnings_;
  std::set<std::string> seen_warnings_;
};

}  // namespace core_ha::kube

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "base/deadline.h"
#include "kube/http.h"

namespace core_ha::kube {

/// client-go's limit (rest/with_retry.go).
inline constexpr int max_retries = 10;

/// How long to wait before sending this request again; nothing: the answer stands. 429 and 5xx are repeated only when
/// the server names a time, whatever the verb; a broken connection only for a read. A write without an answer is never
/// repeated here: it may have been carried out, and the caller reads back.
std::optional<std::chrono::milliseconds> retry_after(const HttpRequest& request, const HttpResponse& response);

/// Sends all, and again those that may be, until each has its answer, the retries are used up or the time is.
class Exchanger {
 public:
  using Send = std::function<std::vector<HttpResponse>(const std::vector<HttpRequest>&, Deadline)>;
  explicit Exchanger(Send send) : send_(std::move(send)) {}

  std::vector<HttpResponse> send(const std::vector<HttpRequest>& requests, Deadline deadline) const;

 private:
  Send send_;
};

}  // namespace core_ha::kube

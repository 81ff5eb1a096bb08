// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <vector>

#include "base/deadline.h"
#include "http/pool.h"

namespace core_ha::http {

/// client-go's limit (rest/with_retry.go).
inline constexpr int max_retries = 10;

/// How long to wait before sending this request again; nothing: the answer stands. 429 and 5xx are repeated only when
/// the server names a time, whatever the verb; a broken connection only for a read. A write without an answer is never
/// repeated here: it may have been carried out, and the caller reads back.
std::optional<std::chrono::milliseconds> retry_after(const Request& request, const Response& response);

/// Sends all, and again those that may be, until each has its answer, the retries are used up or the time is: what a
/// server asks us to wait is bounded also where the run has no deadline.
class Exchanger {
 public:
  using Send = std::function<std::vector<Response>(const std::vector<Request>&, Deadline)>;
  Exchanger(Send send, std::chrono::milliseconds retry_time) : send_(std::move(send)), retry_time_(retry_time) {}

  std::vector<Response> send(const std::vector<Request>& requests, Deadline deadline) const;

 private:
  Send send_;
  std::chrono::milliseconds retry_time_;
};

}  // namespace core_ha::http

// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/retry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/interrupt.h"
#include "base/log.h"

namespace core_ha::http {

using std::chrono::milliseconds;

std::optional<milliseconds> retry_after(const Request& request, const Response& response) {
  if (!response.answered()) {
    if (request.is_read() && response.fault == Fault::reset) return milliseconds(1000);
    return std::nullopt;
  }
  const bool busy = response.code == 429 || response.code >= 500;
  if (busy && response.retry_after) return milliseconds(*response.retry_after * 1000LL);
  return std::nullopt;
}

std::vector<Response> Exchanger::send(const std::vector<Request>& requests, Deadline deadline) const {
  const Deadline last_try = Deadline::earlier(deadline, Deadline::after(retry_time_));
  std::vector<Response> responses = send_(requests, deadline);
  for (int round = 0; round < max_retries; ++round) {
    std::vector<size_t> again;
    milliseconds wait{0};
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto delay = retry_after(requests[i], responses[i]);
      // A time that lies beyond that would only turn an answer into silence.
      if (!delay || *delay >= last_try.remaining()) continue;
      again.push_back(i);
      wait = std::max(wait, *delay);
    }
    if (again.empty()) return responses;
    const Response& first = responses[again.front()];
    log::detail(fmt::format("{} {}: {}, trying again in {:.0f} s", requests[again.front()].method,
                            requests[again.front()].path,
                            first.answered() ? fmt::format("HTTP {}", first.code) : first.detail,
                            std::chrono::duration<double>(wait).count()));
    if (!sleep_for(std::min(wait, last_try.remaining()))) return responses;
    std::vector<Request> batch;
    batch.reserve(again.size());
    for (const size_t i : again)
      batch.push_back(requests[i]);
    std::vector<Response> answers = send_(batch, deadline);
    for (size_t i = 0; i < again.size(); ++i) {
      // Warnings of an attempt that failed still reach the user.
      auto& warnings = answers[i].warnings;
      auto& earlier = responses[again[i]].warnings;
      warnings.insert(warnings.begin(), earlier.begin(), earlier.end());
      responses[again[i]] = std::move(answers[i]);
    }
  }
  return responses;
}

}  // namespace core_ha::http

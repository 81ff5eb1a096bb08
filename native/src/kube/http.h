// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "kube/kubeconfig.h"

namespace core_ha::kube {

struct HttpRequest {
  std::string method = "GET";
  std::string path;  ///< from the root, with its query
  std::string content_type = {};
  std::string body = {};

  bool is_read() const { return method == "GET"; }
};

/// How an exchange ended without an answer.
enum class NetFault {
  none,
  refused,      ///< nobody listens, or no route: nothing was sent
  reset,        ///< the connection broke: the request may have been carried out
  timeout,      ///< the time for the request ran out: it may have been carried out
  tls,          ///< certificates did not fit
  interrupted,  ///< a signal
  other
};

/// An answer, or the fault and a few words on it.
struct HttpResponse {
  int code = 0;
  std::string body = {};
  std::optional<int> retry_after = {};     ///< seconds, only when the header is an integer
  std::vector<std::string> warnings = {};  ///< texts of `Warning: 299`
  NetFault fault = NetFault::none;
  std::string detail = {};

  bool answered() const { return fault == NetFault::none; }
};

struct HttpOptions {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds request_timeout{30000};
  size_t parallel = 16;  ///< requests in flight at a time
};

/// HTTPS to one server over one pool of connections; HTTP/2 where the server speaks it. No retries: see retry.h.
/// Not for use by several threads.
class Http {
 public:
  /// Takes the connection's keys and keeps them in memory only.
  static Result<std::unique_ptr<Http>> open(Connection connection, const HttpOptions& options);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  /// Sends all and waits for all; answers in the order of the requests. Reads end at once on a signal, writes do not.
  std::vector<HttpResponse> send(const std::vector<HttpRequest>& requests, Deadline deadline);

  const std::string& server() const;

 private:
  struct Impl;
  explicit Http(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The texts of a `Warning` header's value: code 299 only, quotes undone.
std::vector<std::string> parse_warning_header(std::string_view value);

/// True for localhost and loopback addresses, which no proxy is ever asked for.
bool is_loopback(std::string_view host);

}  // namespace core_ha::kube

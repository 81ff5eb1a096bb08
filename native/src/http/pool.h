// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "http/connection.h"

namespace core_ha::http {

struct Request {
  std::string method = "GET";
  std::string path;         ///< from the root, with its query
  std::string accept = {};  ///< empty: application/json
  std::string content_type = {};
  std::string body = {};

  bool is_read() const { return method == "GET"; }
};

/// How an exchange ended without an answer.
enum class Fault {
  none,
  refused,      ///< nobody listens, or no route
  reset,        ///< the connection broke
  timeout,      ///< the time for the request ran out
  tls,          ///< certificates did not fit
  interrupted,  ///< a signal
  other
};

/// An answer, or the fault and a few words on it.
struct Response {
  int code = 0;
  std::string body = {};
  std::optional<int> retry_after = {};     ///< seconds, only when the header is an integer
  std::vector<std::string> warnings = {};  ///< texts of `Warning: 299`
  Fault fault = Fault::none;
  bool sent = false;        ///< of a fault: the request may have been carried out
  std::string detail = {};  ///< of a fault
  std::string server = {};  ///< the one that answered, or was asked last

  bool answered() const { return fault == Fault::none; }
};

/// Whether a libcurl of this version (0x075801 for 7.88.1) can be trusted with many requests on one HTTP/2 connection.
/// Before 8.1, which rewrote that part, a large answer among others could stand still until its time was over: one look
/// in 100 that read 160 KiB of Pods, with 7.88.1.
bool http2_is_sound(unsigned libcurl);
/// The same of the libcurl that runs.
bool http2_is_sound();

struct Options {
  /// TLS included. Nothing: 5 s, after which another server is asked, and where there is none as long as for an answer.
  std::optional<std::chrono::milliseconds> connect_timeout = {};
  std::chrono::milliseconds request_timeout{30000};  ///< of one try by one server, so that another can take over
  /// Since its first try, after which a request is not sent again, whatever time the server names: client-go's request
  /// timeout, too, is for all tries and the pauses between them (rest/request.go).
  std::chrono::milliseconds retry_time{60000};
  size_t parallel = 32;           ///< requests in flight at a time
  bool http2 = http2_is_sound();  ///< false: HTTP/1.1, with a connection for each request in flight
};

/// HTTPS to the servers of one cluster over one pool of connections; HTTP/2 where both sides speak it well.
///
/// One server is asked until it fails, then the next in the list, and that one from then on. A request goes on to the
/// next server when nothing of it was sent, a read also when its connection broke or no answer came. One whose
/// certificate does not fit is an error at once. No other retries: see retry.h. Not for use by several threads.
class Pool {
 public:
  /// Takes the connection's keys and keeps them in memory only.
  static Result<std::unique_ptr<Pool>> open(Connection connection, const Options& options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Sends all and waits for all; answers in the order of the requests. Reads end at once on a signal, writes do not.
  std::vector<Response> send(const std::vector<Request>& requests, Deadline deadline);

  /// Sends a read whose answer comes bit by bit, and hands the bits of a good one (200) to `take` until that returns
  /// false or the answer ends. Only the answer's beginning must come within the time for a request.
  Response stream(const Request& request, const std::function<bool(std::string_view)>& take, Deadline deadline);

  /// The server that is asked now.
  const std::string& server() const;
  /// Goes on with the next one.
  void ask_next();

 private:
  struct Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The texts of a `Warning` header's value: code 299 only, quotes undone.
std::vector<std::string> parse_warning_header(std::string_view value);

}  // namespace core_ha::http

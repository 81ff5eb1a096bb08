// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <openssl/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/connection.h"

namespace core_ha::http::testing {

/// A certificate and its key, as PEM.
struct KeyPair {
  std::string cert_pem;
  std::string key_pem;
};

/// A certificate authority made for one test run; everything else is signed by it.
class Authority {
 public:
  Authority();
  ~Authority();
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  const std::string& cert_pem() const;
  /// `names` as in subjectAltName: `IP:127.0.0.1,DNS:localhost`.
  KeyPair issue(const std::string& common_name, const std::string& names) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct SeenRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
  std::string client_name;  ///< common name of the client's certificate
  int connection = 0;       ///< counted from 1
};

struct Reply {
  enum class Fault {
    none,
    reset,
    end,  ///< the connection is closed in good order
    hang,
    goaway  ///< HTTP/2: the server takes no more requests here, this one included
  };
  int code = 200;
  std::string body = "{}";
  std::vector<std::string> headers = {};  ///< `Retry-After: 1`
  Fault fault = Fault::none;              ///< in the place of the answer, or after its chunks
  std::vector<std::string> chunks = {};   ///< in the place of a body: an answer that comes bit by bit
};

enum class Protocol { http1, http2 };

/// An HTTPS server in this process, on a port of the loopback. By HTTP/1.1 with keep-alive; by HTTP/2 as far as a
/// client can tell from answers of status 200 (the handler is not told the path: headers come compressed).
class HttpsServer {
 public:
  using Handler = std::function<Reply(const SeenRequest&)>;
  /// `port` 0: any that is free.
  explicit HttpsServer(Handler handler, const std::string& names = "IP:127.0.0.1", Protocol protocol = Protocol::http1,
                       int port = 0);
  ~HttpsServer();
  HttpsServer(const HttpsServer&) = delete;
  HttpsServer& operator=(const HttpsServer&) = delete;

  /// A connection with a client certificate of common name `client`.
  Connection connection(const std::string& client = "admin") const;
  std::string url() const;
  int port() const { return port_; }
  std::vector<SeenRequest> seen() const;
  static const Authority& authority();

 private:
  struct Tls;
  void accept_loop();
  void serve(int fd, int number);
  void serve_http1(SSL* session, int fd, int number);
  void serve_http2(SSL* session, int fd, int number);
  bool carry_out_fault(Reply::Fault fault, int fd) const;
  void note(const SeenRequest& request);

  Handler handler_;
  std::unique_ptr<Tls> tls_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
  std::vector<std::thread> workers_;
  std::thread acceptor_;
};

}  // namespace core_ha::http::testing

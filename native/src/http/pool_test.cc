// SPDX-License-Identifier: GPL-3.0-or-later
// Connections, and going on with another server; a case names the file of client-go that sets the rule, if one does.
#include "http/pool.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "http/https_server_testing.h"
#include "http/retry.h"

using namespace core_ha;
using namespace core_ha::http;
using http::testing::HttpsServer;
using http::testing::Protocol;
using http::testing::Reply;
using http::testing::SeenRequest;
using namespace std::chrono_literals;

namespace {

/// A port that takes connections and says nothing on them: a server that hangs before TLS. Or one that hangs up as soon
/// as it has heard something.
class SilentPort {
 public:
  explicit SilentPort(bool hangs_up = false) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (fd_ < 0 || bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd_, 64) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no port for the test");
    port_ = ntohs(address.sin_port);
    if (hangs_up) thread_ = std::thread([this] { hang_up(); });
  }
  ~SilentPort() {
    shutdown(fd_, SHUT_RDWR);  // also wakes the thread
    if (thread_.joinable()) thread_.join();
    close(fd_);
  }
  SilentPort(const SilentPort&) = delete;
  SilentPort& operator=(const SilentPort&) = delete;
  /// How many have come since; of one that does not hang up.
  int connections() const {
    int count = 0;
    for (pollfd entry{fd_, POLLIN, 0}; poll(&entry, 1, 0) > 0; ++count)
      close(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
    return count;
  }
  std::string url() const { return fmt::format("https://127.0.0.1:{}", port_); }

 private:
  void hang_up() const {
    for (int fd = 0; (fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; close(fd)) {
      char heard[4096];  // all of the client's first words: what is left unread would make a reset of the end
      CHECK(recv(fd, heard, sizeof(heard), 0) > 0);
    }
  }

  int fd_;
  int port_ = 0;
  std::thread thread_;
};

/// A port on which nobody listens any more.
std::string dead_url() {
  return HttpsServer([](const SeenRequest&) { return Reply{}; }).url();
}

std::unique_ptr<Pool> pool_of(const HttpsServer& server, std::vector<std::string> before,
                              const Options& options = {.connect_timeout = 5s, .request_timeout = 5s}) {
  Connection connection = server.connection();
  connection.servers.insert(connection.servers.begin(), before.begin(), before.end());
  auto pool = Pool::open(std::move(connection), options);
  REQUIRE(pool);
  return std::move(*pool);
}

Response send(Pool& pool, const Request& request) {
  return pool.send({request}, {}).front();
}

const Request version_read{.path = "/version"};
const Request patch{.method = "PATCH", .path = "/x", .content_type = "application/merge-patch+json", .body = "{}"};

Reply good(const SeenRequest&) {
  return {};
}

}  // namespace

TEST_CASE("several servers: one that refuses or says nothing is passed over by any verb, and not asked again") {
  for (const bool silent : {false, true}) {
    const SilentPort port;
    const HttpsServer second(good);
    const std::string first = silent ? port.url() : dead_url();
    const auto pool = pool_of(second, {first}, {.connect_timeout = 1s, .request_timeout = 5s});
    const Response answer = send(*pool, patch);
    CHECK(answer.code == 200);
    CHECK(answer.server == second.url());
    CHECK(pool->server() == second.url());
    CHECK(send(*pool, version_read).code == 200);
    if (silent) CHECK(port.connections() == 1);
    CHECK(second.seen().size() == 2);
  }
}

TEST_CASE("several servers: requests in parallel wait for a dead one once, not one after the other") {
  const SilentPort port;
  const HttpsServer second(good);
  // Long enough for the handshakes with the second one, which a busy machine takes its time for.
  const auto pool = pool_of(second, {port.url()}, {.connect_timeout = 3s, .request_timeout = 20s});
  const auto start = Deadline::Clock::now();
  for (const Response& answer : pool->send(std::vector(40, version_read), {}))
    CHECK(answer.code == 200);
  CHECK(Deadline::Clock::now() - start < 6s);
}

TEST_CASE("several servers: a read goes on after a broken connection or silence, a write does not") {
  for (const auto fault : {Reply::Fault::reset, Reply::Fault::end, Reply::Fault::hang}) {
    const HttpsServer first([&](const SeenRequest&) { return Reply{.fault = fault}; });
    const HttpsServer second(good);
    const Options quick{.connect_timeout = 5s, .request_timeout = 2s};
    CHECK(send(*pool_of(second, {first.url()}, quick), version_read).code == 200);
    CHECK(second.seen().size() == 1);
    const Response lost = send(*pool_of(second, {first.url()}, quick), patch);
    CHECK_FALSE(lost.answered());
    CHECK(lost.sent);
    CHECK(lost.server == first.url());
    CHECK(second.seen().size() == 1);
  }
}

TEST_CASE("a server that is alone may take as long for a connection as for an answer") {
  const SilentPort port;
  const auto time_until_given_up = [&](const Options& options) {
    Connection connection;
    connection.servers = {port.url()};
    const auto pool = Pool::open(std::move(connection), options);
    REQUIRE(pool);
    const auto start = Deadline::Clock::now();
    CHECK(send(**pool, version_read).fault == Fault::timeout);
    return Deadline::Clock::now() - start;
  };
  CHECK(time_until_given_up({.request_timeout = 5500ms}) >= 5500ms);
  // Who says less has a reason: behind one address there may be several servers.
  CHECK(time_until_given_up({.connect_timeout = 50ms, .request_timeout = 20s}) < 10s);
}

TEST_CASE("several servers: where none answers, each is named") {
  const std::string second = dead_url();
  const std::string first = dead_url();
  Connection connection;
  connection.servers = {first, second};
  const auto pool = Pool::open(std::move(connection), {});
  REQUIRE(pool);
  const Response answer = send(**pool, patch);
  CHECK(answer.fault == Fault::refused);
  CHECK_FALSE(answer.sent);
  CHECK(answer.server == second);
  CHECK(answer.detail == fmt::format("Connection refused, nor {} (Connection refused)", first));
}

TEST_CASE("several servers: one whose certificate does not fit is an error, not passed over") {
  const HttpsServer first(good, "DNS:elsewhere");
  const HttpsServer second(good);
  const auto pool = pool_of(second, {first.url()});
  CHECK(send(*pool, version_read).fault == Fault::tls);
  CHECK(second.seen().empty());
}

TEST_CASE("several servers: one that hangs up in the TLS handshake is no judgement on certificates, and passed over") {
  const SilentPort first(true);
  const HttpsServer second(good);
  CHECK(send(*pool_of(second, {first.url()}), patch).code == 200);
  Connection connection;
  connection.servers = {first.url()};
  const auto alone = Pool::open(std::move(connection), {});
  REQUIRE(alone);
  const Response answer = send(**alone, patch);
  CHECK(answer.fault == Fault::reset);
  CHECK_FALSE(answer.sent);
}

TEST_CASE("tls-server-name is what the certificate of each server is held against") {
  const HttpsServer second(good, "DNS:kubernetes.example");
  Connection connection = second.connection();
  connection.servers.insert(connection.servers.begin(), dead_url());
  connection.tls_server_name = "kubernetes.example";
  connection.servers.back() += "/behind/a/path";
  const auto pool = Pool::open(std::move(connection), {});
  REQUIRE(pool);
  CHECK(send(**pool, version_read).code == 200);
  CHECK(second.seen().at(0).path == "/behind/a/path/version");
}

TEST_CASE("rest/with_retry.go: a probable EOF is a broken connection") {
  const HttpsServer server([](const SeenRequest&) { return Reply{.fault = Reply::Fault::end}; });
  const Response answer = send(*pool_of(server, {}), version_read);
  CHECK(answer.fault == Fault::reset);
  CHECK(answer.sent);
}

TEST_CASE("HTTP/2 where the server speaks it: requests in parallel share one connection") {
  const HttpsServer server(good, "IP:127.0.0.1", Protocol::http2);
  const auto pool = pool_of(server, {}, {.http2 = true});
  for (const Response& answer : pool->send(std::vector(30, version_read), {}))
    CHECK(answer.code == 200);
  CHECK(pool->send({version_read}, {}).front().body == "{}");
  const auto seen = server.seen();
  CHECK(seen.size() == 31);
  for (const SeenRequest& request : seen)
    CHECK(request.connection == 1);
}

TEST_CASE("a libcurl whose HTTP/2 may stand still is left to HTTP/1.1") {
  CHECK_FALSE(http2_is_sound(0x075801));
  CHECK_FALSE(http2_is_sound(0x0800ff));
  CHECK(http2_is_sound(0x080100));
  const HttpsServer server(good, "IP:127.0.0.1", Protocol::http2);
  const auto pool = pool_of(server, {}, Options{});
  for (const Response& answer : pool->send(std::vector(30, version_read), {}))
    CHECK(answer.code == 200);
  const auto seen = server.seen();
  const bool shared =
      std::all_of(seen.begin(), seen.end(), [](const SeenRequest& request) { return request.connection == 1; });
  CHECK(shared == http2_is_sound());
}

TEST_CASE("rest/with_retry.go: a read that meets HTTP/2's GOAWAY is sent again on another connection") {
  std::atomic<int> count{0};
  const HttpsServer server(
      [&](const SeenRequest&) { return ++count == 1 ? Reply{.fault = Reply::Fault::goaway} : Reply{}; }, "IP:127.0.0.1",
      Protocol::http2);
  const auto pool = pool_of(server, {}, {.http2 = true});
  const Exchanger exchanger([&](const auto& requests, Deadline until) { return pool->send(requests, until); }, 5s);
  CHECK(exchanger.send({version_read}, {}).front().code == 200);
  const auto seen = server.seen();
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].connection == 2);
}

// In the place of a limit on speed, which would end a watch that has nothing to tell: the kernel asks the peer. A
// server that lives and answers slowly is bounded by the time for a request.
TEST_CASE("apimachinery util/net/http.go: a dead peer is found after 30 s of silence and 15 s more") {
  int found = 0;
  int port = 0;
  const HttpsServer server([&](const SeenRequest&) {
    // The client's end is in this process, too: a socket whose peer is the server's port.
    for (int fd = 3; fd < 1024; ++fd) {
      sockaddr_in peer{};
      socklen_t size = sizeof(peer);
      if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || ntohs(peer.sin_port) != port) continue;
      ++found;
      const auto option = [&](int level, int name) {
        int value = 0;
        socklen_t length = sizeof(value);
        CHECK(getsockopt(fd, level, name, &value, &length) == 0);
        return value;
      };
      CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
      CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 30);
      CHECK(option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT) == 15);
      CHECK(option(IPPROTO_TCP, TCP_USER_TIMEOUT) == 45000);
    }
    return Reply{};
  });
  port = server.port();
  CHECK(send(*pool_of(server, {}), version_read).code == 200);
  CHECK(found == 1);
}

TEST_CASE("the URL of a server: https is implied, and what is none is told in a sentence") {
  CHECK(*server_url("198.51.100.1:6443/") == "https://198.51.100.1:6443");
  CHECK(*server_url("https://[2001:db8::1]:6443") == "https://[2001:db8::1]:6443");
  CHECK(*server_url("https://example.com/k8s/clusters/c-1") == "https://example.com/k8s/clusters/c-1");
  for (const auto& [text, why] :
       {std::pair{"ftp://a:1", "its scheme is ftp"},
        std::pair{"https://a:port", "Port number was not a decimal number"}, std::pair{"", "it is empty"},
        std::pair{"https://u:p@a", "it has a user, a query or a fragment"}}) {
    const auto url = server_url(text);
    REQUIRE_FALSE(url);
    CHECK(url.error().status == ExitStatus::usage);
    CHECK(url.error().message.find(fmt::format("\"{}\" is no URL of an API server ({}", text, why)) == 0);
  }
}

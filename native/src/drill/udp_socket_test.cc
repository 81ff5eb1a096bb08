// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/udp_socket.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "drill/fake_dns_testing.h"

namespace core_ha::drill {
namespace {

std::optional<Received> wait_for(const UdpSocket& socket, std::span<std::uint8_t> buffer) {
  pollfd ready{.fd = socket.fd(), .events = POLLIN, .revents = 0};
  REQUIRE(poll(&ready, 1, 10'000) == 1);
  return socket.receive(buffer);
}

/// The server's address and the cluster's domain, or the error.
std::string found_in(const std::string& content) {
  const std::string file = "resolv_conf_test.tmp";
  std::ofstream(file) << content;
  const Result<ResolvConf> found = read_resolv_conf(file);
  std::remove(file.c_str());
  return found ? found->server.to_string() + " " + found->cluster_domain : found.error().message;
}

TEST_SUITE("drill: UDP sockets") {
  TEST_CASE("addresses with and without a port") {
    for (const auto& [text, expected] :
         std::initializer_list<std::pair<const char*, const char*>>{{"10.43.0.10", "10.43.0.10:53"},
                                                                    {"10.43.0.10:5353", "10.43.0.10:5353"},
                                                                    {"fd00::a", "[fd00::a]:53"},
                                                                    {"[fd00::a]", "[fd00::a]:53"},
                                                                    {"[fd00::a]:5353", "[fd00::a]:5353"}}) {
      CAPTURE(text);
      const Result<Endpoint> endpoint = parse_endpoint(text);
      REQUIRE(endpoint);
      CHECK(endpoint->to_string() == expected);
    }
    for (const char* text :
         {"", "dns.example", "10.43.0.10:", "10.43.0.10:x", "10.43.0.10:70000", "[fd00::a", "[fd00::a]x", "1.2.3"}) {
      CAPTURE(text);
      const Result<Endpoint> endpoint = parse_endpoint(text);
      REQUIRE_FALSE(endpoint);
      CHECK(endpoint.error().status == ExitStatus::usage);
    }
  }

  TEST_CASE("the first nameserver of a resolv.conf, and the cluster's domain of a pod's") {
    CHECK(found_in("# comment\nsearch a b\nnameserver 10.43.0.10\nnameserver 9.9.9.9\n") ==
          "10.43.0.10:53 cluster.local");
    CHECK(found_in("search default.svc.k3s.example svc.k3s.example k3s.example lan\nnameserver fd43::a\n") ==
          "[fd43::a]:53 k3s.example");
    CHECK(found_in("search a\n").find("names no nameserver") != std::string::npos);
    CHECK(found_in("nameserver dns.example\n").find("is not an address") != std::string::npos);
    CHECK(read_resolv_conf("/nonexistent/resolv.conf").error().status == ExitStatus::usage);
  }

  TEST_CASE("a response arrives with the kernel's time") {
    const FakeDns server;
    UdpSocket socket;
    REQUIRE(socket.open(server.endpoint(), 0) == 0);
    const std::int64_t before = monotonic_ns();
    REQUIRE(socket.send(*encode_query(42, "a.b", 1)) == 0);
    std::array<std::uint8_t, 512> buffer{};
    const std::optional<Received> received = wait_for(socket, buffer);
    REQUIRE(received);
    CHECK(received->icmp_errno == 0);
    CHECK(message_id(std::span(buffer).first(received->size)) == 42);
    // The clocks are brought together to within a millisecond.
    CHECK(received->arrived_ns > before - 1'000'000);
    CHECK(received->arrived_ns <= monotonic_ns());
    CHECK_FALSE(socket.receive(buffer));
  }

  TEST_CASE("an ICMP refusal brings back the query that it answers, and does not fail the next one") {
    UdpSocket socket;
    REQUIRE(socket.open(closed_port(), 0) == 0);
    std::array<std::uint8_t, 512> buffer{};
    for (std::uint16_t id = 1; id <= 3; ++id) {
      REQUIRE(socket.send(*encode_query(id, "a.b", 1)) == 0);
      const std::optional<Received> received = wait_for(socket, buffer);
      REQUIRE(received);
      CHECK(received->icmp_errno == ECONNREFUSED);
      CHECK(message_id(std::span(buffer).first(received->size)) == id);
    }
    REQUIRE(socket.send(*encode_query(4, "a.b", 1)) == 0);
    CHECK(socket.send(*encode_query(5, "a.b", 1)) == 0);
  }

  TEST_CASE("source ports go round the whole range before one comes again") {
    PortCycle ports(100, 109, 107);
    std::set<std::uint16_t> seen;
    CHECK(ports.next() == 107);
    for (int i = 1; i < ports.size(); ++i)
      seen.insert(ports.next());
    CHECK(seen.size() == 9);
    CHECK(*seen.begin() == 100);
    CHECK(ports.next() == 107);
    CHECK(PortCycle::of_system().size() > 1000);
  }
}

}  // namespace
}  // namespace core_ha::drill

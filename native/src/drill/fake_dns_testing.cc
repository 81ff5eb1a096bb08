// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/fake_dns_testing.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

namespace core_ha::drill {
namespace {

using Clock = std::chrono::steady_clock;

std::pair<int, Endpoint> bind_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const Result<Endpoint> any = parse_endpoint("127.0.0.1:0");
  Endpoint bound = *any;
  socklen_t length = bound.length();
  if (fd < 0 || ::bind(fd, any->address(), any->length()) != 0 || ::getsockname(fd, bound.address(), &length) != 0) {
    throw std::runtime_error("no UDP socket on loopback");
  }
  return {fd, bound};
}

struct Delayed {
  Clock::time_point due;
  Bytes message;
  sockaddr_in to;
};

}  // namespace

Bytes fake_response(const Bytes& query, Rcode rcode) {
  Bytes response = query;
  response[2] = 0x81;
  response[3] = static_cast<std::uint8_t>(0x80U | static_cast<unsigned>(rcode));
  if (rcode == Rcode::no_error) {
    response[7] = 1;
    // A pointer to the question's name, type A, class IN, 5 s, four bytes of address.
    const std::array<std::uint8_t, 16> record = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 43, 0, 1};
    response.insert(response.end(), record.begin(), record.end());
  }
  return response;
}

FakeDns::FakeDns(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
  std::tie(fd_, endpoint_) = bind_loopback();
  thread_ = std::thread([this] { serve(); });
}

FakeDns::~FakeDns() {
  stop_ = true;
  thread_.join();
  ::close(fd_);
}

void FakeDns::serve() {
  std::vector<Delayed> delayed;
  std::array<std::uint8_t, 512> buffer{};
  while (!stop_) {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    ::poll(&ready, 1, delayed.empty() ? 20 : 1);
    while (true) {
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t got =
          ::recvfrom(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
      if (got <= 0) break;
      const FakeAction action = behaviour_(received_++, ntohs(from.sin_port));
      if (!action.rcode) continue;
      const Bytes query(buffer.begin(), buffer.begin() + got);
      delayed.push_back({Clock::now() + action.delay, fake_response(query, *action.rcode), from});
    }
    const Clock::time_point now = Clock::now();
    std::erase_if(delayed, [&](const Delayed& answer) {
      if (answer.due > now) return false;
      ::sendto(fd_, answer.message.data(), answer.message.size(), 0, reinterpret_cast<const sockaddr*>(&answer.to),
               sizeof answer.to);
      return true;
    });
  }
}

Endpoint closed_port() {
  const auto [fd, endpoint] = bind_loopback();
  ::close(fd);
  return endpoint;
}

}  // namespace core_ha::drill

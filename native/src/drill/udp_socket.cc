// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/udp_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/errqueue.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>
#include <random>
#include <sstream>

namespace core_ha::drill {
namespace {

constexpr std::uint16_t dns_port = 53;

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * second_ns + now.tv_nsec;
}

// musl's CMSG_NXTHDR compares sizes of both signs; it says the right thing.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
const cmsghdr* next_control(const msghdr& message, const cmsghdr* before) {
  if (before == nullptr) return CMSG_FIRSTHDR(&message);
  return CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(before));
}
#pragma GCC diagnostic pop

/// The kernel stamps datagrams by the wall clock; both clocks are read here to bring that to the monotonic one.
std::int64_t arrival_of(const msghdr& message) {
  const std::int64_t now = monotonic_ns();
  for (const cmsghdr* c = next_control(message, nullptr); c != nullptr; c = next_control(message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp{};
    std::memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
    const std::int64_t age = clock_ns(CLOCK_REALTIME) - (stamp.tv_sec * second_ns + stamp.tv_nsec);
    // A wall clock that was set meanwhile would give nonsense.
    return age >= 0 && age < 60 * second_ns ? now - age : now;
  }
  return now;
}

int icmp_errno_of(const msghdr& message) {
  for (const cmsghdr* c = next_control(message, nullptr); c != nullptr; c = next_control(message, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    if (!v4 && !v6) continue;
    sock_extended_err error{};
    std::memcpy(&error, CMSG_DATA(c), sizeof error);
    return static_cast<int>(error.ee_errno);
  }
  return ECONNREFUSED;
}

/// An errno that tells of an earlier datagram's fate; the error queue has the details.
bool from_icmp(int error) {
  return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EHOSTDOWN ||
         error == ENOPROTOOPT || error == EPROTO || error == EACCES;
}

}  // namespace

Endpoint::Endpoint(const sockaddr_in& address) {
  std::memcpy(&storage_, &address, sizeof address);
}
Endpoint::Endpoint(const sockaddr_in6& address) {
  std::memcpy(&storage_, &address, sizeof address);
}

std::string Endpoint::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &storage_, sizeof v6);
    inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port));
  }
  sockaddr_in v4{};
  std::memcpy(&v4, &storage_, sizeof v4);
  inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  return fmt::format("{}:{}", text.data(), ntohs(v4.sin_port));
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  const Error bad{ExitStatus::usage,
                  fmt::format("\"{}\" is not an address with an optional port, such as 10.43.0.10:53.", text)};
  std::string host(text);
  std::uint16_t port = dns_port;
  std::size_t colon = std::string::npos;
  if (!host.empty() && host.front() == '[') {
    const std::size_t end = host.find(']');
    if (end == std::string::npos) return bad;
    if (end + 1 < host.size()) {
      if (host[end + 1] != ':') return bad;
      colon = end + 1;
    }
    host = host.substr(1, end - 1);
  } else if (text.find(':') == text.rfind(':') && text.find(':') != std::string_view::npos) {
    colon = text.find(':');
    host = host.substr(0, colon);
  }
  if (colon != std::string::npos) {
    const char* first = text.data() + colon + 1;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, port);
    if (error != std::errc() || end != last) return bad;
  }
  sockaddr_in v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return Endpoint(v4);
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return Endpoint(v6);
  }
  return bad;
}

Result<ResolvConf> read_resolv_conf(const std::string& file) {
  std::ifstream in(file);
  if (!in) return Error{ExitStatus::usage, fmt::format("{} cannot be read: {}.", file, std::strerror(errno))};
  ResolvConf found;
  std::string address;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    const bool search = word == "search";
    if (word == "nameserver" && address.empty()) words >> address;
    // A pod's list is NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN …
    constexpr std::string_view services = "svc.";
    while (search && words >> word)
      if (word.starts_with(services)) found.cluster_domain = word.substr(services.size());
  }
  if (address.empty()) return Error{ExitStatus::usage, fmt::format("{} names no nameserver.", file)};
  auto server = parse_endpoint(address);
  if (!server) return server.error();
  found.server = *server;
  return found;
}

std::int64_t monotonic_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}

int UdpSocket::open(const Endpoint& server, std::uint16_t source_port) {
  close();
  fd_ = ::socket(server.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return errno;
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  int failed = 0;
  if (server.family() == AF_INET6) {
    ::setsockopt(fd_, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    sockaddr_in6 local{};
    local.sin6_family = AF_INET6;
    local.sin6_port = htons(source_port);
    failed = ::bind(fd_, reinterpret_cast<const sockaddr*>(&local), sizeof local);
  } else {
    ::setsockopt(fd_, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_port = htons(source_port);
    failed = ::bind(fd_, reinterpret_cast<const sockaddr*>(&local), sizeof local);
  }
  if (failed == 0) failed = ::connect(fd_, server.address(), server.length());
  if (failed == 0) return 0;
  const int error = errno;
  close();
  return error;
}

void UdpSocket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int UdpSocket::send(std::span<const std::uint8_t> message) const {
  for (int attempt = 0;; ++attempt) {
    if (::send(fd_, message.data(), message.size(), MSG_NOSIGNAL) >= 0) return 0;
    if (errno == EINTR) continue;
    if (attempt == 0 && from_icmp(errno)) continue;
    return errno;
  }
}

std::optional<Received> UdpSocket::receive(std::span<std::uint8_t> buffer) const {
  for (const int flags : {0, static_cast<int>(MSG_ERRQUEUE)}) {
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr) std::array<std::uint8_t, 512> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = ::recvmsg(fd_, &message, flags);
    // The first call after an ICMP error only reports it, and would hide a datagram that waits behind it.
    if (got < 0 && flags == 0 && errno != EAGAIN) {
      message.msg_controllen = control.size();
      got = ::recvmsg(fd_, &message, flags);
    }
    if (got < 0) continue;
    return Received{.size = static_cast<std::size_t>(got),
                    .icmp_errno = flags == 0 ? 0 : icmp_errno_of(message),
                    .arrived_ns = arrival_of(message)};
  }
  return std::nullopt;
}

PortCycle PortCycle::of_system() {
  unsigned first = 32768;
  unsigned last = 60999;
  std::ifstream range("/proc/sys/net/ipv4/ip_local_port_range");
  if (unsigned a = 0, b = 0; range >> a >> b && a > 0 && a <= b && b <= 65535) {
    first = a;
    last = b;
  }
  std::random_device random;
  const unsigned start = std::uniform_int_distribution<unsigned>(first, last)(random);
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last), static_cast<std::uint16_t>(start)};
}

std::uint16_t PortCycle::next() {
  const std::uint16_t port = next_;
  next_ = next_ == last_ ? first_ : static_cast<std::uint16_t>(next_ + 1);
  return port;
}

}  // namespace core_ha::drill

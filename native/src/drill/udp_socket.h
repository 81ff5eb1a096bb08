// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace core_ha::drill {

/// A second in the unit of all times here.
inline constexpr std::int64_t second_ns = 1'000'000'000;

/// An IPv4 or IPv6 address with a port.
class Endpoint {
 public:
  Endpoint() = default;
  explicit Endpoint(const sockaddr_in& address);
  explicit Endpoint(const sockaddr_in6& address);

  sockaddr* address() { return reinterpret_cast<sockaddr*>(&storage_); }
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return family() == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in); }
  sa_family_t family() const { return storage_.ss_family; }
  /// `10.43.0.10:53`, `[fd00::a]:53`.
  std::string to_string() const;

 private:
  sockaddr_storage storage_ = {};
};

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; the port is 53 where none is named. Names are not resolved: that is
/// what is being probed.
Result<Endpoint> parse_endpoint(std::string_view text);

/// What a resolv.conf(5) says of the cluster's DNS.
struct ResolvConf {
  Endpoint server;                               ///< the first nameserver
  std::string cluster_domain = "cluster.local";  ///< by its search list, where that is a pod's
};
Result<ResolvConf> read_resolv_conf(const std::string& file);

/// What a socket has to tell: a datagram, or an ICMP error with the datagram that caused it.
struct Received {
  std::size_t size = 0;         ///< Bytes put into the buffer.
  int icmp_errno = 0;           ///< Not 0: an ICMP error, such as ECONNREFUSED; the buffer has what we had sent.
  std::int64_t arrived_ns = 0;  ///< When the kernel had it, on monotonic_ns()'s clock.
};

/// CLOCK_MONOTONIC in nanoseconds.
std::int64_t monotonic_ns();

/// A connected, non-blocking UDP socket. Errors are errno values: a probe counts them.
class UdpSocket {
 public:
  UdpSocket() = default;
  ~UdpSocket() { close(); }
  UdpSocket(UdpSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UdpSocket& operator=(UdpSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  /// From this source port; 0 leaves it to the kernel. Returns 0 or errno.
  int open(const Endpoint& server, std::uint16_t source_port);
  void close();
  /// Returns 0 or errno. What an ICMP error left behind for the next call is not taken for an error of this one.
  int send(std::span<const std::uint8_t> message) const;
  /// The next thing that came, or nothing.
  std::optional<Received> receive(std::span<std::uint8_t> buffer) const;

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Source ports one after the other through the system's whole ephemeral range. The kernel's own choice is random, and
/// at a hundred queries a second would soon repeat a port that conntrack still remembers.
class PortCycle {
 public:
  PortCycle(std::uint16_t first, std::uint16_t last, std::uint16_t start) : first_(first), last_(last), next_(start) {}
  /// The system's range, from a random port of it on.
  static PortCycle of_system();
  std::uint16_t next();
  int size() const { return last_ - first_ + 1; }

 private:
  std::uint16_t first_;
  std::uint16_t last_;
  std::uint16_t next_;
};

}  // namespace core_ha::drill

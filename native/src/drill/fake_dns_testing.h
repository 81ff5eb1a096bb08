// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "drill/dns_message.h"
#include "drill/udp_socket.h"

namespace core_ha::drill {

/// A well-formed response to a query, with one address where the code is no_error.
Bytes fake_response(const Bytes& query, Rcode rcode = Rcode::no_error);

/// What a FakeDns does with a query.
struct FakeAction {
  std::optional<Rcode> rcode = Rcode::no_error;  ///< nothing: no response
  std::chrono::milliseconds delay{0};
};

/// A DNS server on a port of loopback, in a thread of its own, that answers as a test tells it to.
class FakeDns {
 public:
  /// Asked for the n-th query, which came from this source port.
  using Behaviour = std::function<FakeAction(int n, std::uint16_t source_port)>;

  explicit FakeDns(Behaviour behaviour = [](int, std::uint16_t) { return FakeAction{}; });
  ~FakeDns();
  FakeDns(const FakeDns&) = delete;
  FakeDns& operator=(const FakeDns&) = delete;

  Endpoint endpoint() const { return endpoint_; }
  int received() const { return received_; }

 private:
  void serve();

  Behaviour behaviour_;
  Endpoint endpoint_;
  int fd_ = -1;
  std::atomic<bool> stop_ = false;
  std::atomic<int> received_ = 0;
  std::thread thread_;
};

/// A loopback endpoint at which nobody listens.
Endpoint closed_port();

}  // namespace core_ha::drill

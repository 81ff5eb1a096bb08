// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"
#include "drill/tally.h"
#include "drill/udp_socket.h"

namespace core_ha::drill {

struct ProbeOptions {
  Endpoint server;
  std::string name;
  std::uint16_t type = 1;
  double rate = 100;       ///< queries a second from fresh source ports, in all
  int fixed_ports = 0;     ///< clients that keep a source port
  double fixed_rate = 0;   ///< queries a second of each of those
  double duration_s = 60;  ///< 0: until stopped
  double timeout_s = 2;    ///< lost is what has no response so long after its planned time of sending
  double late_s = 3;       ///< how much longer a late response is looked for
  int stop_fd = -1;        ///< readable when the probe is to end early
};

/// What happened in the second before `t_ns`; a query is counted there when it is planned, and again when it ends.
struct Tick {
  struct Counts {
    std::int64_t planned = 0;
    std::int64_t sent = 0;
    std::int64_t answered = 0;
    std::int64_t lost = 0;
    std::int64_t failed = 0;  ///< any other ending
  };
  std::int64_t t_ns = 0;
  std::int64_t waiting = 0;  ///< queries under way at that time
  Counts fresh;
  Counts fixed;
};

/// Who wants to know what. Records come in the order of planned times, over all clients, each once.
struct ProbeObserver {
  std::function<void(double start_epoch)> on_start;
  std::function<void(const QueryRecord&)> on_record;
  std::function<void(int client, std::int64_t latency_ns)> on_late;
  std::function<void(const Tick&)> on_tick;
};

struct ProbeRun {
  double start_epoch = 0;                             ///< wall clock at the start, seconds
  std::int64_t length_ns = 0;                         ///< for how long queries were planned
  bool stopped = false;                               ///< ended by stop_fd
  std::int64_t malformed = 0;                         ///< datagrams that were no response to a query of ours
  std::map<std::string, std::int64_t> socket_errors;  ///< by errno's name: why queries could not be sent
};

/// Sends queries at their planned times whatever becomes of them (open loop), and tells the observer. One thread.
Result<ProbeRun> run_probe(const ProbeOptions& options, const ProbeObserver& observer);

}  // namespace core_ha::drill

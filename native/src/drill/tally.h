// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "drill/latency.h"

namespace core_ha::drill {

/// How a query ended. Each ends in exactly one way.
enum class Ending : std::uint8_t {
  answered,  ///< NOERROR, in time
  nxdomain,  ///< in time
  servfail,
  refused,
  other,    ///< another response code
  icmp,     ///< an ICMP error came back
  lost,     ///< no response within the time, counted from the planned time of sending
  error,    ///< it could not be sent; our own machine's fault
  pending,  ///< not yet; no record has it
};
inline constexpr int endings = 9;

/// The ending's name in records and summaries.
std::string_view to_string(Ending ending);
std::optional<Ending> ending_of(std::string_view name);

/// What became of one query. Times are nanoseconds since the start of the probe.
struct QueryRecord {
  int client = 0;               ///< 0: from a fresh source port; 1 and up: the client of that fixed port
  std::int64_t planned_ns = 0;  ///< when it was to be sent
  std::int64_t lag_ns = 0;      ///< how much later it was sent
  std::int64_t latency_ns = 0;  ///< from sending to the response; 0 where there was none
  Ending ending = Ending::pending;
};

/// What clients saw, from the records of queries in the order of their planned times. Counts, and what needs order:
/// silences, the first and last loss, and the share of lost queries since a fault.
class Tally {
 public:
  /// `fault_ns`: when the fault was, since the start; then the share of losses is taken from it on.
  Tally(int clients, std::optional<std::int64_t> fault_ns);

  void add(const QueryRecord& record);
  /// A response to a query that was already counted as lost.
  void add_late(std::int64_t latency_ns);

  std::int64_t of(Ending ending) const { return counts_[static_cast<int>(ending)]; }
  std::int64_t planned() const { return planned_; }
  std::int64_t sent() const { return planned_ - of(Ending::error); }

  /// `start_epoch`: wall-clock seconds of the start, to give losses' times that other tools can use.
  Json summary(double start_epoch) const;

 private:
  /// A client's queries in a row without a usable response.
  struct Silence {
    std::optional<std::int64_t> since;
    std::int64_t last = 0;
    std::int64_t longest = 0;
    std::int64_t longest_since = 0;
    std::int64_t lost = 0;
  };
  static std::int64_t open_end(const Silence& silence);

  std::optional<std::int64_t> fault_;
  std::vector<Silence> silences_;
  std::array<std::int64_t, endings> counts_ = {};
  std::int64_t planned_ = 0;
  std::int64_t late_ = 0;
  std::int64_t latest_ns_ = 0;
  std::int64_t max_lag_ = 0;
  std::optional<std::int64_t> first_lost_;
  std::int64_t last_lost_ = 0;
  LatencyHistogram latencies_;
  std::int64_t since_fault_ = 0;
  std::int64_t lost_since_fault_ = 0;
  std::int64_t since_fault_to_last_lost_ = 0;
};

}  // namespace core_ha::drill

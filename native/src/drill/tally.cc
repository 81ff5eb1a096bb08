// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/tally.h"

#include <algorithm>
#include <cmath>

namespace core_ha::drill {
namespace {

constexpr std::array<std::string_view, endings> names = {"answered", "nxdomain", "servfail", "refused", "other",
                                                         "icmp",     "lost",     "error",    "pending"};

/// To so many parts of one, so that JSON shows 0.123 and not its nearest binary fraction.
double rounded(double value, double parts) {
  return std::round(value * parts) / parts;
}
double seconds(std::int64_t ns) {
  return rounded(static_cast<double>(ns) / 1e9, 1e3);
}
double milliseconds(std::int64_t ns) {
  return rounded(static_cast<double>(ns) / 1e6, 1e3);
}

/// NXDOMAIN is a server that lives and answers, if not what was hoped for.
bool breaks_silence(Ending ending) {
  return ending == Ending::answered || ending == Ending::nxdomain;
}

}  // namespace

std::string_view to_string(Ending ending) {
  return names[static_cast<int>(ending)];
}

std::optional<Ending> ending_of(std::string_view name) {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Ending>(found - names.begin());
}

Tally::Tally(int clients, std::optional<std::int64_t> fault_ns) : fault_(fault_ns), silences_(clients) {}

void Tally::add(const QueryRecord& record) {
  ++planned_;
  ++counts_[static_cast<int>(record.ending)];
  max_lag_ = std::max(max_lag_, record.lag_ns);
  if (record.ending == Ending::answered) latencies_.add(record.latency_ns);

  // A query that was never sent says nothing about the server.
  Silence& silence = silences_.at(record.client);
  if (breaks_silence(record.ending)) {
    if (silence.since && record.planned_ns - *silence.since > silence.longest) {
      silence.longest = record.planned_ns - *silence.since;
      silence.longest_since = *silence.since;
    }
    silence.since.reset();
  } else if (record.ending != Ending::error) {
    if (!silence.since) silence.since = record.planned_ns;
    silence.last = record.planned_ns;
  }

  const bool lost = record.ending == Ending::lost;
  if (lost) {
    ++silence.lost;
    if (!first_lost_) first_lost_ = record.planned_ns;
    last_lost_ = std::max(last_lost_, record.planned_ns);
  }
  if (fault_ && record.planned_ns >= *fault_ && record.ending != Ending::error) {
    ++since_fault_;
    if (lost) {
      ++lost_since_fault_;
      since_fault_to_last_lost_ = since_fault_;
    }
  }
}

void Tally::add_late(std::int64_t latency_ns) {
  ++late_;
  latest_ns_ = std::max(latest_ns_, latency_ns);
}

/// A silence that lasted to the end of the probe is at least as long as the queries that went into it.
std::int64_t Tally::open_end(const Silence& silence) {
  return silence.since ? silence.last - *silence.since : 0;
}

Json Tally::summary(double start_epoch) const {
  const auto epoch = [&](std::int64_t ns) { return rounded(start_epoch + static_cast<double>(ns) / 1e9, 1e3); };
  Json out = {{"planned", planned_}, {"sent", sent()}};
  for (const Ending ending : {Ending::answered, Ending::lost, Ending::servfail, Ending::refused, Ending::nxdomain,
                              Ending::other, Ending::icmp}) {
    out[std::string(to_string(ending))] = of(ending);
  }
  out["errors"] = of(Ending::error);
  out["late"] = late_;
  if (late_ > 0) out["latest_s"] = seconds(latest_ns_);
  out["max_send_lag_ms"] = milliseconds(max_lag_);

  std::int64_t longest = 0;
  std::int64_t longest_since = 0;
  bool to_the_end = false;
  std::int64_t with_loss = 0;
  for (const Silence& silence : silences_) {
    if (silence.longest > longest) {
      longest = silence.longest;
      longest_since = silence.longest_since;
      to_the_end = false;
    }
    if (open_end(silence) > longest) {
      longest = open_end(silence);
      longest_since = *silence.since;
      to_the_end = true;
    }
    if (silence.lost > 0) ++with_loss;
  }
  out["longest_silence_s"] = seconds(longest);
  if (longest > 0) {
    out["longest_silence_at"] = epoch(longest_since);
    out["longest_silence_ended"] = !to_the_end;
  }
  if (silences_.size() != 1) out["clients_with_loss"] = with_loss;
  out["first_lost_at"] = first_lost_ ? Json(epoch(*first_lost_)) : Json();
  out["last_lost_at"] = first_lost_ ? Json(epoch(last_lost_)) : Json();
  out["latency_ms"] = {{"p50", milliseconds(latencies_.quantile_ns(0.5))},
                       {"p99", milliseconds(latencies_.quantile_ns(0.99))},
                       {"max", milliseconds(latencies_.max_ns())}};
  if (fault_) {
    // From the fault to the last lost query: how bad it was while it was bad.
    Json since = {{"queries", since_fault_to_last_lost_}, {"lost", lost_since_fault_}};
    since["share"] =
        since_fault_to_last_lost_ == 0
            ? 0.0
            : rounded(static_cast<double>(lost_since_fault_) / static_cast<double>(since_fault_to_last_lost_), 1e4);
    since["last_lost_after_s"] = lost_since_fault_ == 0 ? Json() : Json(seconds(last_lost_ - *fault_));
    out["since_fault"] = std::move(since);
  }
  return out;
}

}  // namespace core_ha::drill

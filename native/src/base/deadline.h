// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <algorithm>
#include <chrono>

namespace core_ha {

/// A point in time after which nobody waits any longer. Monotonic: a changed wall clock does not move it.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  /// Never expires.
  Deadline() : at_(Clock::time_point::max()) {}
  static Deadline after(std::chrono::milliseconds span) { return Deadline(Clock::now() + span); }
  /// The earlier of two.
  static Deadline earlier(Deadline a, Deadline b) { return a.at_ < b.at_ ? a : b; }

  bool never() const { return at_ == Clock::time_point::max(); }
  bool expired() const { return !never() && Clock::now() >= at_; }
  Clock::time_point at() const { return at_; }
  /// What is left, never negative, and 0 only once it has expired; a day where there is no end.
  std::chrono::milliseconds remaining() const {
    using namespace std::chrono;
    if (never()) return hours(24);
    return std::max(milliseconds(0), ceil<milliseconds>(at_ - Clock::now()));
  }

 private:
  explicit Deadline(Clock::time_point at) : at_(at) {}
  Clock::time_point at_;
};

}  // namespace core_ha

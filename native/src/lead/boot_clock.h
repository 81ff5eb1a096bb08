// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <time.h>

#include <chrono>

namespace core_ha::lead {

/// CLOCK_BOOTTIME: nobody sets it, and it goes on while the machine sleeps, as the other holders' clocks do meanwhile.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
};

using BootTime = BootClock::time_point;

/// For timers that are set to a point in time of this clock.
inline timespec to_timespec(BootTime time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch());
  return {.tv_sec = whole.count(), .tv_nsec = (time.time_since_epoch() - whole).count()};
}

}  // namespace core_ha::lead

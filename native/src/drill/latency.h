// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <array>
#include <cstdint>

namespace core_ha::drill {

/// Durations counted in buckets that grow with the value: any quantile to within 1 %, in a few kilobytes, however
/// long a probe runs.
class LatencyHistogram {
 public:
  void add(std::int64_t ns);
  std::uint64_t count() const { return count_; }
  std::int64_t max_ns() const { return max_; }
  /// The value that this share (0 to 1) of all is not above; 0 when there is none.
  std::int64_t quantile_ns(double share) const;

 private:
  // Microseconds, 128 linear steps within each power of two: up to 2^31 us, beyond half an hour.
  static constexpr int step_bits = 7;
  static constexpr int buckets = (32 - step_bits + 1) << step_bits;
  static int bucket_of(std::uint64_t us);
  static std::uint64_t upper_us(int bucket);

  std::array<std::uint32_t, buckets> counts_ = {};
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace core_ha::drill

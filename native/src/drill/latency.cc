// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace core_ha::drill {

int LatencyHistogram::bucket_of(std::uint64_t us) {
  const int bits = static_cast<int>(std::bit_width(us));
  const int shift = std::max(0, bits - 1 - step_bits);
  const auto within = static_cast<int>(us >> shift);
  return std::min((shift << step_bits) + within, buckets - 1);
}

std::uint64_t LatencyHistogram::upper_us(int bucket) {
  constexpr int first_shifted = 2 << step_bits;
  if (bucket < first_shifted) return static_cast<std::uint64_t>(bucket);
  const int shift = (bucket >> step_bits) - 1;
  const auto within = static_cast<std::uint64_t>(bucket - (shift << step_bits));
  return ((within + 1) << shift) - 1;
}

void LatencyHistogram::add(std::int64_t ns) {
  const std::int64_t value = std::max<std::int64_t>(ns, 0);
  ++counts_[bucket_of(static_cast<std::uint64_t>((value + 500) / 1000))];
  ++count_;
  max_ = std::max(max_, value);
}

std::int64_t LatencyHistogram::quantile_ns(double share) const {
  if (count_ == 0) return 0;
  const auto wanted =
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (int bucket = 0; bucket < buckets; ++bucket) {
    seen += counts_[bucket];
    if (seen < wanted) continue;
    // The last bucket has no upper end.
    return bucket == buckets - 1 ? max_ : std::min(static_cast<std::int64_t>(upper_us(bucket)) * 1000, max_);
  }
  return max_;
}

}  // namespace core_ha::drill

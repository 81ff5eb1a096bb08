// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/latency.h"

#include <doctest/doctest.h>

namespace core_ha::drill {
namespace {

TEST_SUITE("drill: latency histogram") {
  TEST_CASE("no values, no quantiles") {
    const LatencyHistogram none;
    CHECK(none.quantile_ns(0.5) == 0);
    CHECK(none.max_ns() == 0);
  }

  TEST_CASE("quantiles are within 1 % over seven powers of ten") {
    for (std::int64_t scale = 1000; scale <= 10'000'000'000; scale *= 10) {
      LatencyHistogram histogram;
      for (int i = 1; i <= 1000; ++i)
        histogram.add(scale * i);
      CAPTURE(scale);
      CHECK(histogram.count() == 1000);
      // The top of the range is what the last bucket holds.
      if (scale <= 1'000'000'000) {
        CHECK(static_cast<double>(histogram.quantile_ns(0.5)) ==
              doctest::Approx(500 * static_cast<double>(scale)).epsilon(0.01));
        CHECK(static_cast<double>(histogram.quantile_ns(0.99)) ==
              doctest::Approx(990 * static_cast<double>(scale)).epsilon(0.01));
      }
      CHECK(histogram.quantile_ns(1) == 1000 * scale);
      CHECK(histogram.max_ns() == 1000 * scale);
    }
  }

  TEST_CASE("values out of range are kept at its ends") {
    LatencyHistogram histogram;
    histogram.add(-5);
    CHECK(histogram.quantile_ns(1) == 0);
    histogram.add(std::int64_t{1} << 62);
    CHECK(histogram.quantile_ns(1) == histogram.max_ns());
  }
}

}  // namespace
}  // namespace core_ha::drill

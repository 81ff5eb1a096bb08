// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/backoff.h"

#include <doctest/doctest.h>

using namespace std::chrono_literals;

TEST_CASE("pauses between tries double up to a bound, and are not the same for everyone") {
  core_ha::Backoff pause(100ms, 400ms);
  for (const auto base : {100ms, 200ms, 400ms, 400ms}) {
    const auto drawn = pause.next();
    CHECK(drawn >= base);
    CHECK(drawn < 2 * base);
  }
  pause.reset();
  CHECK(pause.next() < 200ms);
}

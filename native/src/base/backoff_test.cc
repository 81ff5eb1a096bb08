// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/backoff.h"

#include <doctest/doctest.h>

#include <chrono>
#include <set>

using namespace std::chrono_literals;

TEST_CASE("util/wait/backoff.go: pauses between tries double up to a bound, and are not the same for everyone") {
  core_ha::Backoff pause(100ms, 400ms);
  for (const auto base : {100ms, 200ms, 400ms, 400ms}) {
    const auto drawn = pause.next();
    CHECK(drawn >= base);
    CHECK(drawn < 2 * base);
  }
  pause.reset();
  CHECK(pause.next() < 200ms);
  std::set<std::chrono::milliseconds> drawn;
  for (int i = 0; i < 20; ++i)
    drawn.insert(core_ha::random_time(50ms, 500ms));
  CHECK(drawn.size() > 1);
}

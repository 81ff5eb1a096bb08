// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/interrupt.h"

#include <doctest/doctest.h>

#include <csignal>

using namespace std::chrono_literals;

TEST_CASE("a signal ends a sleep at once, and a shield lets it go on") {
  core_ha::catch_interrupts();
  core_ha::reset_interrupts();
  CHECK(core_ha::sleep_for(5ms));
  std::raise(SIGTERM);
  CHECK(core_ha::interrupted());
  CHECK(core_ha::should_stop());
  const auto start = core_ha::Deadline::Clock::now();
  CHECK_FALSE(core_ha::sleep_for(10s));
  CHECK(core_ha::Deadline::Clock::now() - start < 5s);
  {
    const core_ha::InterruptShield shield;
    CHECK_FALSE(core_ha::should_stop());
    CHECK(core_ha::sleep_for(5ms));
  }
  CHECK(core_ha::should_stop());
  core_ha::reset_interrupts();
}

TEST_CASE("a terminal that closes is a signal like the others, however often it says so") {
  core_ha::catch_interrupts();
  core_ha::reset_interrupts();
  std::raise(SIGHUP);
  std::raise(SIGHUP);
  CHECK(core_ha::should_stop());
  core_ha::reset_interrupts();
}

TEST_CASE("a deadline: what is left is never negative, and the earlier of two counts") {
  using core_ha::Deadline;
  CHECK(Deadline().never());
  CHECK_FALSE(Deadline().expired());
  CHECK(Deadline::after(-5ms).expired());
  CHECK(Deadline::after(-5ms).remaining().count() == 0);
  CHECK(Deadline::earlier(Deadline(), Deadline::after(1s)).remaining() <= 1s);
}

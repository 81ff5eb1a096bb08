// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/deadline.h"

namespace core_ha {

/// SIGINT, SIGTERM and SIGHUP as a state to ask for, so that work ends where the cluster is good, not where the signal
/// fell. A second one, other than SIGHUP, ends the process at once.
void catch_interrupts();

/// True from the first signal on.
bool interrupted();

/// Readable from the first signal on; for poll(2). -1 before catch_interrupts().
int interrupt_fd();

/// Sleeps until then; returns false, at once, when interrupted.
bool sleep_until(Deadline until);
bool sleep_for(std::chrono::milliseconds span);

/// While one lives, waits and requests go on although interrupted: for going back, and for the end of a write.
class InterruptShield {
 public:
  InterruptShield();
  ~InterruptShield();
  InterruptShield(const InterruptShield&) = delete;
  InterruptShield& operator=(const InterruptShield&) = delete;
};

/// True when interrupted and no shield is up: what loops ask.
bool should_stop();

/// Forgets a signal; for tests.
void reset_interrupts();

}  // namespace core_ha

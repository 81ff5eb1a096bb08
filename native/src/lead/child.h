// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "lead/boot_clock.h"

namespace core_ha::lead {

/// What is to die is killed again so often: it may have started more meanwhile.
inline constexpr std::chrono::milliseconds between_kills{20};

/// A program that could not be started, with the exit status that env(1) gives then: 127 not found, 126 anything else.
struct StartError : Error {
  int exit_status = 126;
};

/// Starts a program, found by PATH, that is killed when the calling thread ends. It runs with these signals blocked and
/// with the dispositions of a fresh process. (The kernel forgets the bond where the program is set-user-ID or has file
/// capabilities.)
Result<pid_t, StartError> start_program(const std::vector<std::string>& words, const sigset_t& blocked);

/// Orphans among our descendants come to us, not to init, so that waitpid(2) knows of all of them.
void adopt_orphans();

/// The exit status that a shell gives for it: its own, or 128 + the signal.
int exit_status_of(int wait_status);

/// What is left of our descendants.
struct Remains {
  bool none = false;                  ///< exact: the kernel knows of no child of ours
  std::optional<pid_t> out_of_reach;  ///< only processes are left that we may not signal; one of them
  std::optional<pid_t> one = {};      ///< that lives still; it may be in uninterruptible sleep
};

/// Buries the dead among our children; the wait status of `program` should it be among them.
std::optional<int> bury_dead(pid_t program);

/// SIGKILL for every descendant. To be called again until none is left: a process may start another one meanwhile.
Remains kill_descendants();

/// Whether we have a child at all, be it dead.
bool have_children();

/// Kills this process at a given time, by the kernel's hand: also when it is stopped, hangs or gets no processor. What
/// start_program() started dies with it. Only init of a PID namespace is spared, so that one must not rely on it.
class DeadMansSwitch {
 public:
  DeadMansSwitch();
  ~DeadMansSwitch();
  DeadMansSwitch(const DeadMansSwitch&) = delete;
  DeadMansSwitch& operator=(const DeadMansSwitch&) = delete;

  /// Replaces the time set before; BootTime::max(): never.
  void set(BootTime at);

 private:
  timer_t timer_{};
  BootTime at_ = BootTime::max();
};

}  // namespace core_ha::lead

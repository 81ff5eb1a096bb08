// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include <optional>

namespace core_ha::lead {

/// While one lives, the signals that a program may be sent by people and supervisors (HUP, INT, QUIT, TERM, USR1,
/// USR2) and SIGCHLD are blocked in this thread and in those it starts, and are read here. A SIGHUP that is ignored
/// (nohup) stays so.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable when a signal waits; for poll(2).
  int fd() const { return fd_; }
  /// The next one that waits, if any.
  std::optional<signalfd_siginfo> next() const;
  /// What was blocked before: a program of ours starts with that.
  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_{};
  int fd_ = -1;
};

/// True when another process sent it. The terminal's own signals reach our children without us.
bool to_pass_on(const signalfd_siginfo& signal);

}  // namespace core_ha::lead

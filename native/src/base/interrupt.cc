// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "base/exit_status.h"

namespace core_ha {
namespace {

// A pipe, not an eventfd: its read end stays readable for everyone who polls it, and write(2) is all a handler needs.
std::atomic<int> read_end{-1};
std::atomic<int> write_end{-1};
std::atomic<int> signals{0};
std::atomic<int> shields{0};

void on_signal(int number) {
  // A terminal that closes can send SIGHUP twice (the kernel, and the shell), and nobody is there to insist.
  const bool insists = number != SIGHUP;
  if (signals.fetch_add(1) > 0) {
    if (insists) _exit(static_cast<int>(ExitStatus::interrupted));
    return;
  }
  const int saved = errno;
  const char byte = 1;
  if (write(write_end, &byte, 1) < 0) {
    // Nothing can be reported from a handler; `signals` alone then says it, at the end of the current poll.
  }
  errno = saved;
}

}  // namespace

void catch_interrupts() {
  if (write_end < 0) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
      read_end = ends[0];
      write_end = ends[1];
    }
  }
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup{};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup stays nohup
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigemptyset(&ignore.sa_mask);
  sigaction(SIGPIPE, &ignore, nullptr);  // a closed stdout or peer is an error value, not a death half-way
}

bool interrupted() {
  return signals > 0;
}

int interrupt_fd() {
  return read_end;
}

bool should_stop() {
  return interrupted() && shields == 0;
}

bool sleep_until(Deadline until) {
  while (!should_stop()) {
    const auto left = until.remaining();
    if (left.count() == 0) return true;
    // Under a shield the pipe may be readable for good: then only the clock counts.
    pollfd entry{read_end, POLLIN, 0};
    const nfds_t count = read_end >= 0 && !interrupted() ? 1 : 0;
    poll(&entry, count, static_cast<int>(left.count()));
  }
  return false;
}

bool sleep_for(std::chrono::milliseconds span) {
  return sleep_until(Deadline::after(span));
}

InterruptShield::InterruptShield() {
  shields.fetch_add(1);
}
InterruptShield::~InterruptShield() {
  shields.fetch_sub(1);
}

void reset_interrupts() {
  signals = 0;
  char byte;
  while (read_end >= 0 && read(read_end, &byte, 1) > 0) {
  }
}

}  // namespace core_ha

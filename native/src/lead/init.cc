// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/init.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <system_error>

#include "base/exit_status.h"
#include "base/log.h"
#include "lead/child.h"

namespace core_ha::lead {
namespace {

int run(const std::function<int(const Signals&)>& work, const Signals& signals) {
  try {
    return work(signals);
  } catch (const std::exception& error) {
    log::error(fmt::format("internal error: {}", error.what()));
    return static_cast<int>(ExitStatus::internal);
  }
}

/// Until the child ends; its wait status.
int watch_over(pid_t child, const Signals& signals) {
  for (;;) {
    pollfd entry{signals.fd(), POLLIN, 0};
    poll(&entry, 1, -1);
    while (const auto signal = signals.next())
      if (to_pass_on(*signal)) kill(child, static_cast<int>(signal->ssi_signo));
    if (const auto status = bury_dead(child)) return *status;
  }
}

/// False when something stays that we may not end.
bool end_descendants() {
  for (;;) {
    bury_dead(0);
    const Remains remains = kill_descendants();
    if (remains.none) return true;
    if (remains.out_of_reach) {
      log::error(fmt::format("process {} is left, and we may not end it", *remains.out_of_reach));
      return false;
    }
    poll(nullptr, 0, static_cast<int>(between_kills.count()));
  }
}

}  // namespace

int under_init(const std::function<int(const Signals&)>& work) {
  const Signals signals;
  adopt_orphans();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process can be started: " + std::generic_category().message(errno));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(static_cast<int>(ExitStatus::internal));
    const int status = run(work, signals);
    std::fflush(nullptr);
    _exit(status);  // whatever other threads are at
  }
  const int status = watch_over(child, signals);
  if (WIFSIGNALED(status))
    log::error(
        fmt::format("the election ended by signal {}, be it by hand or because time ran out while it could not "
                    "go on; ending what is left of the program",
                    WTERMSIG(status)));
  const bool ended = end_descendants();
  return WIFEXITED(status) && !ended ? static_cast<int>(ExitStatus::not_rolled_back) : exit_status_of(status);
}

}  // namespace core_ha::lead

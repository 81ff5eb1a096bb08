// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/signals.h"

#include <unistd.h>

namespace core_ha::lead {

Signals::Signals() {
  struct sigaction usual{};
  usual.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &usual, nullptr);  // who ignores it hears of no child's end
  sigset_t ours;
  sigemptyset(&ours);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD}) {
    struct sigaction action{};
    sigaction(number, nullptr, &action);
    if (number != SIGHUP || action.sa_handler != SIG_IGN) sigaddset(&ours, number);
  }
  pthread_sigmask(SIG_BLOCK, &ours, &before_);
  fd_ = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

Signals::~Signals() {
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<signalfd_siginfo> Signals::next() const {
  signalfd_siginfo signal{};
  if (read(fd_, &signal, sizeof signal) != sizeof signal) return std::nullopt;
  return signal;
}

bool to_pass_on(const signalfd_siginfo& signal) {
  return signal.ssi_signo != SIGCHLD && signal.ssi_code <= 0;  // SI_USER, SI_QUEUE, SI_TKILL; the kernel's are positive
}

}  // namespace core_ha::lead

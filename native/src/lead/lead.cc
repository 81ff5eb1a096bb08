// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/lead.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "base/backoff.h"
#include "base/exit_status.h"
#include "base/log.h"
#include "lead/child.h"
#include "lead/init.h"
#include "lead/signals.h"

namespace core_ha::lead {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds patience{5};  // then it is said for which process we wait

/// Wakes poll(2) at a time of BootClock, also after a sleep of the machine.
class Alarm {
 public:
  Alarm() : fd_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {
    if (fd_ < 0) throw std::runtime_error("no timer can be had: " + std::generic_category().message(errno));
  }
  ~Alarm() { close(fd_); }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  int fd() const { return fd_; }
  void set(BootTime at) const {
    itimerspec time{};  // all zero: never
    if (at != BootTime::max()) time.it_value = to_timespec(std::max(at, BootTime(milliseconds(1))));
    timerfd_settime(fd_, TFD_TIMER_ABSTIME, &time, nullptr);
  }

 private:
  int fd_;
};

/// The program with its descendants, as the elector wants it.
class Charge {
 public:
  Charge(const LeadOptions& options, const Signals& signals) : options_(options), signals_(signals) {}

  /// Takes note of ends. True when the program, or what was left of it, has just gone altogether.
  bool look();
  /// Sees to it that all is as it is wanted.
  void want(Program wanted);
  void pass_on(int signal) const {
    if (running_) kill(program_, signal);
  }

  bool running() const { return running_; }
  /// Runs, or some of its descendants do.
  bool there() const { return there_; }
  /// The program has ended without having been told to by us, or could not be started.
  bool ended_by_itself() const { return ended_by_itself_; }
  /// Must be killed over and over.
  bool dying() const { return there_ && (!running_ || wanted_ == Program::kill); }
  bool stuck() const { return stuck_; }
  int exit_status() const { return exit_status_; }

 private:
  void start();
  void kill_all();

  const LeadOptions& options_;
  const Signals& signals_;
  Program wanted_ = Program::none;
  pid_t program_ = 0;
  bool running_ = false;
  bool there_ = false;
  bool ended_by_itself_ = false;
  bool stuck_ = false;
  int exit_status_ = 0;
  BootTime dying_since_;
  bool told_ = false;
};

void Charge::start() {
  auto started = start_program(options_.program, signals_.before());
  there_ = true;
  running_ = bool(started);
  told_ = false;
  if (running_) {
    program_ = *started;
    return;
  }
  log::error(started.error().message);
  ended_by_itself_ = true;
  exit_status_ = started.error().exit_status;
}

void Charge::kill_all() {
  if (dying_since_ == BootTime()) dying_since_ = BootClock::now();
  const Remains remains = kill_descendants();
  if (remains.out_of_reach) {
    if (!stuck_) log::error(fmt::format("process {} is left, and we may not end it", *remains.out_of_reach));
    stuck_ = true;
  } else if (remains.one && !told_ && BootClock::now() > dying_since_ + patience) {
    told_ = true;
    log::warning(fmt::format("process {} has been killed and is still there; waiting for its end", *remains.one));
  }
}

bool Charge::look() {
  if (const auto status = bury_dead(program_); status && running_) {
    running_ = false;
    exit_status_ = exit_status_of(*status);
    if (wanted_ == Program::run) ended_by_itself_ = true;
  }
  if (!there_ || running_ || have_children()) return false;
  there_ = false;
  dying_since_ = BootTime();
  return true;
}

void Charge::want(Program wanted) {
  const Program before = std::exchange(wanted_, wanted);
  if (wanted == Program::run && !there_ && !ended_by_itself_) start();
  if (wanted == Program::terminate && before != Program::terminate) pass_on(SIGTERM);
  if (dying()) kill_all();
}

class Leadership {
 public:
  Leadership(const LeadOptions& options, const Connect& connect, const Signals& signals)
      : parent_(getppid()),
        signals_(signals),
        elector_(options.lease, options.identity, options.timing, random_time),
        client_(options.lease, connect, options.while_none),
        charge_(options, signals) {}

  int run();

 private:
  void hear_signals();
  void wait(BootTime until);

  pid_t parent_;
  const Signals& signals_;
  Elector elector_;
  LeaseClient client_;
  Charge charge_;
  DeadMansSwitch switch_;
  Alarm alarm_;
};

int Leadership::run() {
  adopt_orphans();
  for (;;) {
    hear_signals();
    if (getppid() != parent_) elector_.abort();  // nobody is left who would end what we leave
    if (charge_.look()) elector_.program_gone();
    if (charge_.ended_by_itself()) elector_.leave();
    if (auto answer = client_.take_answer()) elector_.answered(BootClock::now(), *answer);
    Next next = elector_.next(Moment::now());
    for (const std::string& sentence : elector_.take_news())
      log::progress(sentence);
    if (next.finished)
      return charge_.ended_by_itself() ? charge_.exit_status() : static_cast<int>(ExitStatus::interrupted);
    // Set before the program is started: from then on it is dead in time whatever becomes of us.
    switch_.set(charge_.there() || next.program == Program::run ? next.switch_at : BootTime::max());
    if (next.order) client_.send(std::move(*next.order));
    charge_.want(next.program);
    // The time to begin had passed before it began.
    if (next.program != Program::none && !charge_.there()) elector_.program_gone();
    if (charge_.stuck()) return static_cast<int>(ExitStatus::not_rolled_back);
    wait(charge_.dying() ? std::min(next.wake, BootClock::now() + between_kills) : next.wake);
  }
}

void Leadership::hear_signals() {
  while (const auto signal = signals_.next()) {
    if (!to_pass_on(*signal)) continue;
    const int number = static_cast<int>(signal->ssi_signo);
    const bool asks_to_end = number == SIGTERM || number == SIGINT || number == SIGQUIT;
    charge_.pass_on(number);
    if (asks_to_end || (number == SIGHUP && !charge_.running())) elector_.leave();
  }
}

void Leadership::wait(BootTime until) {
  alarm_.set(until);
  std::array<pollfd, 3> entries{{{signals_.fd(), POLLIN, 0}, {client_.fd(), POLLIN, 0}, {alarm_.fd(), POLLIN, 0}}};
  poll(entries.data(), entries.size(), -1);
}

}  // namespace

Result<std::string> unique_identity(const std::string& name) {
  std::uint64_t digits = 0;
  if (getrandom(&digits, sizeof digits, 0) != sizeof digits)
    return Error{ExitStatus::internal, "no random number can be had: " + std::generic_category().message(errno)};
  return fmt::format("{}_{:016x}", name, digits);
}

int run_while_leading(const LeadOptions& options, const Connect& connect) {
  return under_init([&](const Signals& signals) { return Leadership(options, connect, signals).run(); });
}

}  // namespace core_ha::lead

// SPDX-License-Identifier: GPL-3.0-or-later
//
// Each scenario has a process of its own: what it buries, adopts and blocks is not the other tests'.
#include "lead/child.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "lead/init.h"
#include "lead/signals.h"

using namespace std::chrono_literals;
using core_ha::lead::BootClock;
using core_ha::lead::exit_status_of;

namespace {

constexpr auto bound = 60s;  // for what takes milliseconds: a machine may be slow

/// What the function returns, or 128 + the signal that ended its process.
int in_own_process(const std::function<int()>& scenario) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(120);
    _exit(scenario());
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_status_of(status);
}

bool wait_for(const std::function<bool()>& condition) {
  const auto end = BootClock::now() + bound;
  while (!condition()) {
    if (BootClock::now() > end) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

/// `sh -c`, which starts a scenario's processes.
pid_t shell(const std::string& script) {
  sigset_t nothing;
  sigemptyset(&nothing);
  const auto started = core_ha::lead::start_program({"sh", "-c", script}, nothing);
  if (!started) _exit(99);
  return *started;
}

/// Kills until nothing is left; false when it takes for ever.
bool end_all() {
  return wait_for([] {
    core_ha::lead::bury_dead(0);
    return core_ha::lead::kill_descendants().none;
  });
}

/// A file that scenarios leave word in.
struct Note {
  std::string path = "/tmp/core-ha-lead-XXXXXX";
  Note() { close(mkstemp(path.data())); }
  ~Note() { unlink(path.c_str()); }
  Note(const Note&) = delete;
  Note& operator=(const Note&) = delete;

  std::string text() const {
    auto content = core_ha::read_file(path);
    return content ? *content : "";
  }
  bool has_lines(int count) const {
    const std::string content = text();
    return std::count(content.begin(), content.end(), '\n') >= count;
  }
  std::vector<pid_t> pids() const {
    std::vector<pid_t> found;
    std::istringstream lines(text());
    for (pid_t pid = 0; lines >> pid;)
      found.push_back(pid);
    return found;
  }
};

bool alive(pid_t pid) {
  auto stat = core_ha::read_file("/proc/" + std::to_string(pid) + "/stat");
  return stat && stat->find(") Z") == std::string::npos;
}

}  // namespace

TEST_CASE("child: a program that cannot be started is told as env(1) does") {
  CHECK(in_own_process([] {
          sigset_t nothing;
          sigemptyset(&nothing);
          const auto absent = core_ha::lead::start_program({"/nowhere/at-all"}, nothing);
          const auto directory = core_ha::lead::start_program({"/etc"}, nothing);
          if (absent || directory) return 1;
          if (absent.error().exit_status != 127 || directory.error().exit_status != 126) return 2;
          if (absent.error().message != "/nowhere/at-all cannot be started: No such file or directory") return 3;
          return core_ha::lead::have_children() ? 4 : 0;
        }) == 0);
}

TEST_CASE("child: its exit status is told as a shell does") {
  for (const auto& [script, status] : {std::pair{"exit 0", 0}, {"exit 42", 42}, {"kill -TERM $$", 143}}) {
    CHECK(in_own_process([command = std::string(script)] {
            const auto program = shell(command);
            std::optional<int> ended;
            if (!wait_for([&] { return (ended = core_ha::lead::bury_dead(program)).has_value(); })) return 1;
            return exit_status_of(*ended);
          }) == status);
  }
}

TEST_CASE("child: it starts with the signals of a fresh process") {
  for (const char* line : {"^SigBlk:.*0000000000000000$", "^SigIgn:.*[02468ace]...$"}) {  // SIGPIPE is bit 12
    CHECK(in_own_process([line] {
            signal(SIGPIPE, SIG_IGN);
            sigset_t none;
            sigemptyset(&none);
            pthread_sigmask(SIG_SETMASK, &none, nullptr);
            const core_ha::lead::Signals signals;
            const auto program =
                core_ha::lead::start_program({"grep", "-q", line, "/proc/self/status"}, signals.before());
            int status = 0;
            waitpid(*program, &status, 0);
            return exit_status_of(status);
          }) == 0);
  }
}

TEST_CASE("child: everything that it started is found and ended: daemons, sessions of their own, who ignores signals") {
  const Note note;
  CHECK(in_own_process([&] {
          core_ha::lead::adopt_orphans();
          const std::string say = "echo $$ >>" + note.path + "; exec sleep 1000";
          const auto program = shell("trap '' TERM HUP INT; (setsid sh -c '" + say + "' &) ; ((sh -c '" + say +
                                     "' &) &) ; sh -c 'trap \"\" TERM; " + say + "' & echo $$ >>" + note.path +
                                     "; while :; do sleep 1000; done");
          if (!wait_for([&] { return note.has_lines(4); })) return 1;
          kill(program, SIGTERM);
          if (core_ha::lead::kill_descendants().none) return 2;
          if (!end_all()) return 3;
          return core_ha::lead::have_children() ? 4 : 0;
        }) == 0);
  const auto pids = note.pids();
  CHECK(pids.size() == 4);
  for (const pid_t pid : pids)
    CHECK_FALSE(alive(pid));
}

TEST_CASE("child: one that forks while it is killed does not get away") {
  CHECK(in_own_process([] {
          core_ha::lead::adopt_orphans();
          shell("while :; do (sleep 1000 &) ; done");
          poll(nullptr, 0, 50);
          return end_all() ? 0 : 1;
        }) == 0);
}

TEST_CASE("child: what we may not end is told, and does not keep us for ever") {
  if (getuid() != 0) return;  // only root can become two users here
  CHECK(in_own_process([] {
          core_ha::lead::adopt_orphans();
          const auto program = shell("exec sleep 1000");
          if (setresuid(65534, 65534, 0) != 0) return 1;
          const auto remains = core_ha::lead::kill_descendants();
          if (remains.none || remains.out_of_reach != program) return 2;
          if (setresuid(0, 0, 0) != 0) return 3;
          return end_all() ? 0 : 4;
        }) == 0);
}

TEST_CASE("child: it dies with its parent") {
  const Note note;
  CHECK(in_own_process([&] {
          core_ha::lead::adopt_orphans();
          const pid_t parent = fork();
          if (parent == 0) {
            shell("echo $$ >>" + note.path + "; exec sleep 1000");
            pause();
            _exit(1);
          }
          if (!wait_for([&] { return note.has_lines(1); })) return 1;
          kill(parent, SIGKILL);
          const pid_t program = note.pids().front();
          std::optional<int> ended;  // it has come to us
          if (!wait_for([&] { return (ended = core_ha::lead::bury_dead(program)).has_value(); })) return 2;
          return exit_status_of(*ended);
        }) == 137);
}

TEST_CASE("child: the dead man's switch works on a process that is stopped, and on its program") {
  const Note note;
  CHECK(in_own_process([&] {
          core_ha::lead::adopt_orphans();
          const pid_t parent = fork();
          if (parent == 0) {
            core_ha::lead::DeadMansSwitch dead_mans_switch;
            dead_mans_switch.set(BootClock::now() + 1000s);
            shell("echo $$ >>" + note.path + "; kill -STOP $$; sleep 1000");
            if (!wait_for([&] { return note.has_lines(1); })) _exit(1);
            dead_mans_switch.set(BootClock::now() + 100ms);
            raise(SIGSTOP);
            _exit(2);
          }
          int dead = 0;
          int status = 0;
          const auto bury = [&] {
            while (waitpid(-1, &status, WNOHANG) > 0)
              dead += exit_status_of(status) == 137 ? 1 : 0;
            return dead == 2;
          };
          return wait_for(bury) ? 0 : 1;
        }) == 0);
}

TEST_CASE("child: a switch that is set anew, or off, spares") {
  CHECK(in_own_process([] {
          core_ha::lead::DeadMansSwitch dead_mans_switch;
          dead_mans_switch.set(BootClock::now() + 2s);
          dead_mans_switch.set(BootClock::now() + 1000s);
          dead_mans_switch.set(core_ha::lead::BootTime::max());
          poll(nullptr, 0, 2100);
          return 0;
        }) == 0);
}

TEST_CASE("init: gives the work's exit status, passes signals on, and ends what is left") {
  const Note note;
  SUBCASE("status") {
    CHECK(in_own_process([] { return core_ha::lead::under_init([](const auto&) { return 42; }); }) == 42);
  }
  SUBCASE("a signal, and only from others") {
    CHECK(in_own_process([&] {
            const pid_t init = getpid();
            if (fork() == 0) {
              wait_for([&] { return note.has_lines(1); });
              kill(init, SIGUSR1);
              _exit(0);
            }
            return core_ha::lead::under_init([&](const core_ha::lead::Signals& signals) {
              shell("echo >>" + note.path);
              std::optional<signalfd_siginfo> signal;
              wait_for([&] { return (signal = signals.next()) && core_ha::lead::to_pass_on(*signal); });
              return static_cast<int>(signal->ssi_signo);
            });
          }) == SIGUSR1);
  }
  SUBCASE("when the work is killed, what it started goes too, however far away") {
    CHECK(in_own_process([&] {
            return core_ha::lead::under_init([&](const auto&) {
              core_ha::lead::adopt_orphans();
              shell("(setsid sh -c 'echo $$ >>" + note.path + "; exec sleep 1000' &)");
              wait_for([&] { return note.has_lines(1); });
              raise(SIGKILL);
              return 0;
            });
          }) == 137);
    CHECK_FALSE(alive(note.pids().front()));
  }
  SUBCASE("when it is killed itself, the work is told") {
    CHECK(in_own_process([&] {
            core_ha::lead::adopt_orphans();
            const pid_t init = fork();
            if (init == 0)
              _exit(core_ha::lead::under_init([&](const core_ha::lead::Signals& signals) {
                const pid_t parent = getppid();
                shell("echo >>" + note.path);
                return wait_for([&] { return signals.next() && getppid() != parent; }) ? 9 : 1;
              }));
            wait_for([&] { return note.has_lines(1); });
            kill(init, SIGKILL);
            int status = 0;
            bool told = false;
            while (waitpid(-1, &status, 0) > 0)
              told = told || exit_status_of(status) == 9;
            return told ? 0 : 1;
          }) == 0);
  }
}

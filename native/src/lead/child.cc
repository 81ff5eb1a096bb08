// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <unordered_map>

#include "base/file.h"

namespace core_ha::lead {
namespace {

/// In the child, between fork and exec: only what may be called there.
[[noreturn]] void become(char* const* words, const sigset_t& blocked, pid_t parent, int report) {
  // A parent that died before the bond was made leaves us with another one.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(126);
  struct sigaction usual{};
  usual.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &usual, nullptr);  // we ignore it for ourselves
  for (const int number : {SIGHUP, SIGINT, SIGTERM}) {
    struct sigaction ours{};
    sigaction(number, nullptr, &ours);
    if (ours.sa_handler != SIG_IGN) sigaction(number, &usual, nullptr);  // one may wait to be unblocked
  }
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  execvp(words[0], words);
  const int why = errno;
  while (write(report, &why, sizeof why) < 0 && errno == EINTR) {
  }
  _exit(126);
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
};

/// Nothing when it has gone meanwhile.
std::optional<Process> read_process(std::string_view pid) {
  Process process;
  if (std::from_chars(pid.data(), pid.data() + pid.size(), process.pid).ec != std::errc()) return std::nullopt;
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid));
  if (!stat) return std::nullopt;
  // `42 (a name (with brackets)) S 1 …`
  const auto name_end = stat->rfind(')');
  if (name_end == std::string::npos || name_end + 4 > stat->size()) return std::nullopt;
  process.state = (*stat)[name_end + 2];
  const char* const from = stat->data() + name_end + 4;
  if (std::from_chars(from, stat->data() + stat->size(), process.parent).ec != std::errc()) return std::nullopt;
  return process;
}

/// All that live, parents before their children.
std::vector<Process> living_descendants() {
  std::unordered_multimap<pid_t, Process> by_parent;
  const std::unique_ptr<DIR, DirectoryCloser> directory(opendir("/proc"));
  if (!directory) throw std::runtime_error("/proc cannot be read: " + std::generic_category().message(errno));
  while (const dirent* const entry = readdir(directory.get()))
    if (const auto process = read_process(entry->d_name)) by_parent.emplace(process->parent, *process);
  std::vector<Process> found{{.pid = getpid()}};
  for (size_t i = 0; i < found.size(); ++i) {
    const auto [first, last] = by_parent.equal_range(found[i].pid);
    for (auto it = first; it != last; ++it)
      found.push_back(it->second);
  }
  found.erase(found.begin());
  std::erase_if(found, [](const Process& process) { return process.state == 'Z' || process.state == 'X'; });
  return found;
}

}  // namespace

Result<pid_t, StartError> start_program(const std::vector<std::string>& words, const sigset_t& blocked) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const auto failed = [&](int why) {
    return StartError{{ExitStatus::usage,
                       fmt::format("{} cannot be started: {}", words.front(), std::generic_category().message(why))},
                      why == ENOENT ? 127 : 126};
  };

  int report[2];  // closed by exec, or told why there was none
  if (pipe2(report, O_CLOEXEC) != 0) return failed(errno);
  const pid_t parent = getpid();
  const pid_t child = fork();
  const int fork_failed = errno;
  if (child == 0) become(arguments.data(), blocked, parent, report[1]);
  close(report[1]);
  int why = 0;
  ssize_t got = 0;
  while (child > 0 && (got = read(report[0], &why, sizeof why)) < 0 && errno == EINTR) {
  }
  close(report[0]);
  if (child < 0) return failed(fork_failed);
  if (got == 0) return child;
  waitpid(child, nullptr, 0);
  return failed(why);
}

void adopt_orphans() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int exit_status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

std::optional<int> bury_dead(pid_t program) {
  std::optional<int> ended;
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    if (pid == program) ended = status;
  return ended;
}

bool have_children() {
  siginfo_t info{};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

Remains kill_descendants() {
  Remains remains;
  remains.none = !have_children();
  if (remains.none) return remains;
  bool reached = false;
  std::optional<pid_t> refused;
  for (const Process& process : living_descendants()) {
    remains.one = process.pid;
    if (kill(process.pid, SIGKILL) == 0 || errno == ESRCH)
      reached = true;
    else if (!refused)
      refused = process.pid;
  }
  if (!reached) remains.out_of_reach = refused;
  return remains;
}

DeadMansSwitch::DeadMansSwitch() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  if (timer_create(CLOCK_BOOTTIME, &event, &timer_) != 0)
    throw std::runtime_error("no timer can be had: " + std::generic_category().message(errno));
}

DeadMansSwitch::~DeadMansSwitch() {
  timer_delete(timer_);
}

void DeadMansSwitch::set(BootTime at) {
  if (at == at_) return;
  at_ = at;
  itimerspec time{};  // all zero: never
  if (at != BootTime::max()) time.it_value = to_timespec(at);
  if (timer_settime(timer_, TIMER_ABSTIME, &time, nullptr) != 0)
    throw std::runtime_error("a timer cannot be set: " + std::generic_category().message(errno));
}

}  // namespace core_ha::lead

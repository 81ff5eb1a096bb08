// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/secret.h"

namespace core_ha {
namespace {

constexpr size_t limit = 256U << 20U;

std::string why() {
  return std::generic_category().message(errno);
}

// Grows by hand: a std::string that grows by itself would leave unwiped copies of a key on the heap.
Result<std::string> read_all(int fd, const std::string& name) {
  std::string content(4096, '\0');
  size_t used = 0;
  for (;;) {
    if (used == content.size()) {
      if (content.size() >= limit) return Error{ExitStatus::usage, fmt::format("{}: is larger than 256 MiB", name)};
      std::string larger(content.size() * 2, '\0');
      content.copy(larger.data(), used);
      wipe(content);
      content = std::move(larger);
    }
    const ssize_t got = read(fd, content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const std::string reason = why();
      wipe(content);
      return Error{ExitStatus::usage, fmt::format("{}: {}", name, reason)};
    }
    if (got == 0) break;
    used += static_cast<size_t>(got);
  }
  content.resize(used);
  return content;
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{ExitStatus::usage, fmt::format("{}: {}", file.string(), why())};
  auto content = read_all(fd, file.string());
  close(fd);
  return content;
}

Result<std::string> read_stdin() {
  return read_all(STDIN_FILENO, "standard input");
}

Result<void> replace_file(const std::filesystem::path& file, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}", file.string(), getpid());
  const auto failed = [&] { return Error{ExitStatus::internal, fmt::format("{}: {}", file.string(), why())}; };
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed();
  bool written = true;
  while (written && !content.empty()) {
    const ssize_t put = write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    written = put > 0;
    if (written) content.remove_prefix(static_cast<size_t>(put));
  }
  written = written && fchmod(fd, 0644) == 0;
  Result<void> result;
  if (!written) result = failed();
  close(fd);
  if (written && rename(temporary.c_str(), file.c_str()) != 0) result = failed();
  if (!result) unlink(temporary.c_str());
  return result;
}

}  // namespace core_ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/log.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace core_ha::log {
namespace {

const auto start = std::chrono::steady_clock::now();
int level = 0;

// One write per line, so that lines of parallel programs do not mix; control characters of foreign texts are dropped.
void write_line(std::string line) {
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

std::string stamped(std::string_view text) {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start;
  return fmt::format("[{:6.1f} s] {}", since.count(), text);
}

}  // namespace

void set_verbosity(int verbosity) {
  level = verbosity;
}
int verbosity() {
  return level;
}
void error(std::string_view text) {
  write_line(fmt::format("k3s-core-ha: {}", text));
}
void warning(std::string_view text) {
  write_line(fmt::format("k3s-core-ha: warning: {}", text));
}
void progress(std::string_view text) {
  write_line(stamped(text));
}
void detail(std::string_view text) {
  if (level >= 1) write_line(stamped(text));
}
void trace(std::string_view text) {
  if (level >= 2) write_line(stamped(text));
}

}  // namespace core_ha::log

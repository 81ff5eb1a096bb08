// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace core_ha::report {

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    out += ' ';
    for (std::size_t i = 0; i < row.size(); ++i)
      out += i + 1 == row.size() ? " " + row[i] : fmt::format(" {:<{}} ", row[i], widths[i]);
    out += '\n';
  }
  return out;
}

}  // namespace core_ha::report

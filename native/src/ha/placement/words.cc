// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/words.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace core_ha::ha {

std::string few(std::vector<std::string> names) {
  constexpr std::size_t named = 5;
  const std::size_t more = names.size() > named ? names.size() - named : 0;
  names.resize(names.size() - more);
  return fmt::format("{}{}", fmt::join(names, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

std::string closed_words(const cluster::Node& node) {
  const std::string why = !node.eligible() ? node.excluded
                          : !node.ready    ? "not ready"
                          : node.cordoned  ? "cordoned"
                                           : node.barred;
  return fmt::format("{} ({})", node.name, why);
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/words.h"

#include <algorithm>

namespace core_ha::ha {

std::string found_words(const Json& value) {
  if (value.is_object()) return "a mapping";
  if (value.is_array()) return "a list";
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t longest = 60;
  if (text.size() > longest) text = text.substr(0, longest) + "…";
  return text;
}

std::string dotted(std::string pointer) {
  std::replace(pointer.begin(), pointer.end(), '/', '.');
  for (std::size_t at = 0; (at = pointer.find("~1", at)) != std::string::npos; ++at)
    pointer.replace(at, 2, "/");
  return pointer;
}

}  // namespace core_ha::ha

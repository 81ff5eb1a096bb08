// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/labels.h"

#include <algorithm>

namespace core_ha::ha {

namespace {

constexpr std::size_t longest_name = 63;
constexpr std::size_t longest_subdomain = 253;

bool lower(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool alphanumeric(char c) {
  return lower(c) || (c >= 'A' && c <= 'Z');
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= longest_name && alphanumeric(text.front()) && alphanumeric(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

bool is_label_key(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return is_name(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) {
  return text.empty() || is_name(text);
}

bool is_dns_subdomain(std::string_view text) {
  if (text.empty() || text.size() > longest_subdomain) return false;
  while (true) {
    const auto dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || !lower(part.front()) || !lower(part.back()) ||
        !std::all_of(part.begin(), part.end(), [](char c) { return lower(c) || c == '-'; }))
      return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_dns_label(std::string_view text) {
  return text.size() <= longest_name && text.find('.') == std::string_view::npos && is_dns_subdomain(text);
}

}  // namespace core_ha::ha

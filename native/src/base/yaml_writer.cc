// SPDX-License-Identifier: GPL-3.0-or-later
#include <cctype>
#include <string>
#include <string_view>

#include "base/yaml.h"

namespace core_ha {
namespace {

/// Whether every reader of YAML, of any version, takes the text for a string as it stands.
bool plain(std::string_view text) {
  if (text.empty() || text.size() > 80 || std::isalpha(static_cast<unsigned char>(text[0])) == 0) return false;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && std::string_view("-_./").find(c) == std::string_view::npos)
      return false;
  std::string lower;
  for (const char c : text)
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
    if (lower == word) return false;
  return true;
}

std::string scalar(const Json& value) {
  if (value.is_string() && plain(value.get_ref<const std::string&>())) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);  // JSON's strings and numbers are YAML's
}

bool nested(const Json& value) {
  return (value.is_object() || value.is_array()) && !value.empty();
}

void write(const Json& value, std::size_t indent, bool after_dash, std::string& out) {
  bool first = true;
  const auto begin_line = [&] {
    if (!(first && after_dash)) out.append(indent, ' ');
    first = false;
  };
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) {
      begin_line();
      out += scalar(Json(key)) + ":";
      if (nested(child)) {
        out += '\n';
        write(child, indent + 2, false, out);
      } else {
        out += " " + scalar(child) + "\n";
      }
    }
    return;
  }
  for (const auto& child : value) {
    begin_line();
    out += "- ";
    if (nested(child))
      write(child, indent + 2, true, out);
    else
      out += scalar(child) + "\n";
  }
}

}  // namespace

std::string to_yaml(const Json& document) {
  if (!nested(document)) return scalar(document) + "\n";
  std::string out;
  write(document, 0, false, out);
  return out;
}

}  // namespace core_ha

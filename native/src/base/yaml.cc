// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <cstdint>

namespace core_ha {
namespace {

struct Refused {
  std::string message;
};

constexpr int max_depth = 100;

std::string at_line(const YAML::Mark& mark) {
  return mark.is_null() ? std::string() : fmt::format(" in line {}", mark.line + 1);
}

template <class T>
bool parse_whole(const std::string& text, T& value, int base = 10) {
  const char* first = text.data();
  const char* last = first + text.size();
  if (first != last && *first == '+') ++first;
  const auto [end, error] = std::from_chars(first, last, value, base);
  return error == std::errc() && end == last && first != last;
}

// from_chars for doubles is missing in some standard libraries; strtod needs a look at the characters first, because
// it also takes "nan", "infinity" and hexadecimal floats.
bool parse_double(const std::string& text, double& value) {
  if (text.find_first_not_of("0123456789+-.eE") != std::string::npos) return false;
  if (text.find_first_of("0123456789") == std::string::npos) return false;
  char* end = nullptr;
  value = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() && std::isfinite(value);
}

Json plain_scalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  std::int64_t integer = 0;
  if (parse_whole(text, integer)) return integer;
  double number = 0;
  if (parse_double(text, number)) return number;
  return text;
}

Json convert(const YAML::Node& node, int depth) {
  if (depth > max_depth) throw Refused{"is nested too deeply" + at_line(node.Mark())};
  switch (node.Type()) {
    case YAML::NodeType::Undefined:
    case YAML::NodeType::Null: return nullptr;
    case YAML::NodeType::Scalar:
      // "?" is the tag of a plain scalar; a quoted one ("!") is a string whatever it looks like.
      return node.Tag() == "?" || node.Tag().empty() ? plain_scalar(node.Scalar()) : Json(node.Scalar());
    case YAML::NodeType::Sequence: {
      Json list = Json::array();
      for (const auto& item : node)
        list.push_back(convert(item, depth + 1));
      return list;
    }
    case YAML::NodeType::Map: {
      Json map = Json::object();
      for (const auto& entry : node) {
        if (!entry.first.IsScalar()) throw Refused{"has a key that is not a plain word" + at_line(entry.first.Mark())};
        const std::string& key = entry.first.Scalar();
        if (map.contains(key))
          throw Refused{fmt::format("has the key \"{}\" twice", key) + at_line(entry.first.Mark())};
        map[key] = convert(entry.second, depth + 1);
      }
      return map;
    }
  }
  return nullptr;
}

}  // namespace

Result<Json> parse_yaml_documents(const std::string& text) {
  try {
    Json documents = Json::array();
    for (const auto& document : YAML::LoadAll(text))
      documents.push_back(convert(document, 0));
    return documents;
  } catch (const Refused& refused) {
    return Error{ExitStatus::usage, refused.message};
  } catch (const YAML::Exception& error) {
    return Error{ExitStatus::usage, fmt::format("is no valid YAML: {}{}", error.msg, at_line(error.mark))};
  }
}

Result<Json> parse_yaml(const std::string& text) {
  auto documents = parse_yaml_documents(text);
  if (!documents) return documents.error();
  if (documents->empty()) return Json(nullptr);
  if (documents->size() > 1) return Error{ExitStatus::usage, "holds more than one document"};
  return std::move(documents->front());
}

}  // namespace core_ha

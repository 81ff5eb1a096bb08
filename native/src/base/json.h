// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace core_ha {

/// Kubernetes objects, specs and results are all held as JSON.
using Json = nlohmann::json;

/// The string behind a key; empty where there is none.
inline std::string text_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace core_ha

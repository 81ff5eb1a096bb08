// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace core_ha::ha {

/// What of a component's pods is wished otherwise than k3s ships it.
struct PodSettings {
  std::string image = {};            ///< empty: k3s's
  Json resources = Json::object();   ///< `requests` and `limits` in canonical quantities, beside what k3s ships
  Json tolerations = Json::array();  ///< beside those that k3s ships

  bool empty() const { return image.empty() && resources.empty() && tolerations.empty(); }
};

/// What an apply body says of the pods of `deployment` so that they have these settings; {} when there are none.
Json settings_body(const Json& deployment, const PodSettings& settings);

/// A quantity as the API server stores it (`0.5Gi` → `512Mi`, 1000m → `1`), from a string or a number; nothing: it is
/// none, or finer than a thousandth.
std::optional<std::string> canonical_quantity(const Json& value);

/// Puts the quantities of a `resources` mapping into the form in which the API server stores them.
Json canonical_resources(Json resources);

/// What is wrong with the value of a key, as the rest of a sentence that begins with the key's name
/// (`.limits.cpu is "x"; allowed is …`); nothing: it is right.
std::optional<std::string> fault_of_image(const Json& value);
std::optional<std::string> fault_of_resources(const Json& value);
std::optional<std::string> fault_of_tolerations(const Json& value);

}  // namespace core_ha::ha

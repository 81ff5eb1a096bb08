// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace core_ha::ha {

/// What is wrong with a list of objects that are to stand in for those of k3s's manifest with the same kind and name,
/// as the rest of a sentence that begins with the key's name; nothing: it is right.
std::optional<std::string> fault_of_manifest(const Json& value);

/// The objects with every quantity in the form in which the API server stores it.
Json canonical_manifest(Json objects);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace core_ha::ha {

struct Spec;

/// What is wrong with `traefik_values`, as the rest of a sentence that begins with the key's name; nothing: it is
/// right.
std::optional<std::string> fault_of_traefik_values(const Json& values);

/// A sentence where values say something else than another key of the wish; nothing: they fit together.
std::optional<std::string> fault_of_traefik(const Spec& spec);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace core_ha::ha {

struct Spec;

/// What is wrong with a chart's values as far as their shape goes: no mapping, or something else at these pointers than
/// a mapping or a list. The rest of a sentence that begins with the key's name; nothing: it is right.
std::optional<std::string> fault_of_values(const Json& values, std::string_view chart,
                                           std::span<const char* const> mappings, std::span<const char* const> lists);

/// The value at a pointer; null: there is none, or what is above it is no mapping.
Json value_of(const Json& values, const char* pointer);

/// What is wrong with `traefik_values`, as the rest of a sentence that begins with the key's name; nothing: it is
/// right.
std::optional<std::string> fault_of_traefik_values(const Json& values);

/// A sentence where values say something else than another key of the wish; nothing: they fit together.
std::optional<std::string> fault_of_traefik(const Spec& spec);

}  // namespace core_ha::ha

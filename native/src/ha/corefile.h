// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace core_ha::ha {

/// A Corefile as the coredns chart has it in its values: `servers`, a list of `{zones, port, plugins}`, and, where
/// lines outside of them import others, `extraConfig`. What goes beyond that (snippets, blocks in blocks) is an error
/// (exit 4) with the line.
Result<Json> chart_values_of(const std::string& corefile);

/// Gives the plugin `health` of these servers so many seconds of lameduck, where it has none of its own.
void add_lameduck(Json& servers, int seconds);

/// Another path in place of this one, in every plugin of these servers.
void replace_path(Json& servers, const std::string& path, const std::string& other);

}  // namespace core_ha::ha

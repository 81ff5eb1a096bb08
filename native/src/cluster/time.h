// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace core_ha::cluster {

using WallTime = std::chrono::sys_seconds;

/// `2026-08-20T12:00:00Z`, as the API writes times (fractions of a second are dropped); nothing for anything else.
std::optional<WallTime> parse_time(std::string_view text);

std::string format_time(WallTime time);

/// A span for people, in its largest whole unit: `90 s`, `40 min`, `8 days`.
std::string format_span(std::chrono::seconds span);

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

namespace core_ha::log {

/// 0: warnings and progress; 1: also what is decided on the way; 2: also each request.
void set_verbosity(int verbosity);
int verbosity();

/// Human words, one line each on stderr. Never pass a secret.
void error(std::string_view text);
void warning(std::string_view text);
/// Progress, with the seconds since the start.
void progress(std::string_view text);
void detail(std::string_view text);  ///< -v
void trace(std::string_view text);   ///< -vv

}  // namespace core_ha::log

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

namespace core_ha {

/// The helper's version; the build passes the one of CMakeLists.txt.
#ifdef CORE_HA_VERSION
inline constexpr std::string_view version = CORE_HA_VERSION;
#else
inline constexpr std::string_view version = "0.0.0";
#endif

}  // namespace core_ha

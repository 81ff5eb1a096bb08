// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

namespace core_ha::report {

/// Columns as wide as their widest cell; the last one is left ragged.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace core_ha::report

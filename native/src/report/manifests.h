// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace core_ha::report {

/// The objects as one stream of YAML documents, with how to apply them and the plan's warnings in comments at its head.
std::string manifests(const std::vector<Json>& objects, const std::vector<std::string>& warnings);

}  // namespace core_ha::report

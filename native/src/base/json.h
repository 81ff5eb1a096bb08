// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <nlohmann/json.hpp>

namespace core_ha {

/// Kubernetes objects, specs and results are all held as JSON.
using Json = nlohmann::json;

}  // namespace core_ha

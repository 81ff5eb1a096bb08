// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <vector>

#include "base/json.h"
#include "ha/plan.h"

namespace core_ha::ha {

/// The plan's wish as objects for server-side apply by others: our whole set for each, marked so that who applies it
/// prunes nothing that is not ours, and a guard against deletion (see manifests.cc). Empty when nothing is wished.
std::vector<Json> manifests(const Plan& plan);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>

#include "base/json.h"

namespace core_ha::kube {

/// The group versions (`apps/v1`) in an answer of `/apis`, plain (APIGroupList) or aggregated (APIGroupDiscoveryList).
/// An aggregated one marks versions whose server did not answer as stale: those are left out. `v1` is always there.
std::set<std::string> group_versions(const Json& apis);

}  // namespace core_ha::kube

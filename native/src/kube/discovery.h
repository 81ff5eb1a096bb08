// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>

#include "base/json.h"
#include "kube/client.h"

namespace core_ha::kube {

/// Asks which groups are served: aggregated discovery, which tells in one answer also of groups whose server is away,
/// or the plain list of a server that does not know it.
Read discovery_read();

/// The group versions (`apps/v1`) in an answer of `/apis`, plain (APIGroupList) or aggregated (APIGroupDiscoveryList).
/// An aggregated one marks versions whose server did not answer as stale: those are left out. `v1` is always there.
std::set<std::string> group_versions(const Json& apis);

}  // namespace core_ha::kube

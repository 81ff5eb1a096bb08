// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/plan.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// How CoreDNS's pods, where nothing is left to do, fall short of level zone, which is only asked of the scheduler: a
/// sentence with the remedy; empty: they do not. `movable`: `rebalance` moves such pods.
std::string short_of_zone(const CoreDns& coredns, const std::vector<cluster::Node>& nodes, const Level& level,
                          bool movable);

}  // namespace core_ha::ha

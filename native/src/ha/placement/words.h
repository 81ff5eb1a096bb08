// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "cluster/nodes.h"

namespace core_ha::ha {

/// `agent-1, agent-2 and 4 more`: a sentence names a few nodes; thousands would drown it.
std::string few(std::vector<std::string> names);

/// `agent-1 (cordoned)`: a node that takes no pods now, and why.
std::string closed_words(const cluster::Node& node);

}  // namespace core_ha::ha

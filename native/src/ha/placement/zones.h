// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cluster/nodes.h"

namespace core_ha::ha {

/// The zones of the nodes that can run a component.
struct Zones {
  std::map<std::string, std::set<std::string>> hosts;  ///< by zone
  std::vector<std::string> unlabelled;                 ///< nodes of which nothing tells the zone

  /// Whether replicas can be in different ones.
  bool several() const { return hosts.size() > 1; }
  /// Whether each node's zone is told, too: then it can be counted on.
  bool known() const { return several() && unlabelled.empty(); }
};

Zones zones_of(const std::vector<cluster::Node>& nodes);

/// `3 zones (a, b, c)`
std::string zones_words(const Zones& zones);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/zones.h"

#include <fmt/format.h>

#include "ha/placement/words.h"

namespace core_ha::ha {

Zones zones_of(const std::vector<cluster::Node>& nodes) {
  Zones zones;
  for (const auto& node : nodes) {
    if (!node.eligible()) continue;
    if (node.zone.empty())
      zones.unlabelled.push_back(node.name);
    else
      zones.hosts[node.zone].insert(node.host);
  }
  return zones;
}

std::string zones_words(const Zones& zones) {
  std::vector<std::string> names;
  names.reserve(zones.hosts.size());
  for (const auto& [zone, hosts] : zones.hosts)
    names.push_back(zone);
  return fmt::format("{} {} ({})", names.size(), names.size() == 1 ? "zone" : "zones", few(names));
}

}  // namespace core_ha::ha

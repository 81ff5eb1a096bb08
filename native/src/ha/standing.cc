// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/standing.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "ha/placement/words.h"
#include "ha/rebalance.h"

namespace core_ha::ha {

std::string short_of_zone(const CoreDns& coredns, const std::vector<cluster::Node>& nodes, const Level& level,
                          bool movable) {
  if (level.name != "zone") return {};
  int replicas = 0;
  std::set<std::string> taken;
  for (const auto& pod : coredns.pods) {
    const auto node =
        std::find_if(nodes.begin(), nodes.end(), [&](const auto& other) { return other.name == pod.node; });
    if (!pod.serves || node == nodes.end()) continue;
    ++replicas;
    taken.insert(node->zone);
  }
  if (replicas < 2 || taken.size() > 1) return {};
  std::set<std::string> free;
  for (const auto& node : nodes)
    if (node.open() && !taken.contains(node.zone)) free.insert(node.zone);
  const std::string words =
      fmt::format("Level zone is not what stands: all {} replicas of CoreDNS are in {}", replicas, *taken.begin());
  if (coredns.daemonset != nullptr) return words + ", until nodes of another zone that are to have one are ready.";
  if (!movable) return words + ".";
  if (free.empty())
    return words +
           ", since no node of another zone takes pods now; when one does again, `k3s-core-ha rebalance` moves one "
           "there.";
  return fmt::format(
      "{}, although nodes in {} take pods: `k3s-core-ha rebalance` moves one there, once they are all "
      "older than {} minutes.",
      words, few({free.begin(), free.end()}), cool_down.count());
}

}  // namespace core_ha::ha

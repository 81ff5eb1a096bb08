// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/turn.h"

#include "cluster/nodes.h"
#include "cluster/snapshot.h"

namespace core_ha::ha {

namespace {

std::string mark_of(const Json& node) {
  return node["metadata"].value("annotations", Json::object()).value(std::string(reconciles_annotation), "");
}

}  // namespace

bool reconciles(const Json& node, std::string_view version) {
  return mark_of(node) == version &&
         node["metadata"].value("labels", Json::object()).value(cluster::carries_label, "") == version;
}

std::string whose_turn(const Json& nodes) {
  std::string first;
  for (const auto& node : nodes) {
    const std::string name = node["metadata"].value("name", "");
    if (!mark_of(node).empty() && cluster::is_ready(node) && (first.empty() || name < first)) first = name;
  }
  return first;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/managed_fields.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// The packaged Deployment out of the way, with no replicas, once something else serves; coredns_daemonset.cc tells
/// how.
class CoreDnsAside {
 public:
  /// `rest`: our set for the Deployment in the end; without fields: as k3s ships it. `instead`: who serves, in a
  /// sentence's words.
  CoreDnsAside(Planner& planner, const CoreDns& coredns, Json rest, std::string instead);

  /// Refuses where somebody else pauses the Deployment, or holds its count; true.
  bool refuse() const;

  /// Whether it is so already.
  bool done() const;

  /// Leaves those of `leaving` that are the Deployment's to themselves.
  void plan(const std::vector<const CoreDnsPod*>& leaving) const;

 private:
  Planner& planner_;
  const CoreDns& coredns_;
  const std::set<cluster::FieldPath> held_;
  const std::string instead_;
  Json rest_;
};

}  // namespace core_ha::ha

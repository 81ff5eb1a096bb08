// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "ha/coredns.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// What the packaged Deployment is to become.
struct SwapTarget {
  Json body;  ///< our whole set; without fields: as k3s ships it
  int replicas = 1;
  bool exact = false;  ///< the count is set back to exactly `replicas`; else it is raised to it, the HPA does the rest
  bool gentle = true;  ///< pods of the new template end gently
};

/// Plans the way from CoreDNS as observed, at whatever point an earlier run was stopped, to the target, without a
/// moment in which a query is lost. Nothing to do plans nothing.
void plan_swap(Planner& planner, const CoreDns& coredns, const SwapTarget& target);

}  // namespace core_ha::ha

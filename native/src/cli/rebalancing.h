// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "ha/rebalance.h"
#include "kube/client.h"

namespace core_ha::cli {

struct Rebalancing {
  bool dry_run = false;
  Deadline deadline = {};
  std::chrono::seconds cool_down = ha::cool_down;
  std::chrono::seconds wait_timeout{300};
  std::chrono::milliseconds between_tries{5000};  ///< while a PodDisruptionBudget says not yet
};

struct Rebalanced {
  bool changed = false;
  std::string words;  ///< one sentence: what was moved and where it is now, or why nothing was
};

/// Moves one pod of CoreDNS where that makes the spread over hosts, or over zones, more even (see ha/rebalance.h): it
/// is replaced by another one, and serves until that does. A PodDisruptionBudget that lets none go is waited for, then
/// an error (exit status 4). A pod for which no replacement is ready in time stays: exit status 6.
Result<Rebalanced> rebalance(kube::Client& client, const Rebalancing& options);

}  // namespace core_ha::cli

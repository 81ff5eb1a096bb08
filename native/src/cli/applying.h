// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "act/act.h"
#include "base/deadline.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"
#include "ha/spec.h"
#include "kube/client.h"

namespace core_ha::cli {

struct Applying {
  std::optional<std::int64_t> revision = {};  ///< of the wish; nothing: the next
  ha::OnNodes on_nodes = {};
  std::string manifests = {};  ///< the directory of k3s's own; empty: not looked at
  bool dry_run = false;
  Deadline deadline = {};
  std::chrono::milliseconds poll{500};
};

struct Applied {
  ha::Plan plan;
  act::Outcome acted;
  cluster::Snapshot snapshot = {};  ///< what was observed before
};

/// Observes, plans and carries out; once more where the cluster moved in between and nothing was left behind, and where
/// a look at the end finds that others changed something meanwhile. A run whose wish is no longer the cluster's writes
/// nothing more, neither on its way nor back.
Result<Applied> apply_wish(kube::Client& client, const ha::Spec& spec, const Applying& options);

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"
#include "ha/spec.h"
#include "kube/client.h"

namespace core_ha::cli {

struct Observed {
  cluster::Snapshot snapshot;
  ha::Plan plan;
};

/// Observes the cluster and plans; reads what other pods request only where the plan asks for it.
/// `manifests`: the directory of k3s's own, as cluster::read_staged has it.
Result<Observed> observe_and_plan(kube::Client& client, const ha::Spec& spec, std::optional<std::int64_t> revision,
                                  const ha::OnNodes& on_nodes = {}, const std::string& manifests = {});

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "cli/applying.h"
#include "kube/client.h"

namespace core_ha::cli {

struct Reconciling {
  std::string node;            ///< this server's Node; one that is not registered (--disable-agent) cannot be marked
  std::string version;         ///< the helper's
  std::string manifests = {};  ///< the directory of k3s's own; empty: not looked at
  Deadline deadline = {};
  std::chrono::milliseconds poll{500};
};

struct Reconciled {
  std::int64_t revision = 0;            ///< of the wish that the cluster keeps; 0: it keeps none
  std::string turn = {};                ///< the server that reconciles
  std::optional<Applied> applied = {};  ///< what it did, where that is this one
  std::string moved = {};               ///< one sentence, where a pod was moved
};

/// Reads the wish and whose turn it is, sets those of k3s's manifests aside on this server that the wish wants, and no
/// others of ours, marks this server's Node where it is not marked yet, and in its turn does what
/// `apply` would do with the same wish, or, where nothing is to be done, what `rebalance` would do. A server without a
/// Node reconciles only where no other one can.
Result<Reconciled> reconcile(kube::Client& client, const Reconciling& options);

}  // namespace core_ha::cli

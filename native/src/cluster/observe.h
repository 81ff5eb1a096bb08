// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"

namespace core_ha::cluster {

/// Reads the cluster once, in parallel. A group that is not served is an empty list; any other failure is the result.
Result<Snapshot> observe(kube::Client& client);

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>

#include "base/result.h"
#include "ha/plan.h"
#include "kube/client.h"

namespace core_ha::act {

/// Waits for what a wait_* step names, by a watch; says on stderr what it waits for whenever that changes. A Deployment
/// or DaemonSet that is deleted meanwhile is a failure; what a DaemonSet lacks on nodes that are not ready is not
/// waited for. An API that does not answer for a while (k3s restarts) only takes time.
Result<void> wait_for(const ha::Step& step, kube::Client& client, std::chrono::seconds timeout);

}  // namespace core_ha::act

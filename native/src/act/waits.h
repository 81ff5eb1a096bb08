// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "ha/plan.h"
#include "kube/client.h"

namespace core_ha::act {

struct WaitOptions {
  std::chrono::seconds timeout{300};
  std::chrono::milliseconds poll{500};
};

/// Waits for what a wait_* step names, by reading again and again; says on stderr what it waits for whenever that
/// changes. An API that does not answer for a while (k3s restarts) only takes time.
Result<void> wait_for(const ha::Step& step, kube::Client& client, const WaitOptions& options);

/// True for an answer that time may mend: none, or an API server that is starting or ending.
bool may_pass(const kube::ApiError& error);

}  // namespace core_ha::act

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>

#include "lead/signals.h"

namespace core_ha::lead {

/// Runs `work` in a child process and gives its exit status. This process is then what PID 1 of a container has to be:
/// it passes signals on to the child, buries the dead, and when the child is gone it ends all that is left of it. When
/// this process dies, the child is sent SIGTERM and can see that it has another parent.
///
/// It is there because a DeadMansSwitch does not work on PID 1, and because somebody must be left when it has worked.
/// To be called while there is one thread.
int under_init(const std::function<int(const Signals&)>& work);

}  // namespace core_ha::lead

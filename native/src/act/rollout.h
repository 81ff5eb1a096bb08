// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"

namespace core_ha::act {

/// How far a Deployment's rollout is.
struct Rollout {
  enum class State { waiting, done, failed } state = State::waiting;
  std::string words;  ///< what it waits for, or why it failed
};

/// As `kubectl rollout status` judges it.
Rollout rollout_status(const Json& deployment);

}  // namespace core_ha::act

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "ha/plan.h"
#include "kube/client.h"

namespace core_ha::act {

enum class StepState { planned, done, unchanged, failed, rolled_back };
std::string_view to_string(StepState state);

/// A lasting object before and after, without what the server counts by itself (status, managedFields, versions).
struct Change {
  kube::ObjectRef object;
  Json before;  ///< null: it did not exist
  Json after;   ///< null: it is gone
};

/// What became of a plan.
struct Outcome {
  std::vector<StepState> states;  ///< one for each step of the plan
  std::vector<Change> changes;
  std::vector<std::string> warnings;  ///< from the server, each once
  std::optional<Error> error;

  bool changed() const;
};

struct Options {
  bool dry_run = false;
  std::chrono::seconds wait_timeout{300};  ///< per wait
  std::chrono::milliseconds poll{500};
};

/// Carries the steps out in order, waits for and verifies each. When one fails, or a signal falls, what was done is
/// undone in reverse order: exit 6 (130 for a signal), or 7 if that failed too. A refusal before the first change
/// keeps its own status (3, 5). With `dry_run` each API step is sent as dryRun=All and waits are skipped.
Outcome carry_out(const std::vector<ha::Step>& steps, kube::Client& client, const Options& options);

}  // namespace core_ha::act

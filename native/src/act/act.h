// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "act/writes.h"
#include "base/deadline.h"
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
  bool stale = false;     ///< the error is that the cluster changed since it was observed: plan anew
  bool changed_ = false;  ///< see changed()

  /// True when something was changed and stayed so; of a dry run, when something would be.
  bool changed() const { return changed_; }
};

/// How the pods that a plan brings in differ from those that were there. It decides how a run goes back once they
/// are asked for: by a rollout of the Deployment, or by `way_back`, which retires them as a swap does.
enum class NewPods {
  alike,   ///< both end gently: a rollout takes them back
  gentle,  ///< only the new ones do: a rollout would still cost clients that use a source port again
  rough    ///< the new ones do not: no rollout may end them
};

/// What going back may take in all, however many waits it has. The modules leave the helper as much beyond `--timeout`.
inline constexpr std::chrono::seconds time_to_go_back{900};

struct Options {
  bool dry_run = false;
  Deadline deadline = {};                  ///< of the whole run: then it goes back
  std::chrono::seconds wait_timeout{300};  ///< per wait
  std::chrono::milliseconds poll{500};     ///< between two reads, while the API does not answer
  /// The steps that lead back from where the cluster is now, for where taking back step by step would not do: an old
  /// pod is gone, or new pods serve. Without it a run whose old pod is gone stays where it is.
  std::function<Result<std::vector<ha::Step>>()> way_back = {};
  /// Asked before each write, forth or back, with what the write itself is given. An error ends the run where it is,
  /// without going back (further): somebody else has taken over.
  std::function<Result<void>(const WriteOptions&)> still_ours = {};
  NewPods new_pods = NewPods::alike;
};

/// Carries the steps out in order, waits for and verifies each.
///
/// Before the first change every apply is asked of the server as a dry run, so a refusal (3) or a conflict (5) leaves
/// everything as it was. When a later step fails, the time is over or a signal falls, what was done, or may have been
/// done, is undone in reverse order: exit 6 (130 for a signal), or 7 if that failed too. With `dry_run` each API step
/// is sent as dryRun=All, waits are skipped.
Outcome carry_out(const std::vector<ha::Step>& steps, kube::Client& client, const Options& options);

}  // namespace core_ha::act

// SPDX-License-Identifier: GPL-3.0-or-later
//
// How a run can end, and where the cluster is then:
//   before the first change      as it was; the step's own exit status
//   after it                     each write noted the steps that take it back; these are carried out in reverse order
//   after a step of no return    an old pod is gone, and taking back the rest in reverse would let abrupt pods
//                                serve again while the count shrinks. The caller's plan for the way back is carried out
//                                instead; on a signal, or without such a plan, what came later is taken back and the
//                                run stays at a point where everything serves
//   when new pods serve          taking the template back would roll them away while clients that use a source port
//                                again are sent to them, and on the way to what k3s ships with queries under way: the
//                                caller's plan again, which retires them, also on a signal
#include "act/act.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <set>
#include <utility>

#include "act/changes.h"
#include "act/waits.h"
#include "act/writes.h"
#include "base/interrupt.h"
#include "base/log.h"

namespace core_ha::act {
namespace {

/// What going back may take on top of its waits.
constexpr std::chrono::seconds extra_time_to_go_back{60};

bool is_wait(ha::Action action) {
  using enum ha::Action;
  return action == wait_rollout || action == wait_gone || action == wait_endpoints_gone;
}

std::string named(const ha::Step& step) {
  return fmt::format("{}: {} {}", step.id, ha::to_string(step.action), to_string(step.object));
}

double seconds_since(Deadline::Clock::time_point start) {
  return std::chrono::duration<double>(Deadline::Clock::now() - start).count();
}

/// One run over a plan's steps.
class Run {
 public:
  Run(kube::Client& client, const Options& options) : client_(client), options_(options) {}

  Outcome carry_out(const std::vector<ha::Step>& steps);

 private:
  struct Entry {
    size_t step;  ///< which step of the plan
    std::vector<ha::Step> undo;
  };

  WriteOptions write_options(bool dry_run) const { return {dry_run, options_.wait_timeout, options_.poll}; }
  Result<void, WriteError> ask_beforehand(const std::vector<ha::Step>& steps);
  Result<StepState, WriteError> perform(const ha::Step& step, size_t index);
  Result<void> perform_way_back(const std::vector<ha::Step>& steps);
  Result<void> undo_journal();
  void end_badly(WriteError&& error, Outcome& outcome);

  kube::Client& client_;
  const Options& options_;
  Changes changes_;
  std::vector<Entry> journal_;  ///< since the last step of no return
  std::set<size_t> done_;       ///< steps that changed something
  bool no_return_ = false;
  bool let_roll_ = false;  ///< a Deployment was unpaused
};

Result<void, WriteError> Run::ask_beforehand(const std::vector<ha::Step>& steps) {
  for (const ha::Step& step : steps) {
    if (step.action != ha::Action::apply) continue;
    auto answer = write(step, client_, write_options(true));
    if (!answer) return answer.error();
  }
  return {};
}

Result<StepState, WriteError> Run::perform(const ha::Step& step, size_t index) {
  if (is_wait(step.action)) {
    if (options_.dry_run) return StepState::planned;
    auto waited = wait_for(step, client_, options_.wait_timeout);
    if (!waited) return WriteError{waited.error()};
    return StepState::done;
  }
  if (options_.still_ours && !options_.dry_run)
    if (auto ours = options_.still_ours(); !ours) return WriteError{ours.error(), false, true};
  auto written = write(step, client_, write_options(options_.dry_run));
  if (!written) return written.error();
  changes_.note(step, *written);
  if (options_.dry_run) return StepState::planned;
  if (!written->changed) return StepState::unchanged;
  done_.insert(index);
  const Json::json_pointer paused("/spec/paused");
  if (step.object.kind == "Deployment" && written->before.value(paused, false) && !written->after.value(paused, false))
    let_roll_ = true;
  if (written->final) {
    no_return_ = true;
    journal_.clear();
  } else if (!written->undo.empty()) {
    journal_.push_back({index, std::move(written->undo)});
  }
  return StepState::done;
}

Result<void> Run::perform_way_back(const std::vector<ha::Step>& steps) {
  for (const ha::Step& step : steps) {
    log::progress("going back: " + named(step));
    if (is_wait(step.action)) {
      auto waited = wait_for(step, client_, options_.wait_timeout);
      if (!waited) return waited;
      continue;
    }
    auto written = write(step, client_, write_options(false));
    if (!written) return Error{written.error().status, written.error().message};
  }
  return {};
}

Result<void> Run::undo_journal() {
  std::vector<ha::Step> back;
  std::set<kube::ObjectRef> deployments;
  for (const Entry& entry : std::views::reverse(journal_)) {
    back.insert(back.end(), entry.undo.begin(), entry.undo.end());
    if (entry.undo.front().object.kind == "Deployment") deployments.insert(entry.undo.front().object);
  }
  for (const auto& deployment : deployments)
    back.push_back({.id = "rollout-back", .action = ha::Action::wait_rollout, .object = deployment});
  return perform_way_back(back);
}

void Run::end_badly(WriteError&& error, Outcome& outcome) {
  outcome.stale = error.stale;
  const bool signalled = error.status == ExitStatus::interrupted;
  if (done_.empty() || options_.dry_run) {
    outcome.error = Error{error.status, signalled ? "interrupted; nothing was changed" : error.message};
    return;
  }
  if (error.superseded) {
    outcome.error = Error{error.status, error.message + "; what was done is left to it"};
    return;
  }
  const InterruptShield shield;
  client_.set_deadline(Deadline::after(options_.wait_timeout + extra_time_to_go_back));
  log::progress(fmt::format("{}; going back", error.message));

  Result<void> back;
  bool stays = false;
  const bool rough = let_roll_ && options_.new_pods == NewPods::rough;
  const bool retires = let_roll_ && options_.new_pods == NewPods::gentle && !no_return_;
  std::optional<Result<std::vector<ha::Step>>> planned;
  if (options_.way_back && ((no_return_ && !signalled) || rough || retires)) planned = options_.way_back();
  if (planned && !*planned && retires) {
    log::progress(fmt::format("{}; so the new pods are not retired, but rolled back", planned->error().message));
    planned.reset();
  }
  if (planned) {
    back = *planned ? perform_way_back(**planned) : Result<void>(planned->error());
  } else {
    stays = no_return_;
    back = undo_journal();
  }
  if (!back) {
    outcome.error = Error{ExitStatus::not_rolled_back,
                          fmt::format("{}; going back failed too: {}", error.message, back.error().message)};
    return;
  }
  std::set<size_t> undone;
  if (stays) {
    for (const Entry& entry : journal_)
      undone.insert(entry.step);
  } else {
    undone = done_;
  }
  for (const size_t step : undone) {
    outcome.states[step] = StepState::rolled_back;
    done_.erase(step);
  }
  const char* const where = stays ? "the run stopped at a point where everything serves, and the next one carries on"
                                  : "what was done has been undone";
  outcome.error =
      Error{signalled ? ExitStatus::interrupted : ExitStatus::rolled_back, fmt::format("{}; {}", error.message, where)};
}

Outcome Run::carry_out(const std::vector<ha::Step>& steps) {
  Outcome outcome;
  outcome.states.assign(steps.size(), StepState::planned);
  if (!options_.dry_run) {
    if (auto asked = ask_beforehand(steps); !asked) {
      end_badly(WriteError(asked.error()), outcome);
      return outcome;
    }
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto start = Deadline::Clock::now();
    Result<StepState, WriteError> state =
        should_stop() ? WriteError{{ExitStatus::interrupted, "interrupted"}} : perform(steps[i], i);
    if (!state) {
      outcome.states[i] = StepState::failed;
      end_badly(WriteError(state.error()), outcome);
      break;
    }
    outcome.states[i] = *state;
    if (!options_.dry_run)
      log::progress(fmt::format("[{}/{}] {} {} ({:.1f} s)", i + 1, steps.size(), named(steps[i]), to_string(*state),
                                seconds_since(start)));
  }
  if (options_.dry_run) {
    outcome.changed_ = !outcome.error && std::any_of(steps.begin(), steps.end(),
                                                     [](const ha::Step& step) { return !is_wait(step.action); });
  } else {
    if (!done_.empty()) changes_.refresh(client_);
    outcome.changed_ = !done_.empty();
  }
  outcome.changes = changes_.list();
  return outcome;
}

}  // namespace

std::string_view to_string(StepState state) {
  switch (state) {
    case StepState::planned: return "planned";
    case StepState::done: return "done";
    case StepState::unchanged: return "unchanged";
    case StepState::failed: return "failed";
    case StepState::rolled_back: return "rolled_back";
  }
  return "failed";
}

Outcome carry_out(const std::vector<ha::Step>& steps, kube::Client& client, const Options& options) {
  Outcome outcome = Run(client, options).carry_out(steps);
  outcome.warnings = client.take_warnings();
  return outcome;
}

}  // namespace core_ha::act

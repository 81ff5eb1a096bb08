// SPDX-License-Identifier: GPL-3.0-or-later
//
// How a run can end, and where the cluster is then:
//   before the first change      as it was; the step's own exit status
//   after it                     each write noted the steps that take it back, also one of which it is not known
//                                whether it was done; these are carried out in reverse order
//   after a step of no return    an old pod is gone, and taking back the rest in reverse would let abrupt pods
//                                serve again while the count shrinks. The caller's plan for the way back is carried out
//                                instead; on a signal, or without such a plan, what came later is taken back and the
//                                run stays at a point where everything serves
//   when the wish is not ours    another run has written a later one: nothing is written any more, not even back
//   when new pods serve          taking the template back would roll them away while clients that use a source port
//                                again are sent to them, and on the way to what k3s ships with queries under way: the
//                                caller's plan again, which retires them, also on a signal
//   after a step that says so    two could be active for a moment if it were undone by itself (Step::back_by_plan): the
//                                caller's plan again, or nothing
#include "act/act.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <optional>
#include <ranges>
#include <set>
#include <utility>

#include "act/changes.h"
#include "act/waits.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cluster/helm.h"

namespace core_ha::act {
namespace {

std::string named(const ha::Step& step) {
  return fmt::format("{}: {} {}", step.id, ha::to_string(step.action), to_string(step.object));
}

double seconds_since(Deadline::Clock::time_point start) {
  return std::chrono::duration<double>(Deadline::Clock::now() - start).count();
}

/// One run over a plan's steps.
class Run {
 public:
  Run(kube::Client& client, const Options& options) : client_(client), options_(options), deadline_(options.deadline) {}

  Outcome carry_out(const std::vector<ha::Step>& steps);

 private:
  struct Entry {
    size_t step;  ///< which step of the plan
    std::vector<ha::Step> undo;
  };

  std::chrono::seconds patience() const {
    return std::min(options_.wait_timeout, std::chrono::ceil<std::chrono::seconds>(deadline_.remaining()));
  }
  WriteOptions write_options(bool dry_run) const { return {dry_run, shield_.has_value(), patience(), options_.poll}; }
  Result<void> wait(const ha::Step& step) { return wait_for(step, client_, patience()); }
  Result<void, WriteError> check_ours() const;
  Result<void, WriteError> ask_beforehand(const std::vector<ha::Step>& steps);
  Result<StepState, WriteError> perform(const ha::Step& step, size_t index);
  /// perform, where nothing that it meets ends the run without going back.
  Result<StepState, WriteError> perform_safely(const ha::Step& step, size_t index);
  void note(const ha::Step& step, size_t index, Written&& written);
  Result<void, WriteError> perform_back(const ha::Step& step);
  Result<void, WriteError> perform_way_back(const std::vector<ha::Step>& steps);
  std::vector<ha::Step> chart_waits();
  Result<void, WriteError> undo_journal();
  Result<void, WriteError> go_back(bool signalled);
  void end_badly(WriteError&& error, Outcome& outcome);

  kube::Client& client_;
  const Options& options_;
  Deadline deadline_;
  std::optional<InterruptShield> shield_;  ///< up from when it goes back
  Changes changes_;
  std::vector<Entry> journal_;    ///< since the last step of no return
  std::vector<ha::Step> charts_;  ///< the waits for Helm charts, each with that for what it brings about, as planned
  std::set<size_t> staying_;      ///< steps that going back leaves as they are
  std::set<size_t> done_;         ///< steps that changed something, or may have
  bool wrote_ = false;
  bool no_return_ = false;
  bool by_plan_ = false;   ///< undoing what was done step by step would be unsafe
  bool let_roll_ = false;  ///< new pods were asked for
  bool stays_ = false;     ///< it went back only to where everything serves
};

Result<void, WriteError> Run::check_ours() const {
  if (!options_.still_ours || options_.dry_run) return {};
  if (auto ours = options_.still_ours(write_options(false)); !ours) return WriteError{ours.error(), false, true};
  return {};
}

Result<void, WriteError> Run::ask_beforehand(const std::vector<ha::Step>& steps) {
  // The guard that manifests bring lets an object go once its annotation is gone, and not before.
  std::set<kube::ObjectRef> unguarded;
  for (const ha::Step& step : steps) {
    if (ha::is_wait(step.action) || (step.action == ha::Action::remove && unguarded.contains(step.object))) continue;
    auto answer = write(step, client_, write_options(true));
    if (!answer) return answer.error();
    if (step.body.contains(Json::json_pointer("/metadata/annotations"))) unguarded.insert(step.object);
  }
  return {};
}

void Run::note(const ha::Step& step, size_t index, Written&& written) {
  wrote_ = true;
  done_.insert(index);
  if (step.back_by_plan) by_plan_ = true;
  const Json::json_pointer paused("/spec/paused");
  if (step.object.kind == "Deployment" && step.action == ha::Action::apply && written.before.is_object() &&
      written.before.value(paused, false) && !step.body.value(paused, false))
    let_roll_ = true;
  const Json::json_pointer replicas("/spec/replicas");
  const bool first_pods = step.action == ha::Action::scale && written.before.value(replicas, 1) == 0;
  if (first_pods || (step.object.kind == "DaemonSet" && step.action == ha::Action::apply)) let_roll_ = true;
  if (step.stays_done) {
    staying_.insert(index);
  } else if (written.final) {
    no_return_ = true;
    journal_.clear();
  } else if (!written.undo.empty()) {
    journal_.push_back({index, std::move(written.undo)});
  }
}

Result<StepState, WriteError> Run::perform(const ha::Step& step, size_t index) {
  if (should_stop()) return WriteError{{ExitStatus::interrupted, "interrupted"}};
  if (deadline_.expired()) return WriteError{{ExitStatus::api, named(step) + " was not begun"}};
  if (ha::is_wait(step.action)) {
    if (options_.dry_run) return StepState::planned;
    if (auto waited = wait(step); !waited) return WriteError{waited.error()};
    return StepState::done;
  }
  if (auto ours = check_ours(); !ours) return ours.error();
  auto written = write(step, client_, write_options(options_.dry_run));
  if (!written) {
    WriteError error = written.error();
    if (error.perhaps) {
      changes_.note(step, *error.perhaps);
      note(step, index, std::move(*error.perhaps));
    }
    return error;
  }
  changes_.note(step, *written);
  if (options_.dry_run) return StepState::planned;
  if (!written->changed) return StepState::unchanged;
  note(step, index, std::move(*written));
  return StepState::done;
}

Result<StepState, WriteError> Run::perform_safely(const ha::Step& step, size_t index) {
  try {
    return perform(step, index);
  } catch (const std::exception& error) {
    return WriteError{{ExitStatus::internal, fmt::format("{}: internal error: {}", named(step), error.what())}};
  }
}

Result<void, WriteError> Run::perform_back(const ha::Step& step) {
  log::progress("going back: " + named(step));
  if (ha::is_wait(step.action)) {
    if (auto waited = wait(step); !waited) return WriteError{waited.error()};
    return {};
  }
  if (auto ours = check_ours(); !ours) return ours;
  if (auto written = write(step, client_, write_options(false)); !written) return written.error();
  return {};
}

/// Each step of the caller's plan rests on those before it.
Result<void, WriteError> Run::perform_way_back(const std::vector<ha::Step>& steps) {
  for (const ha::Step& step : steps)
    if (auto done = perform_back(step); !done) return done;
  return {};
}

/// What a Helm chart made of the configuration that is about to be taken back is to be undone, too. Asked before that:
/// the job that is there then is not the one to wait for, unless the change has not reached it yet.
std::vector<ha::Step> Run::chart_waits() {
  std::vector<ha::Step> waits;
  for (auto wait = charts_.begin(); wait != charts_.end(); wait += 2) {
    const bool configured = std::any_of(journal_.begin(), journal_.end(), [&](const Entry& entry) {
      const kube::ObjectRef& object = entry.undo.front().object;
      return object.kind.starts_with("HelmChart") && wait->object.name == "helm-install-" + object.name;
    });
    if (!configured) continue;
    waits.insert(waits.end(), wait, wait + 2);
    ha::Step& chart = *(waits.end() - 2);
    const auto job = read_patiently([&] { return client_.get_object(chart.object); }, write_options(false));
    const std::string hash = job ? cluster::config_hash(*job) : "";
    chart.former = hash == chart.former ? "" : hash;
  }
  return waits;
}

/// What belongs to one object rests on what came before there; the first error does not keep the others from going
/// back.
Result<void, WriteError> Run::undo_journal() {
  std::vector<ha::Step> back;
  const std::vector<ha::Step> chart = chart_waits();
  std::set<kube::ObjectRef> rolling;
  for (const Entry& entry : std::views::reverse(journal_)) {
    back.insert(back.end(), entry.undo.begin(), entry.undo.end());
    const ha::Step& first = entry.undo.front();
    if (first.object.kind != "Deployment" && first.object.kind != "DaemonSet") continue;
    if (first.action == ha::Action::remove)
      rolling.erase(first.object);
    else
      rolling.insert(first.object);
  }
  for (const auto& object : rolling)
    back.push_back({.id = "rollout-back", .action = ha::Action::wait_rollout, .object = object});
  back.insert(back.end(), chart.begin(), chart.end());
  Result<void, WriteError> first;
  std::set<kube::ObjectRef> stuck;
  for (const ha::Step& step : back) {
    if (stuck.contains(step.object)) continue;
    auto done = perform_back(step);
    if (done) continue;
    if (done.error().superseded) return done;
    if (first) first = done;
    stuck.insert(step.object);
  }
  return first;
}

Result<void, WriteError> Run::go_back(bool signalled) {
  if (auto ours = check_ours(); !ours) return ours;
  try {
    const bool rough = let_roll_ && options_.new_pods == NewPods::rough;
    const bool retires = let_roll_ && options_.new_pods == NewPods::gentle && !no_return_;
    if (options_.way_back && ((no_return_ && !signalled) || rough || retires || by_plan_)) {
      const auto steps = options_.way_back();
      if (steps) return perform_way_back(*steps);
      if (!retires || by_plan_) return WriteError{steps.error()};
      log::progress(fmt::format("{}; so the new pods are not retired, but rolled back", steps.error().message));
    }
    if (by_plan_) return WriteError{{ExitStatus::internal, "there is no plan for the way back"}};
    stays_ = no_return_;
    return undo_journal();
  } catch (const std::exception& error) {
    return WriteError{{ExitStatus::internal, fmt::format("internal error: {}", error.what())}};
  }
}

void Run::end_badly(WriteError&& error, Outcome& outcome) {
  const bool late = deadline_.expired();
  if (late) error.message = fmt::format("the time for the whole run (--timeout) is over: {}", error.message);
  outcome.stale = error.stale && !late;
  if (done_.empty() || options_.dry_run) {
    const bool signalled = error.status == ExitStatus::interrupted;
    outcome.error = Error{error.status, signalled ? "interrupted; nothing was changed" : error.message};
    return;
  }
  const bool signalled = interrupted();
  shield_.emplace();
  deadline_ = Deadline::after(time_to_go_back);
  client_.set_deadline(deadline_);
  Result<void, WriteError> back = error;
  if (!error.superseded) {
    log::progress(fmt::format("{}; going back", error.message));
    back = go_back(signalled);
  }
  if (!back && back.error().superseded) {
    const std::string why = error.superseded ? error.message : error.message + "; " + back.error().message;
    outcome.error =
        Error{signalled ? ExitStatus::interrupted : back.error().status, why + "; what was done is left to it"};
    return;
  }
  if (!back) {
    outcome.error = Error{ExitStatus::not_rolled_back,
                          fmt::format("{}; going back failed too: {}", error.message, back.error().message)};
    return;
  }
  std::set<size_t> undone;
  if (stays_) {
    for (const Entry& entry : journal_)
      undone.insert(entry.step);
  } else {
    std::set_difference(done_.begin(), done_.end(), staying_.begin(), staying_.end(),
                        std::inserter(undone, undone.end()));
  }
  for (const size_t step : undone) {
    outcome.states[step] = StepState::rolled_back;
    done_.erase(step);
  }
  const char* const where = stays_ ? "the run stopped at a point where everything serves, and the next one carries on"
                                   : "what was done has been undone";
  outcome.error =
      Error{signalled ? ExitStatus::interrupted : ExitStatus::rolled_back, fmt::format("{}; {}", error.message, where)};
}

Outcome Run::carry_out(const std::vector<ha::Step>& steps) {
  Outcome outcome;
  outcome.states.assign(steps.size(), StepState::planned);
  for (std::size_t i = 0; i + 1 < steps.size(); ++i)  // its rollout comes next
    if (steps[i].action == ha::Action::wait_chart) charts_.insert(charts_.end(), {steps[i], steps[i + 1]});
  if (!options_.dry_run) {
    if (auto asked = ask_beforehand(steps); !asked) {
      end_badly(WriteError(asked.error()), outcome);
      return outcome;
    }
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto start = Deadline::Clock::now();
    const auto state = perform_safely(steps[i], i);
    if (!state) {
      end_badly(WriteError(state.error()), outcome);
      outcome.states[i] = StepState::failed;
      break;
    }
    outcome.states[i] = *state;
    if (!options_.dry_run)
      log::progress(fmt::format("[{}/{}] {} {} ({:.1f} s)", i + 1, steps.size(), named(steps[i]), to_string(*state),
                                seconds_since(start)));
  }
  if (options_.dry_run) {
    outcome.changed_ = !outcome.error && std::any_of(steps.begin(), steps.end(),
                                                     [](const ha::Step& step) { return !ha::is_wait(step.action); });
  } else {
    if (wrote_) changes_.refresh(client_);
    outcome.changed_ = !done_.empty();
  }
  outcome.changes = changes_.list();
  if (shield_) client_.set_deadline(options_.deadline);  // going back had a time of its own
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

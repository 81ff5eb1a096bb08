// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/applying.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli/planning.h"
#include "cluster/managed_fields.h"
#include "cluster/observe.h"
#include "cluster/snapshot.h"
#include "ha/state.h"
#include "ha/way_back.h"

namespace core_ha::cli {
namespace {

/// A cluster that moved between being observed and being changed is observed anew this often (util/retry/util.go).
constexpr int attempts = 5;

/// A run that changed something looks again, and does what others have made necessary meanwhile, up to this many
/// rounds.
constexpr int rounds = 3;

act::NewPods new_pods(const ha::Spec& spec, const cluster::Snapshot& before) {
  if (spec.coredns_strategy == "packaged") return act::NewPods::rough;
  // Another controller's, or, of a DaemonSet, pods that no rollout can take back.
  if (spec.coredns_strategy == "daemonset" || spec.coredns_strategy == "helm" || !before.daemonsets.empty())
    return act::NewPods::gentle;
  const Json* const coredns = cluster::find_named(before.deployments, "coredns");
  const bool overlaid = coredns != nullptr && !cluster::applied_fields(*coredns, kube::field_manager).empty();
  return overlaid ? act::NewPods::alike : act::NewPods::gentle;
}

Result<std::vector<ha::Step>> way_back(const cluster::Snapshot& before, kube::Client& client) {
  cluster::Asked asked{.deployments = {}, .charts = before.charts};
  for (const auto& object : before.deployments)  // one of the user's that was let go says so no more
    asked.deployments.push_back(kube::ref_of(object));
  auto now = cluster::observe(client, asked);
  if (!now) return now.error();
  now->usage = before.usage;  // of other pods; it was read a moment ago
  now->manifests = before.manifests;
  ha::Plan plan = ha::plan_way_back(before, *now);
  if (plan.refusal) return *plan.refusal;
  return std::move(plan.steps);
}

/// One run's wish, and whether it is still the cluster's: another run may have written one meanwhile.
struct Wish {
  ha::State state;
  bool going_away;  ///< at its end nothing is kept
  bool there_before;

  Result<void> still_kept(kube::Client& client, const act::WriteOptions& options) const {
    const auto object = act::read_patiently([&] { return client.get_object(ha::state_object); }, options);
    if (!object) {
      // Where none was kept before, going back is what takes it away; what does not answer lets no write through.
      if (!object.error().not_found() || going_away || (options.back && !there_before)) return {};
      return Error{ExitStatus::conflict, "the wish of this run was taken away meanwhile"};
    }
    const auto kept = ha::read_state(*object);
    // Two runs that start together can both have written the first revision; the later text is the one that stands.
    if (!kept || kept->revision < state.revision || (kept->revision == state.revision && kept->spec == state.spec))
      return {};
    return Error{ExitStatus::conflict, fmt::format("another run has written its wish, as revision {}; this one was "
                                                   "revision {}",
                                                   kept->revision, state.revision)};
  }
};

act::Outcome carry_out(kube::Client& client, const ha::Spec& spec, const Observed& observed, const Applying& options) {
  const ha::Plan& plan = observed.plan;
  const bool packaged = ha::all_packaged(spec);
  act::Options act_options{.dry_run = options.dry_run,
                           .deadline = options.deadline,
                           .wait_timeout = spec.wait_timeout,
                           .poll = options.poll,
                           .way_back = [&] { return way_back(observed.snapshot, client); },
                           .new_pods = new_pods(spec, observed.snapshot)};
  if (plan.revision > 0 && !plan.steps.empty()) {
    const Wish wish{{plan.revision, ha::to_json(spec).dump()},
                    packaged,
                    cluster::find_named(observed.snapshot.configmaps, ha::state_object.name) != nullptr};
    // Before the step that writes it the wish is an earlier one, or none.
    act_options.still_ours = [&client, wish, first = plan.steps.front().object == ha::state_object](
                                 const act::WriteOptions& write_options) mutable {
      if (std::exchange(first, false)) return Result<void>();
      return wish.still_kept(client, write_options);
    };
  }
  return act::carry_out(plan.steps, client, act_options);
}

/// Whether the cluster is left with this wish: no other run has written one, or taken this one away.
bool is_kept(const cluster::Snapshot& snapshot, const ha::Spec& spec) {
  const Json* const object = cluster::find_named(snapshot.configmaps, ha::state_object.name);
  if (object == nullptr) return ha::all_packaged(spec);
  const auto kept = ha::read_state(*object);
  return kept && kept->spec == ha::to_json(spec).dump();
}

/// One round: observes, plans and carries out; anew where the cluster moved in between and nothing was left behind.
/// A further one does nothing where another run's wish stands by now.
Result<Applied> do_round(kube::Client& client, const ha::Spec& spec, const Applying& options, bool further = false) {
  for (int attempt = 1;; ++attempt) {
    auto observed = observe_and_plan(client, spec, options.revision, options.on_nodes, options.manifests);
    if (!observed) return observed.error();
    if (further && !is_kept(observed->snapshot, spec)) return Applied{};
    act::Outcome acted;
    if (observed->plan.refusal) {
      acted.states.assign(observed->plan.steps.size(), act::StepState::planned);
      acted.error = observed->plan.refusal;
    } else {
      acted = carry_out(client, spec, *observed, options);
    }
    // Only a run that left nothing behind may start over.
    if (!acted.stale || acted.changed())
      return Applied{std::move(observed->plan), std::move(acted), std::move(observed->snapshot)};
    if (attempt == attempts) {
      if (acted.error->status == ExitStatus::api)
        acted.error = Error{ExitStatus::conflict, fmt::format("others changed the cluster {} times meanwhile: {}",
                                                              attempts, acted.error->message)};
      return Applied{std::move(observed->plan), std::move(acted), std::move(observed->snapshot)};
    }
    log::progress(acted.error->message + "; observing the cluster anew");
    // Not at once, and not when the others do: two runs that met would meet again.
    if (!sleep_for(random_time(options.poll / 10, options.poll)))
      return Applied{std::move(observed->plan), std::move(acted), std::move(observed->snapshot)};
  }
}

template <typename T>
void append(std::vector<T>& to, std::vector<T>&& more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

/// The same of what is not there yet.
void append_new(std::vector<std::string>& to, std::vector<std::string>&& more) {
  std::erase_if(more, [&](const auto& one) { return std::find(to.begin(), to.end(), one) != to.end(); });
  append(to, std::move(more));
}

/// Adds what a further round did. An object that both changed, or a warning that both were given, is told once, the
/// object from its first state to its last.
void add_round(Applied& all, Applied&& more) {
  append(all.plan.steps, std::move(more.plan.steps));
  append_new(all.plan.warnings, std::move(more.plan.warnings));
  append(all.acted.states, std::move(more.acted.states));
  append_new(all.acted.warnings, std::move(more.acted.warnings));
  for (auto& change : more.acted.changes) {
    const auto same = std::find_if(all.acted.changes.begin(), all.acted.changes.end(),
                                   [&](const auto& earlier) { return earlier.object == change.object; });
    if (same == all.acted.changes.end())
      all.acted.changes.push_back(std::move(change));
    else
      same->after = std::move(change.after);
  }
  all.acted.error = std::move(more.acted.error);
}

}  // namespace

Result<Applied> apply_wish(kube::Client& client, const ha::Spec& spec, const Applying& options) {
  auto applied = do_round(client, spec, options);
  // What others made meanwhile is not in the plan: a pod, say, that an autoscaler asked for just before it was removed.
  for (int round = 2; round <= rounds; ++round) {
    if (!applied || options.dry_run || applied->acted.error || !applied->acted.changed()) return applied;
    auto more = do_round(client, spec, options, true);
    if (!more || more->plan.refusal) {
      const Error error = more ? *more->plan.refusal : more.error();
      applied->plan.warnings.push_back("All was done; the look at the end came to this: " + error.message);
      return applied;
    }
    applied->plan.unmet = std::move(more->plan.unmet);  // as the pods stand now
    if (more->plan.steps.empty()) return applied;
    if (!more->acted.error)
      log::progress("others changed the cluster meanwhile; what that made necessary was done, too");
    add_round(*applied, std::move(*more));
  }
  return applied;
}

}  // namespace core_ha::cli

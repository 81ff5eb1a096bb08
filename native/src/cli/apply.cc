// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "act/act.h"
#include "base/backoff.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "cli/planning.h"
#include "cli/verbs.h"
#include "cluster/managed_fields.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"
#include "ha/spec.h"
#include "ha/state.h"
#include "kube/client.h"
#include "report/result.h"

namespace core_ha::cli {
namespace {

struct ApplyOptions {
  std::string spec;
  bool dry_run = false;
  std::optional<std::int64_t> revision = {};
};

/// A cluster that moved between being observed and being changed is observed anew this often.
constexpr int attempts = 5;

/// CoreDNS's Deployment where our overlay is on it; else null.
const Json* overlaid(const cluster::Snapshot& snapshot) {
  const Json* const coredns = cluster::find_named(snapshot.deployments, "coredns");
  return coredns != nullptr && cluster::applied_fields(*coredns, kube::field_manager).empty() ? nullptr : coredns;
}

act::NewPods new_pods(const ha::Spec& spec, const cluster::Snapshot& before) {
  if (spec.coredns_strategy == "packaged") return act::NewPods::rough;
  return overlaid(before) == nullptr ? act::NewPods::gentle : act::NewPods::alike;
}

/// The wish that the cluster was at before: what k3s ships, or our overlay with the numbers that are in force.
ha::Spec earlier_wish(const ha::Spec& spec, const cluster::Snapshot& before) {
  ha::Spec wish = spec;
  const Json* const ours = overlaid(before);
  wish.coredns_strategy = ours != nullptr ? "replicas" : "packaged";
  if (ours != nullptr) wish.coredns_replicas = ours->value(Json::json_pointer("/spec/replicas"), 1);
  if (const Json* const scaler = cluster::find_named(before.horizontalpodautoscalers, "k3s-core-ha-coredns")) {
    wish.coredns_strategy = "autoscaling";
    const Json limits = scaler->value("spec", Json::object());
    if (limits.contains("minReplicas")) wish.coredns_min_replicas = limits["minReplicas"].get<int>();
    if (limits.contains("maxReplicas")) wish.coredns_max_replicas = limits["maxReplicas"].get<int>();
    wish.coredns_cpu_utilization =
        limits.value(Json::json_pointer("/metrics/0/resource/target/averageUtilization"), wish.coredns_cpu_utilization);
  }
  if (const Json* const service = cluster::find_named(before.services, "kube-dns"))
    wish.coredns_traffic_distribution =
        service->value(Json::json_pointer("/spec/trafficDistribution"), std::string("none"));
  return wish;
}

/// The plan that leads back to where the cluster was before, from wherever it is when it is asked for.
Result<std::vector<ha::Step>> way_back(const ha::Spec& wish, const cluster::Snapshot& before, kube::Client& client) {
  auto now = observe_and_plan(client, wish, {});
  if (!now) return now.error();
  if (now->plan.refusal) return *now->plan.refusal;
  std::vector<ha::Step> steps = std::move(now->plan.steps);
  // The wish that is kept becomes the earlier one as it was written, which says more than what can be seen of it.
  std::erase_if(steps, [](const ha::Step& step) { return step.object == ha::state_object; });
  ha::Step kept{.id = "wish-back", .action = ha::Action::remove, .object = ha::state_object};
  if (const Json* const state = cluster::find_named(before.configmaps, ha::state_object.name)) {
    kept.action = ha::Action::apply;
    kept.body = cluster::body_from_fields(*state, cluster::applied_fields(*state, kube::field_manager));
  }
  steps.push_back(std::move(kept));
  return steps;
}

/// Whether the wish of this run is still the cluster's: another run may have written one meanwhile.
Result<void> still_ours(const ha::State& ours, bool going_away, kube::Client& client) {
  const auto object = client.get_object(ha::state_object);
  if (!object) {
    // What does not answer now is asked again by the write itself.
    if (!object.error().not_found() || going_away) return {};
    return Error{ExitStatus::conflict, "the wish of this run was taken away meanwhile"};
  }
  const auto kept = ha::read_state(*object);
  // Two runs that start together can both have written the first revision; the later text is the one that stands.
  if (!kept || kept->revision < ours.revision || (kept->revision == ours.revision && kept->spec == ours.spec))
    return {};
  return Error{ExitStatus::conflict, fmt::format("another run has written its wish, as revision {}; this one was "
                                                 "revision {}",
                                                 kept->revision, ours.revision)};
}

Outcome apply(Context& context, const ApplyOptions& options) {
  auto document = read_document(options.spec);
  if (!document) return document.error();
  auto spec = ha::parse_spec(*document);
  if (!spec) return spec.error();
  auto client = context.connect();
  if (!client) return client.error();

  ha::Plan plan;
  act::Outcome acted;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    auto observed = observe_and_plan(**client, *spec, options.revision);
    if (!observed) return observed.error();
    plan = std::move(observed->plan);
    acted = {};
    if (plan.refusal) {
      acted.states.assign(plan.steps.size(), act::StepState::planned);
      acted.error = plan.refusal;
      break;
    }
    std::function<Result<void>()> guard;
    // Up to the first step, which writes the wish, it is an earlier one or none.
    if (plan.revision > 0)
      guard = [&, first = true]() mutable {
        if (std::exchange(first, false)) return Result<void>();
        return still_ours({plan.revision, ha::to_json(*spec).dump()}, spec->coredns_strategy == "packaged", **client);
      };
    acted = act::carry_out(plan.steps, **client,
                           {.dry_run = options.dry_run,
                            .wait_timeout = spec->wait_timeout,
                            .way_back =
                                [&] {
                                  const auto& before = observed->snapshot;
                                  return way_back(earlier_wish(*spec, before), before, **client);
                                },
                            .still_ours = guard,
                            .new_pods = new_pods(*spec, observed->snapshot)});
    // Only a run that left nothing behind may start over.
    if (!acted.stale || acted.changed() || attempt == attempts) break;
    log::progress(acted.error->message + "; observing the cluster anew");
    // Not at once, and not when the others do: two runs that met would meet again.
    if (!sleep_for(random_time(std::chrono::milliseconds(50), std::chrono::milliseconds(500)))) break;
  }
  Outcome outcome(report::result(plan, acted), "");
  if (!plan.refusal) outcome.text = report::text(outcome.result);  // a refusal is said by its error
  outcome.error = acted.error;
  return outcome;
}

}  // namespace

void add_apply(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("apply", "Bring the cluster to the wish, and keep it serving meanwhile");
  const auto options = std::make_shared<ApplyOptions>();
  verb->add_option("--spec", options->spec, "the wish, YAML or JSON; - reads standard input (default: the defaults)")
      ->type_name("FILE");
  verb->add_option("--revision", options->revision,
                   "of this wish: nothing is written when the cluster keeps a later one (default: the next)")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 53));
  verb->add_flag("--dry-run", options->dry_run, "change nothing: ask the server what each step would do");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha apply                              CoreDNS highly available, by the size of the cluster\n"
      "  k3s-core-ha apply --spec wish.yaml --dry-run   what would change\n"
      "  echo '{\"coredns_strategy\": \"packaged\"}' | k3s-core-ha apply --spec -\n"
      "                                                 back to what k3s ships\n"
      "When a step fails, or a signal falls, what was done is undone (exit 6, or 130); a run that was killed is\n"
      "carried on by the next one.");
  context.on_run(*verb, [&context, options] { return apply(context, *options); });
}

}  // namespace core_ha::cli

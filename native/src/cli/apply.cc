// SPDX-License-Identifier: GPL-3.0-or-later
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "act/act.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "cluster/managed_fields.h"
#include "cluster/observe.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"
#include "ha/spec.h"
#include "kube/client.h"
#include "report/result.h"

namespace core_ha::cli {
namespace {

struct ApplyOptions {
  std::string spec;
  bool dry_run = false;
};

/// A cluster that moved between being observed and being changed is observed anew this often.
constexpr int attempts = 3;

/// The wish that the cluster was at before: what k3s ships, or our overlay with the numbers that are in force.
ha::Spec earlier_wish(const ha::Spec& spec, const cluster::Snapshot& before) {
  ha::Spec wish = spec;
  const Json* const coredns = cluster::find_named(before.deployments, "coredns");
  const bool ours = coredns != nullptr && !cluster::applied_fields(*coredns, kube::field_manager).empty();
  wish.coredns_strategy = ours ? "autoscaling" : "packaged";
  if (const Json* const scaler = cluster::find_named(before.horizontalpodautoscalers, "k3s-core-ha-coredns")) {
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

/// The plan that leads back to the earlier wish from wherever the cluster is when it is asked for.
Result<std::vector<ha::Step>> way_back(const ha::Spec& wish, kube::Client& client) {
  auto now = cluster::observe(client);
  if (!now) return now.error();
  ha::Plan plan = ha::make_plan(wish, *now);
  if (plan.refusal) return *plan.refusal;
  return std::move(plan.steps);
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
    auto snapshot = cluster::observe(**client);
    if (!snapshot) return snapshot.error();
    plan = ha::make_plan(*spec, *snapshot);
    acted = {};
    if (plan.refusal) {
      acted.states.assign(plan.steps.size(), act::StepState::planned);
      acted.error = plan.refusal;
      break;
    }
    acted = act::carry_out(plan.steps, **client,
                           {.dry_run = options.dry_run,
                            .wait_timeout = spec->wait_timeout,
                            .way_back = [&] { return way_back(earlier_wish(*spec, *snapshot), **client); },
                            .rough_pods = spec->coredns_strategy == "packaged"});
    // Only a run that left nothing behind may start over.
    if (!acted.stale || acted.changed() || attempt == attempts) break;
    log::progress(acted.error->message + "; observing the cluster anew");
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

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/plan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/planning.h"
#include "cli/verbs.h"
#include "cli/wish.h"
#include "cluster/snapshot.h"
#include "ha/manifests.h"
#include "ha/spec.h"
#include "ha/strategies/coredns_view.h"
#include "report/manifests.h"
#include "report/result.h"

namespace core_ha::cli {
namespace {

struct PlanOptions {
  WishOptions wish;
  std::string snapshot;
  bool schema = false;
};

Result<ha::Plan> plan_for_cluster(Context& context, const ha::Spec& spec, const WishOptions& wish) {
  auto client = context.connect();
  if (!client) return client.error();
  auto observed = observe_and_plan(**client, spec, {}, wish.on_nodes(), wish.manifests);
  if (!observed) return observed.error();
  return std::move(observed->plan);
}

Result<ha::Plan> plan_for_file(const ha::Spec& spec, const PlanOptions& options) {
  auto document = read_document(options.snapshot);
  if (!document) return document.error();
  auto snapshot = cluster::snapshot_from_json(*document);
  if (!snapshot) return snapshot.error();
  auto plan = ha::make_plan(spec, *snapshot, {}, options.wish.on_nodes());
  if (!plan.unread.empty() && !plan.refusal)
    plan.warnings.emplace_back(
        "The snapshot does not say what other pods request: whether the new ones fit is not known.");
  return plan;
}

Outcome plan(Context& context, const PlanOptions& options) {
  if (options.schema) {
    Json schema = ha::spec_schema();
    std::string text = schema.dump(2);
    return {std::move(schema), std::move(text)};
  }
  if (options.wish.file == "-" && options.snapshot == "-")
    return Error{ExitStatus::usage, "--spec and --snapshot cannot both be read from standard input."};
  auto spec = read_wish(options.wish);
  if (!spec) return spec.error();
  ha::Plan made;
  try {
    auto planned =
        options.snapshot.empty() ? plan_for_cluster(context, *spec, options.wish) : plan_for_file(*spec, options);
    if (!planned) return planned.error();
    made = std::move(*planned);
  } catch (const Json::exception& error) {
    // The API's objects have the types that the API promises; those of a file may have any.
    if (options.snapshot.empty()) throw;
    return Error{ExitStatus::usage, fmt::format("{} holds objects that are not as the API gives them: {}.",
                                                options.snapshot, error.what())};
  }
  if (context.options.output == "manifests") {
    if (made.refusal) return *made.refusal;
    const auto objects = ha::manifests(made);
    auto warnings = made.warnings;
    warnings.insert(warnings.end(), made.unmet.begin(), made.unmet.end());
    for (const auto& ref : made.not_in_manifests)
      warnings.push_back(
          fmt::format("{} is left out: its owner applies it by kubectl's client, and kubectl hands all of such an "
                      "object to whoever applies it server-side first. `k3s-core-ha apply` does not.",
                      kube::to_string(ref)));
    if (objects.empty())
      return Error{ExitStatus::usage, made.not_in_manifests.empty()
                                          ? "What k3s ships needs no manifests: every strategy is packaged."
                                          : "There is nothing for manifests: " + warnings.back()};
    if (const auto count = made.counts.find(ha::coredns_deployment); count != made.counts.end() && count->second == 0)
      warnings.emplace_back(
          "These manifests take the packaged CoreDNS's replicas away at once: apply the DaemonSet first and wait for "
          "its pods, or let `k3s-core-ha apply` make the change.");
    return {Json::object(), report::manifests(objects, warnings)};
  }
  const auto source = options.snapshot.empty() ? report::Source::cluster : report::Source::snapshot;
  Outcome outcome(report::result(made, source), "");
  if (!made.refusal) outcome.text = report::text(outcome.result);  // a refusal is said by its error
  outcome.error = made.refusal;
  return outcome;
}

}  // namespace

void add_plan(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("plan", "Say what apply would do, step by step, and why; change nothing");
  const auto options = std::make_shared<PlanOptions>();
  add_wish(*verb, options->wish);
  verb->add_option("--snapshot", options->snapshot,
                   "decide on a saved snapshot instead of a cluster; - reads standard input")
      ->type_name("FILE");
  verb->add_flag("--schema", options->schema, "print the JSON schema of the wish and end");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha plan                                      with the defaults, on the cluster of the kubeconfig\n"
      "  k3s-core-ha plan --spec wish.yaml -o json             for programs\n"
      "  k3s-core-ha plan --packaged                           what the way back to k3s's own would do\n"
      "  k3s-core-ha plan --snapshot snapshot.json             a prediction, without a cluster\n"
      "  k3s-core-ha plan -o manifests                         YAML for GitOps: server-side apply only\n"
      "  k3s-core-ha plan --schema                             every key, its type, range and default");
  context.on_run(*verb, [&context, options] { return plan(context, *options); });
}

}  // namespace core_ha::cli

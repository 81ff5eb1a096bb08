// SPDX-License-Identifier: GPL-3.0-or-later
//
// The HelmChart is kept apart from the values on purpose: whoever looks for what is set finds it where k3s has people
// put values, and a chart from elsewhere changes nothing of it. failurePolicy is never `reinstall`, which is the
// default and would uninstall what serves.
//
// The HelmChart is the last to go, for its finalizer uninstalls what the chart made. So a chart whose Deployment is not
// there was stopped on its way out, or somebody deleted that; there is one way back for both: it goes, and comes anew.
#include "ha/strategies/own_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cluster/helm.h"
#include "cluster/managed_fields.h"
#include "ha/state.h"
#include "ha/strategies/component.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

bool deleting(const Json* object) {
  return object != nullptr && (*object)["metadata"].contains("deletionTimestamp");
}

Json body_of(const Json& object) {
  return cluster::body_from_fields(object, cluster::applied_fields(object, kube::field_manager));
}

/// What a failed upgrade leads to; null: this server's charts know no such field.
Json failure_policy(const cluster::Snapshot& snapshot) {
  if (cluster::config_schema(snapshot, "failurePolicy") == nullptr) return {};
  return knows_policy(snapshot, "retry") ? "retry" : "abort";
}

Json config_body(const Planner& planner, const OwnChart& own, const Json& values) {
  Json body = apply_body(own.chart.config());
  body["metadata"]["labels"] = own_labels(own.component);
  put_values(planner.snapshot, body, values);
  if (const Json policy = failure_policy(planner.snapshot); !policy.is_null()) body["spec"]["failurePolicy"] = policy;
  return body;
}

Json chart_body(const Planner& planner, const OwnChart& own) {
  const Json& source = planner.spec.*own.source;
  Json body = apply_body(own.chart.chart());
  body["metadata"]["labels"] = own_labels(own.component);
  Json& spec = body["spec"];
  spec["targetNamespace"] = own.chart.chart().ns;
  if (source.contains("content")) {
    spec["chartContent"] = source["content"];
  } else {
    const std::string repo = source.value("repo", own.usual_repo);
    const std::string name = source.value("name", own.usual_name);
    // A registry has no index of charts: its URL names the chart itself.
    if (repo.starts_with("oci://")) {
      spec["chart"] = fmt::format("{}/{}", repo.ends_with('/') ? repo.substr(0, repo.size() - 1) : repo, name);
    } else {
      spec["repo"] = repo;
      spec["chart"] = name;
    }
    spec["version"] = source.value("version", "");
    if (own.serves_dns) spec["bootstrap"] = true;
  }
  if (const Json policy = failure_policy(planner.snapshot); !policy.is_null()) spec["failurePolicy"] = policy;
  return body;
}

/// Why helm-controller cannot do anything for us; empty: it can.
std::string why_no_helm(const cluster::Snapshot& snapshot) {
  if (!snapshot.serves(cluster::helm_api))
    return "the server has no helm.cattle.io/v1: k3s's helm-controller is not there";
  if (cluster::helm_is_off(snapshot)) return "every server was started with --disable-helm-controller";
  return {};
}

void refuse_foreign(Planner& planner, const OwnChart& own) {
  for (const auto& ref : {own.chart.chart(), own.chart.config()})
    if (const Json* object = planner.live(ref); object != nullptr && !is_ours(*object))
      planner.refuse(ExitStatus::conflict, fmt::format("{} is there already, and is somebody else's: {} helm makes "
                                                       "one of that name.",
                                                       kube::to_string(ref), own.strategy));
  if (planner.live(own.chart.chart()) == nullptr && planner.live(own.chart.deployment()) != nullptr)
    planner.refuse(ExitStatus::conflict,
                   fmt::format("{} is there already, and is somebody else's: the chart of {} helm makes one of that "
                               "name.",
                               kube::to_string(own.chart.deployment()), own.strategy));
}

/// A Deployment that somebody else has paused rolls nothing out.
void refuse_paused(Planner& planner, const OwnChart& own) {
  const Json* deployment = planner.live(own.chart.deployment());
  if (deployment == nullptr || !(*deployment)["spec"].value("paused", false)) return;
  const auto owners = cluster::owners_of(*deployment, {"f:spec", "f:paused"});
  if (std::find(owners.begin(), owners.end(), kube::field_manager) == owners.end())
    planner.refuse(ExitStatus::conflict,
                   fmt::format("{} is paused by {}, so no change would roll out; resume it first.",
                               kube::to_string(own.chart.deployment()), owners.empty() ? "somebody" : owners.front()));
}

/// What it comes to, with our sets known.
void judge(const Planner& planner, const OwnChart& own, ChartWay& way) {
  const Json* chart = planner.live(own.chart.chart());
  const Json* deployment = planner.live(own.chart.deployment());
  way.there = true;
  const bool busy = unfinished(planner, own.chart);
  way.remakes = deleting(chart) || (chart != nullptr && deployment == nullptr && !busy);
  way.writes = way.remakes || !planner.holds(way.config) || !planner.holds(way.chart);
  // The job of an earlier change may yet make a pod, and the next would bring one of its own beside it.
  if (*own.lone != '\0' && chart != nullptr && busy && way.writes) way.remakes = true;
  way.rolls = deployment != nullptr && updating(*deployment);
  way.resumes = deployment != nullptr && (*deployment)["spec"].value("paused", false);
}

/// What it did for the chart that is gone must not be taken for what it does for the next.
void end_job(Planner& planner, const OwnChart& own, const Json& job) {
  const std::string uid = job["metadata"].value("uid", "");
  planner.add({.id = fmt::format("{}-job-end", own.chart.id),
               .action = Action::remove,
               .object = own.chart.job(),
               .reason = "it was for the chart that goes",
               .uid = uid,
               .propagation = "Background"});
  planner.add({.id = fmt::format("{}-job-ended", own.chart.id),
               .action = Action::wait_gone,
               .object = own.chart.job(),
               .reason = "what comes next does not meet it",
               .uid = uid});
}

void end_chart(Planner& planner, const OwnChart& own) {
  const Json& chart = *planner.live(own.chart.chart());
  if (!deleting(&chart)) {
    planner.unguard(own.chart.chart());
    planner.remove_own(fmt::format("{}-end", own.chart.id), own.chart.chart(),
                       "helm-controller uninstalls what the chart made");
    planner.only_by_plan();
  }
  // One that has not run yet is not ended with it, and would install the chart after all.
  const Json* job = planner.live(own.chart.job());
  if (job != nullptr && !cluster::is_complete(*job)) end_job(planner, own, *job);
  planner.add({.id = fmt::format("{}-ended", own.chart.id),
               .action = Action::wait_gone,
               .object = own.chart.chart(),
               .reason = "nothing of the chart is left",
               .uid = chart["metadata"].value("uid", "")});
  if (*own.lone != '\0')
    planner.add({.id = fmt::format("{}-pods-ended", own.chart.id),
                 .action = Action::wait_pods_gone,
                 .object = own.chart.deployment(),
                 .reason = "no other may be active beside one of its pods",
                 .selector = own.lone});
}

}  // namespace

bool is_wished(const Spec& spec, const OwnChart& own) {
  return spec.*own.wished == "helm";
}

const Json* own_chart(const cluster::Snapshot& snapshot, const OwnChart& own) {
  const Json* chart = cluster::find_named(snapshot.helmcharts, own.chart.name);
  return chart != nullptr && is_ours(*chart) ? chart : nullptr;
}

ChartWay design_own(Planner& planner, const OwnChart& own, const Json& values, int replicas) {
  ChartWay way;
  if (!planner.snapshot.charts.contains(own.chart.name)) {
    planner.refuse(ExitStatus::unsafe, fmt::format("This snapshot was made without a look at Helm chart {}: only one "
                                                   "of `k3s-core-ha observe` has it.",
                                                   own.chart.name));
    return way;
  }
  if (const std::string why = why_no_helm(planner.snapshot); !why.empty()) {
    planner.refuse(ExitStatus::unsafe, fmt::format("{} is helm, but {}.", own.strategy, why));
    return way;
  }
  refuse_foreign(planner, own);
  refuse_paused(planner, own);
  way.config = config_body(planner, own, values);
  way.chart = chart_body(planner, own);
  judge(planner, own, way);
  way.change = change_of(planner, own.chart, way.writes);
  if (way.remakes) way.change.mark = "";  // its job goes with it
  const Json* deployment = planner.live(own.chart.deployment());
  if (!way.change.applies && deployment != nullptr && replicas_of(*deployment) != replicas &&
      was_scaled(planner, own.chart))
    way.again =
        fmt::format("somebody scaled {}: helm-controller makes the job anew, and that sets the count back", own.title);
  return way;
}

ChartWay design_without(Planner& planner, const OwnChart& own) {
  ChartWay way;
  const Json* config = planner.live(own.chart.config());
  const bool chart = own_chart(planner.snapshot, own) != nullptr;
  const auto kept = kept_mark(planner.snapshot, own.chart.name);
  way.there = chart || kept.has_value() || (config != nullptr && is_ours(*config));
  if (way.there) way.change.mark = kept.value_or("");
  if (const std::string why = why_no_helm(planner.snapshot); chart && !why.empty())
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("{} is still there, and can only be taken away by k3s's helm-controller, but {}.",
                               kube::to_string(own.chart.chart()), why));
  return way;
}

ChartWay design_back(const Planner& planner, const Planner& earlier, const OwnChart& own) {
  ChartWay way;
  const Json* config = earlier.live(own.chart.config());
  way.chart = body_of(*earlier.live(own.chart.chart()));
  way.config = config == nullptr ? apply_body(own.chart.config()) : body_of(*config);
  judge(planner, own, way);
  const std::string now = hash_now(planner, own.chart);
  way.change = {.applies = way.writes || unfinished(planner, own.chart),
                .mark = way.remakes || now == hash_now(earlier, own.chart) ? "" : now};
  return way;
}

void plan_own(Planner& planner, const OwnChart& own, const ChartWay& way, bool waits) {
  const std::string id(own.chart.id);
  const bool first = way.remakes || planner.live(own.chart.chart()) == nullptr;
  if (way.remakes) {
    end_chart(planner, own);
    const Json* job = planner.live(own.chart.job());
    if (job != nullptr && cluster::is_complete(*job)) end_job(planner, own, *job);
  }
  planner.ensure(id + "-values", way.config, "every value of the chart that is not its own default");
  if (way.remakes)
    planner.apply(id, way.chart, "what it made is gone: helm-controller applies the chart anew");
  else
    planner.ensure(id, way.chart, "helm-controller applies the chart");
  // Undone by itself, it would be uninstalled while its pods are asked.
  if (first) planner.only_by_plan();
  if (!way.again.empty()) plan_again(planner, own.chart, way.again);
  if (way.resumes && !way.remakes)
    planner.add({.id = id + "-resume",
                 .action = Action::patch,
                 .object = own.chart.deployment(),
                 .reason = "an earlier run paused it on its way out",
                 .body = {{"spec", {{"paused", nullptr}}}},
                 .uid = (*planner.live(own.chart.deployment()))["metadata"].value("uid", "")});
  const bool applies = way.change.applies || !way.again.empty();
  if (applies) wait_for_chart(planner, own.chart, way.change.mark.value_or(""));
  if (applies || way.rolls || way.resumes || waits) wait_for_rollout(planner, own.chart);
}

void plan_without(Planner& planner, const OwnChart& own) {
  if (own_chart(planner.snapshot, own) != nullptr) end_chart(planner, own);
  const Json* config = planner.live(own.chart.config());
  if (config == nullptr || !is_ours(*config)) return;
  planner.unguard(own.chart.config());
  planner.remove_own(fmt::format("{}-values-end", own.chart.id), own.chart.config(),
                     "there is no chart any more for which it has values");
}

}  // namespace core_ha::ha

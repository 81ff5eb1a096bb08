// SPDX-License-Identifier: GPL-3.0-or-later
//
// A change is carried out by helm-controller, which replaces the chart's job, and by Helm, which updates the
// Deployment. Neither says for which change it is done. But the job carries a hash of what it was made for; so the
// hash from before the change is kept with the wish, before the change is written, and one that is another tells that
// the change has arrived, also to a run that finds it half-way.
#include "ha/strategies/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/yaml.h"
#include "cluster/helm.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/state.h"
#include "ha/strategies/component.h"

namespace core_ha::ha {

bool is_ours(const Json& object) {
  return object["metadata"].value("labels", Json::object()).value("app.kubernetes.io/managed-by", "") == "k3s-core-ha";
}

std::string hash_now(const Planner& planner, const Chart& chart) {
  const Json* job = planner.live(chart.job());
  return job == nullptr ? "" : cluster::config_hash(*job);
}

bool unfinished(const Planner& planner, const Chart& chart) {
  const Json* job = planner.live(chart.job());
  return job == nullptr || !cluster::is_complete(*job) || !cluster::is_deployed(*job, planner.snapshot.releases);
}

ChartChange change_of(const Planner& planner, const Chart& chart, bool writes) {
  const std::string now = hash_now(planner, chart);
  ChartChange change;
  // One that was kept with another wish is of a change that a configuration which needs none has never seen.
  change.mark = writes ? now : keeps_wish(planner) ? kept_mark(planner.snapshot, chart.name).value_or("") : "";
  const bool lags = !change.mark->empty() && now == *change.mark;
  change.applies = writes || lags || unfinished(planner, chart);
  return change;
}

bool was_scaled(const Planner& planner, const Chart& chart) {
  for (const auto& object : planner.snapshot.horizontalpodautoscalers) {
    const Json target = object.value("spec", Json::object()).value("scaleTargetRef", Json::object());
    if (target.value("kind", "") == "Deployment" && target.value("name", "") == chart.name) return false;
  }
  const Json* deployment = planner.live(chart.deployment());
  if (deployment == nullptr) return false;
  // A Scale leaves out a count of 0, so nobody is noted for it.
  if (replicas_of(*deployment) == 0 && cluster::owners_of(*deployment, replicas_field).empty()) return true;
  for (const auto& entry : (*deployment)["metadata"].value("managedFields", Json::array()))
    if (entry.value("subresource", "") == "scale" &&
        cluster::fields_of(entry.value("fieldsV1", Json::object())).contains(replicas_field))
      return true;
  return false;
}

bool knows_policy(const cluster::Snapshot& snapshot, const Json& policy) {
  const Json* schema = cluster::config_schema(snapshot, "failurePolicy");
  if (schema == nullptr) return false;
  const Json known = schema->value("enum", Json::array());
  return known.empty() || std::find(known.begin(), known.end(), policy) != known.end();
}

void put_values(const cluster::Snapshot& snapshot, Json& config, const Json& values) {
  if (cluster::config_schema(snapshot, "values") != nullptr)
    config["spec"]["values"] = values;
  else
    config["spec"]["valuesContent"] = to_yaml(values);
}

bool covered_by_budget(const cluster::Snapshot& snapshot, const Chart& chart, const char* app) {
  const Json labels = {{"k8s-app", app}, {"app.kubernetes.io/instance", chart.name}};
  const auto& budgets = snapshot.poddisruptionbudgets;
  return std::any_of(budgets.begin(), budgets.end(), [&](const Json& budget) {
    const auto ref = kube::ref_of(budget);
    const Json selector = budget.value("spec", Json::object()).value("selector", Json());
    return ref.ns == chart.chart().ns && ref.name != chart.name && !is_ours(budget) && selector.is_object() &&
           cluster::selects(selector, labels);
  });
}

Json chart_image(const std::string& image) {
  const auto colon = image.rfind(':');
  const auto slash = image.rfind('/');
  // One before the last slash is a registry's port. What comes after a digest's is its end, and comes together again.
  if (colon == std::string::npos || (slash != std::string::npos && colon < slash))
    return {{"repository", image}, {"tag", "latest"}};
  return {{"repository", image.substr(0, colon)}, {"tag", image.substr(colon + 1)}};
}

void put_placing(Json& values, const Json& pod_spec) {
  for (const char* key : {"tolerations", "nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName"})
    if (const auto value = pod_spec.find(key); value != pod_spec.end() && !value->empty()) values[key] = *value;
}

void place_by_values(Json& deployment, const Json& values) {
  Json over = Json::object();
  for (const char* key : {"tolerations", "nodeSelector", "affinity"})
    if (const auto value = values.find(key); value != values.end() && !value->is_null()) over[key] = *value;
  put_over(deployment["spec"]["template"]["spec"], over);
}

void put_over(Json& values, const Json& over) {
  for (const auto& [key, value] : over.items()) {
    if (value.is_object() && values.contains(key) && values[key].is_object())
      put_over(values[key], value);
    else
      values[key] = value;
  }
}

void plan_again(Planner& planner, const Chart& chart, std::string reason) {
  planner.add({.id = fmt::format("{}-again", chart.id),
               .action = Action::remove,
               .object = chart.job(),
               .reason = std::move(reason),
               .uid = (*planner.live(chart.job()))["metadata"].value("uid", ""),
               .propagation = "Background"});
}

void wait_for_chart(Planner& planner, const Chart& chart, const std::string& former) {
  planner.add({.id = fmt::format("{}-chart", chart.id),
               .action = Action::wait_chart,
               .object = chart.job(),
               .reason = "k3s's helm-controller has applied the chart with these values",
               .former = former});
}

void wait_for_rollout(Planner& planner, const Chart& chart) {
  planner.add({.id = fmt::format("{}-rollout", chart.id),
               .action = Action::wait_rollout,
               .object = chart.deployment(),
               .reason = "every replica runs what the chart says and is available"});
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "ha/planner.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// A Helm chart of k3s's helm-controller in kube-system whose Deployment has the chart's name.
struct Chart {
  std::string name;
  std::string_view id;  ///< first word of its steps' ids

  kube::ObjectRef chart() const { return {"helm.cattle.io/v1", "HelmChart", "kube-system", name}; }
  kube::ObjectRef config() const { return {"helm.cattle.io/v1", "HelmChartConfig", "kube-system", name}; }
  kube::ObjectRef job() const { return {"batch/v1", "Job", "kube-system", "helm-install-" + name}; }
  kube::ObjectRef deployment() const { return {"apps/v1", "Deployment", "kube-system", name}; }
};

/// Whether the object carries the labels of those that are ours alone.
bool is_ours(const Json& object);

/// The hash of the configuration that the chart's job was made for; empty: there is no job.
std::string hash_now(const Planner& planner, const Chart& chart);

/// helm-controller works on the chart: its job is not there yet, or not at its end, or could not apply it.
bool unfinished(const Planner& planner, const Chart& chart);

/// How a change of the chart's configuration stands.
struct ChartChange {
  bool applies = false;                  ///< it is, or is being, applied anew: its job is waited for
  std::optional<std::string> mark = {};  ///< see State::charts
};
/// `writes`: this run is to change the configuration.
ChartChange change_of(const Planner& planner, const Chart& chart, bool writes);

/// Whether somebody set the count of the Deployment that the chart makes by `kubectl scale`, and no autoscaler goes on
/// with it.
bool was_scaled(const Planner& planner, const Chart& chart);

/// Whether this server's charts can have that failurePolicy.
bool knows_policy(const cluster::Snapshot& snapshot, const Json& policy);

/// The values in the form that this server's HelmChartConfig has for them.
void put_values(const cluster::Snapshot& snapshot, Json& config, const Json& values);

/// Whether a PodDisruptionBudget of somebody else covers the chart's pods, so that the chart's own would be a second;
/// `app` is what k3s's Service knows them by, their label k8s-app.
bool covered_by_budget(const cluster::Snapshot& snapshot, const Chart& chart, const char* app);

/// An image as charts have it: `{repository, tag}`.
Json chart_image(const std::string& image);

/// Says in the values where the pods run, as the pod's spec has it.
void put_placing(Json& values, const Json& pod_spec);

/// The other way round: has the Deployment's pods run where the user's values say.
void place_by_values(Json& deployment, const Json& values);

/// `over` in the place of what `values` has under the same keys; null is a value like any other.
void put_over(Json& values, const Json& over);

/// Has helm-controller apply the chart once more.
void plan_again(Planner& planner, const Chart& chart, std::string reason);

/// Until the chart's job is at its end for another configuration than that of this hash (empty: any will do), and until
/// the Deployment runs what came of it.
void wait_for_chart(Planner& planner, const Chart& chart, const std::string& former);
void wait_for_rollout(Planner& planner, const Chart& chart);

}  // namespace core_ha::ha

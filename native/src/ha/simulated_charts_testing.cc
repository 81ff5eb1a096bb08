// SPDX-License-Identifier: GPL-3.0-or-later
//
// helm-controller, Helm and the charts, as far as a plan can tell: a job for each configuration, a Deployment by the
// values, and its end with that of the chart.
#include <fmt/format.h>

#include <functional>
#include <set>
#include <vector>

#include "cluster/helm.h"
#include "ha/shipped_manifests_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/own_chart.h"

namespace core_ha::ha {

using namespace testing;

namespace {

/// What the charts of strategy helm make.
Json made_by(const std::string& chart, const Json& values) {
  const bool measures = chart == metrics_server_chart.chart.name;
  Json selector = {{"app.kubernetes.io/instance", chart}};
  if (chart == coredns_chart.chart.name) selector["k8s-app"] = values["k8sAppLabelOverride"];
  if (chart == local_path_chart.chart.name) selector["app.kubernetes.io/name"] = values["nameOverride"];
  Json labels = selector;
  labels.update(values.value("podLabels", Json::object()));
  labels.update(values.value("commonLabels", Json::object()));
  Json pod = {{"containers", Json::array({{{"name", chart},
                                           {"image", values["image"]["repository"].get<std::string>() + ":" +
                                                         values["image"]["tag"].get<std::string>()}}})}};
  for (const char* key : {"affinity", "topologySpreadConstraints", "tolerations", "nodeSelector"})
    if (values.contains(key)) pod[key] = values[key];
  return {{"apiVersion", "apps/v1"},
          {"kind", "Deployment"},
          {"metadata", {{"name", values["fullnameOverride"]}, {"namespace", "kube-system"}, {"generation", 1}}},
          {"spec",
           {{"replicas", values[measures ? "replicas" : "replicaCount"]},
            {"selector", {{"matchLabels", selector}}},
            {"template",
             {{"metadata", {{"labels", labels}, {"annotations", {{"values", hash_of(values)}}}}}, {"spec", pod}}}}}};
}

}  // namespace

void SimulatedCluster::ship_helm() {
  snapshot.charts = {"traefik", coredns_chart.chart.name, metrics_server_chart.chart.name, local_path_chart.chart.name};
  for (const char* group : {"helm.cattle.io/v1", "batch/v1", "apiextensions.k8s.io/v1"})
    snapshot.groups.insert(group);
  snapshot.customresourcedefinitions.push_back(config_definition());
}

void SimulatedCluster::ship_traefik() {
  ship_helm();
  ship(traefik_chart_manifest());
  snapshot.deployments.push_back(traefik_object());
  hold(snapshot.deployments.back(), "helm");
  snapshot.deployments.back()["metadata"]["uid"] = next_uid();
  settle();
}

const Json* SimulatedCluster::traefik_config() const {
  return cluster::find_named(snapshot.helmchartconfigs, "traefik");
}

Json& SimulatedCluster::traefik() {
  return *find({"apps/v1", "Deployment", "kube-system", "traefik"});
}

void SimulatedCluster::run_helm_controller() {
  if (helm_lags) return;
  for (const auto& own : {coredns_chart, metrics_server_chart, local_path_chart})
    if (cluster::find_named(snapshot.helmcharts, own.chart.name) == nullptr) uninstall(own.chart.name);
  for (const auto& chart : snapshot.helmcharts)
    run_chart(chart);
}

/// Helm gives the Deployment what the values say, and the job that did so is marked with what it was for.
void SimulatedCluster::run_chart(const Json& chart) {
  const std::string name = chart["metadata"]["name"];
  const Json* config = cluster::find_named(snapshot.helmchartconfigs, name);
  const Json given = config == nullptr ? Json::object() : *config;
  const std::string hash = hash_of({chart["spec"], given.value("spec", Json())});
  const kube::ObjectRef job{"batch/v1", "Job", "kube-system", "helm-install-" + name};
  if (const Json* live = find(job); live != nullptr && cluster::config_hash(*live) == hash) return;
  std::erase_if(snapshot.jobs.get_ref<Json::array_t&>(),
                [&](const Json& other) { return other["metadata"]["name"] == job.name; });
  snapshot.jobs.push_back(
      {{"apiVersion", "batch/v1"},
       {"kind", "Job"},
       {"metadata", {{"name", job.name}, {"namespace", "kube-system"}, {"uid", next_uid()}}},
       {"spec", {{"template", {{"metadata", {{"annotations", {{"helmcharts.helm.cattle.io/configHash", hash}}}}}}}}},
       {"status", {{"conditions", Json::array({{{"type", "Complete"}, {"status", "True"}}})}}}});
  const Json values = cluster::merge_values(*cluster::values_in(chart), *cluster::values_in(given));
  Json made = name == "traefik" ? traefik_object() : made_by(name, values);
  if (name == "traefik") {
    made["spec"]["replicas"] = values.value(Json::json_pointer("/deployment/replicas"), 1);
    for (const char* key : {"affinity", "topologySpreadConstraints"})
      if (values.contains(key)) made["spec"]["template"]["spec"][key] = values[key];
  }
  hold(made, "helm");
  Json* deployment = find({"apps/v1", "Deployment", "kube-system", name});
  if (deployment == nullptr) {
    made["metadata"]["uid"] = next_uid();
    snapshot.deployments.push_back(std::move(made));
    return;
  }
  (*deployment)["spec"] = made["spec"];
  (*deployment)["metadata"]["managedFields"] = made["metadata"]["managedFields"];
}

void SimulatedCluster::uninstall(const std::string& chart) {
  std::erase_if(snapshot.jobs.get_ref<Json::array_t&>(),
                [&](const Json& job) { return job["metadata"]["name"] == "helm-install-" + chart; });
  const Json* deployment = find({"apps/v1", "Deployment", "kube-system", chart});
  if (deployment == nullptr) return;
  carry_out({.action = Action::remove,
             .object = kube::ref_of(*deployment),
             .uid = (*deployment)["metadata"]["uid"].get<std::string>()});
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// The chart has one provisioner, and nothing by which several could take turns: its command is fixed, so none can be
// run by `k3s-core-ha lead`. Its Deployment has no value for its strategy either, and at each change would make the new
// pod before it ends the old one. Two things keep them from being active together:
//
//   order            nothing is changed before the Deployment is gone and its pod's object, too (local_path.cc).
//   podAntiAffinity  whatever else makes a pod, a change by somebody else or a drain: it is not scheduled while the
//                    object of another provisioner's pod is there, the packaged one's, one of ours behind the Lease, or
//                    the chart's own, on whatever node: the topology is a label that all their nodes share. The
//                    scheduler keeps it the other way round as well, so neither do those start beside this one.
//
// The price: of a pod on a node that is lost the object stays, so no other one starts until that node is back, or is
// said to be off. The chart's names for values: rancher/local-path-provisioner, deploy/chart/local-path-provisioner.
#include "ha/strategies/local_path_helm.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/yaml.h"
#include "cluster/k3s.h"
#include "ha/state.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/placing.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

const kube::ObjectRef local_path_config{"v1", "ConfigMap", "kube-system", "local-path-config"};
constexpr const char* os_label = "kubernetes.io/os";

/// The pods of every provisioner: k3s's, ours behind the Lease, and the chart's; not what else a chart may make. One
/// term: the scheduler looks at a waiting pod again when one has gone that meets all its terms.
Json apart_from_all(const Json& packaged) {
  const Json labels = packaged["spec"]["selector"].value("matchLabels", Json::object());
  const Json apps = {labels.value("app", local_path.deployment.name), local_path_standby.name,
                     local_path_chart.chart.name};
  return {
      {"topologyKey", os_label},
      {"labelSelector",
       {{"matchExpressions", Json::array({{{"key", "app"}, {"operator", "In"}, {"values", apps}},
                                          {{"key", "app.kubernetes.io/component"}, {"operator", "DoesNotExist"}}})}}}};
}

/// How volumes are made, and where, as k3s has it; false and refused where that cannot be read.
bool put_config(Planner& planner, Json& values) {
  if (!planner.snapshot.charts.contains(local_path_chart.chart.name)) return true;  // not read; refused for that
  const Json* live = planner.live(local_path_config);
  const Json data = live == nullptr ? Json::object() : live->value("data", Json::object());
  const auto config = parse_yaml(data.value("config.json", ""));
  const auto helper = parse_yaml(data.value("helperPod.yaml", ""));
  const Json::json_pointer image("/spec/containers/0/image");
  if (!config || !config->is_object() || !config->contains("nodePathMap") || !helper || !helper->is_object() ||
      !helper->contains(image)) {
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("{} has no config.json with a nodePathMap, or no helperPod.yaml with an image, so the "
                               "chart would make volumes in other places than k3s does.",
                               kube::to_string(local_path_config)));
    return false;
  }
  values["nodePathMap"] = (*config)["nodePathMap"];
  values["helperImage"] = chart_image(helper->at(image));
  values["configmap"] = {{"name", local_path_chart.chart.name}};
  for (const char* script : {"setup", "teardown"})
    if (data.contains(script)) values["configmap"][script] = data[script];
  return true;
}

std::optional<Json> values_for(Planner& planner, const Json& packaged) {
  const Json pod = local_path_chart_pod(planner, packaged);
  const Json& container = pod["containers"].at(0);
  const std::string& name = local_path_chart.chart.name;
  Json values = {{"fullnameOverride", name},
                 {"nameOverride", name},             // pods of more than the provisioner may share the release's label
                 {"commonLabels", {{"app", name}}},  // by which pods keep apart
                 {"replicaCount", 1},
                 {"storageClass", {{"create", false}, {"provisionerName", "rancher.io/local-path"}}},
                 {"image", chart_image(container.value("image", ""))},
                 {"resources", container.value("resources", Json::object())}};
  put_placing(values, pod);
  if (!put_config(planner, values)) return std::nullopt;
  put_over(values, planner.spec.local_path_provisioner_values);
  return values;
}

}  // namespace

Json local_path_chart_pod(const Planner& planner, const Json& packaged) {
  Json base = local_path_model(planner, packaged);
  place_by_values(base, planner.spec.local_path_provisioner_values);
  Json pod = std::move(base["spec"]["template"]["spec"]);
  narrow_nodes(pod, planner.spec);
  Json affinity = {{"podAntiAffinity",
                    {{"requiredDuringSchedulingIgnoredDuringExecution", Json::array({apart_from_all(packaged)})}}}};
  const Json::json_pointer on_nodes("/affinity/nodeAffinity");
  if (pod.contains(on_nodes) && !pod.at(on_nodes).empty()) affinity["nodeAffinity"] = pod.at(on_nodes);
  pod["affinity"] = std::move(affinity);
  pod["nodeSelector"][os_label] = "linux";
  return pod;
}

Json local_path_chart_selector() {
  const std::string& name = local_path_chart.chart.name;
  return {{"matchLabels", {{"app.kubernetes.io/instance", name}, {"app.kubernetes.io/name", name}}}};
}

ChartWay design_local_path_chart(Planner& planner) {
  if (!is_wished(planner.spec, local_path_chart)) return design_without(planner, local_path_chart);
  const Json* packaged = planner.live(local_path.deployment);
  ChartWay way;
  way.change.mark = kept_mark(planner.snapshot, local_path_chart.chart.name);
  if (packaged == nullptr || !cluster::applied_manifest(*packaged)) return way;
  const auto values = values_for(planner, *packaged);
  if (!values) return way;
  way = design_own(planner, local_path_chart, *values, 1);
  const Json* deployment = planner.live(local_path_chart.chart.deployment());
  if (!way.writes && !way.change.applies && deployment != nullptr && stands_still(*deployment))
    way.again = "somebody else changed it, and its new pod waits for the end of the old one";
  return way;
}

bool keeps_others_away(const Json& deployment) {
  return pod_labels(deployment).value("app", "") == local_path_chart.chart.name &&
         deployment.contains(Json::json_pointer("/spec/template/spec/affinity/podAntiAffinity"));
}

bool stands_still(const Json& deployment) {
  const Json status = deployment.value("status", Json::object());
  return status.value("replicas", 0) > status.value("updatedReplicas", 0);
}

}  // namespace core_ha::ha

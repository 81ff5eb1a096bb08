// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/local_path_standby.h"

#include <utility>

#include "cluster/k3s.h"
#include "cluster/nodes.h"
#include "ha/placement/zones.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/placing.h"

namespace core_ha::ha {

namespace {

/// The name is that of nothing: no node has it.
constexpr const char* never_label = "k3s-core-ha/never";

Json node_affinity(const char* label) {
  return {{"requiredDuringSchedulingIgnoredDuringExecution",
           {{"nodeSelectorTerms",
             Json::array({{{"matchExpressions", Json::array({{{"key", label}, {"operator", "Exists"}}})}}})}}}};
}

Json standby_labels() {
  Json labels = own_labels(local_path.id);
  labels["app"] = local_path_standby.name;
  return labels;
}

Json standby_template(const Json& packaged, const Spec& spec, const Zones& zones) {
  Json pod_template = packaged["spec"]["template"];
  Json& metadata = pod_template["metadata"];
  metadata.erase("creationTimestamp");
  metadata["labels"] = standby_labels();
  Json& pod = pod_template["spec"];
  pod["affinity"] = {{"nodeAffinity", node_affinity(cluster::carries_label)},
                     {"podAntiAffinity",
                      {{"requiredDuringSchedulingIgnoredDuringExecution",
                        Json::array({{{"topologyKey", "kubernetes.io/hostname"},
                                      {"labelSelector", {{"matchLabels", {{"app", local_path_standby.name}}}}}}})}}}};
  narrow_nodes(pod, spec);
  if (zones.several())
    pod["topologySpreadConstraints"] =
        Json::array({zone_spread(spec, {{"matchLabels", {{"app", local_path_standby.name}}}})});
  Json& container = pod["containers"].at(0);
  Json command = {helper_path, "lead", "--namespace", local_path_lease.ns, "--name", local_path_lease.name};
  command.insert(command.end(), {"--while-none", cluster::selector_words(packaged["spec"]["selector"]), "--"});
  for (auto& word : command_of(container))
    command.push_back(std::move(word));
  container["command"] = std::move(command);
  container.erase("args");
  container["volumeMounts"].push_back({{"name", "k3s-core-ha"}, {"mountPath", helper_path}, {"readOnly", true}});
  pod["volumes"].push_back({{"name", "k3s-core-ha"}, {"hostPath", {{"path", helper_path}, {"type", "File"}}}});
  return pod_template;
}

}  // namespace

Json command_of(const Json& container) {
  Json words = container.value("command", Json());
  if (!words.is_array() || words.empty()) return nullptr;
  for (const auto& argument : container.value("args", Json::array()))
    words.push_back(argument);
  return words;
}

Json local_path_standby_body(const Json& packaged, const Spec& spec, const Zones& zones, int replicas) {
  Json body = apply_body(local_path_standby);
  body["metadata"]["labels"] = own_labels(local_path.id);
  body["spec"] = {
      {"replicas", replicas},
      {"revisionHistoryLimit", 0},
      // Each needs a node of its own, so there is no place for one more beside the others.
      {"strategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", 0}, {"maxUnavailable", 1}}}}},
      {"selector", {{"matchLabels", {{"app", local_path_standby.name}}}}},
      {"template", standby_template(packaged, spec, zones)}};
  return body;
}

Json local_path_role_body() {
  Json body = apply_body(local_path_role);
  body["metadata"]["labels"] = own_labels(local_path.id);
  const Json leases = {"leases"};
  const Json group = {"coordination.k8s.io"};
  body["rules"] = Json::array({{{"apiGroups", group}, {"resources", leases}, {"verbs", {"create"}}},
                               {{"apiGroups", group},
                                {"resources", leases},
                                {"resourceNames", {local_path_lease.name}},
                                {"verbs", {"get", "update"}}},
                               {{"apiGroups", {""}}, {"resources", {"pods"}}, {"verbs", {"list"}}}});
  return body;
}

Json local_path_role_binding_body(const Json& packaged) {
  Json body = apply_body(local_path_role_binding);
  body["metadata"]["labels"] = own_labels(local_path.id);
  body["roleRef"] = {
      {"apiGroup", "rbac.authorization.k8s.io"}, {"kind", local_path_role.kind}, {"name", local_path_role.name}};
  body["subjects"] =
      Json::array({{{"kind", "ServiceAccount"},
                    {"name", packaged["spec"]["template"]["spec"].value("serviceAccountName", "default")},
                    {"namespace", local_path_role.ns}}});
  return body;
}

Json local_path_aside_body() {
  Json body = apply_body(local_path.deployment);
  body["spec"]["replicas"] = 0;
  body["spec"]["template"]["spec"]["affinity"]["nodeAffinity"] = node_affinity(never_label);
  return body;
}

bool is_unschedulable(const Json& packaged) {
  const Json affinity = packaged["spec"]["template"]["spec"].value("affinity", Json::object());
  return affinity.value("nodeAffinity", Json()) == node_affinity(never_label);
}

}  // namespace core_ha::ha

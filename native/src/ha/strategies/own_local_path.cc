// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/own_local_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/yaml.h"
#include "cluster/k3s.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/local_path.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// As k3s v1.36.3 names them.
constexpr const char* provisioner_image = "rancher/local-path-provisioner:v0.0.37";
constexpr const char* helper_image = "rancher/mirrored-library-busybox:1.37.0";

constexpr const char* default_class = "storageclass.kubernetes.io/is-default-class";

constexpr const char* local_path_objects = R"(
apiVersion: v1
kind: ServiceAccount
metadata:
  name: local-path-provisioner-service-account
  namespace: kube-system
  labels: {app.kubernetes.io/name: local-path-provisioner}  # without a field nobody would own it
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: local-path-provisioner-role}
rules:
- {apiGroups: [""], resources: [nodes, persistentvolumeclaims, configmaps, pods/log], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [endpoints, persistentvolumes, pods], verbs: ["*"]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
- {apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: local-path-provisioner-bind}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: local-path-provisioner-role}
subjects:
- {kind: ServiceAccount, name: local-path-provisioner-service-account, namespace: kube-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: local-path-config, namespace: kube-system}
data:
  setup: |-
    #!/bin/sh
    set -eu
    mkdir -m 0777 -p "${VOL_DIR}"
    chmod 700 "${VOL_DIR}/.."
  teardown: |-
    #!/bin/sh
    set -eu
    rm -rf "${VOL_DIR}"
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local-path, annotations: {defaultVolumeType: local}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: local-path-provisioner, namespace: kube-system}
spec:
  revisionHistoryLimit: 0
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}
  selector: {matchLabels: {app: local-path-provisioner}}
  template:
    metadata: {labels: {app: local-path-provisioner}}
    spec:
      priorityClassName: system-node-critical
      serviceAccountName: local-path-provisioner-service-account
      nodeSelector: {kubernetes.io/os: linux}
      tolerations:
      - {key: CriticalAddonsOnly, operator: Exists}
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      containers:
      - name: local-path-provisioner
        imagePullPolicy: IfNotPresent
        command: [local-path-provisioner, start, --config, /etc/config/config.json]
        env:
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}}
        volumeMounts:
        - {name: config-volume, mountPath: /etc/config/}
      volumes:
      - {name: config-volume, configMap: {name: local-path-config}}
)";

/// Where k3s has volumes made on nodes.
std::string directory(const cluster::Snapshot& snapshot) {
  if (std::string told = cluster::told_by(snapshot, "--default-local-storage-path"); !told.empty()) return told;
  const std::string data = cluster::told_by(snapshot, "--data-dir");
  return (data.empty() ? "/var/lib/rancher/k3s" : data) + "/storage";
}

Json config_of(const cluster::Snapshot& snapshot) {
  return {{"nodePathMap", Json::array({{{"node", "DEFAULT_PATH_FOR_NON_LISTED_NODES"},
                                        {"paths", Json::array({directory(snapshot)})}}})}};
}

/// The pod that makes and removes directories.
Json helper_pod(const cluster::Snapshot& snapshot) {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", {{"name", "helper-pod"}}},
          {"spec",
           {{"containers", Json::array({{{"name", "helper-pod"},
                                         {"image", cluster::pulled_as(snapshot, helper_image)},
                                         {"imagePullPolicy", "IfNotPresent"}}})}}}};
}

/// Whether claims that name no class are for another one than `own`.
bool other_default(const cluster::Snapshot& snapshot, const Json& own) {
  return std::any_of(snapshot.storageclasses.begin(), snapshot.storageclasses.end(), [&](const Json& other) {
    return other["metadata"]["name"] != own["metadata"]["name"] &&
           other["metadata"].value("annotations", Json::object()).value(default_class, "") == "true";
  });
}

}  // namespace

Json own_local_path_objects(const cluster::Snapshot& snapshot) {
  auto objects = parse_yaml_documents(local_path_objects);
  if (!objects) return Json::array();  // its test would have failed
  for (auto& object : *objects) {
    const std::string kind = object["kind"];
    if (kind == "Deployment") {
      object["spec"]["template"]["spec"]["containers"][0]["image"] = cluster::pulled_as(snapshot, provisioner_image);
    } else if (kind == "ConfigMap") {
      object["data"]["config.json"] = config_of(snapshot).dump();
      object["data"]["helperPod.yaml"] = helper_pod(snapshot).dump();
    } else if (kind == "StorageClass" && !other_default(snapshot, object)) {
      object["metadata"]["annotations"][default_class] = "true";
    }
  }
  return std::move(*objects);
}

Json own_local_path_deployment(const cluster::Snapshot& snapshot) {
  for (const auto& object : own_local_path_objects(snapshot))
    if (kube::ref_of(object) == local_path.deployment) return object;
  return {};
}

void plan_beside_local_path(Planner& planner) {
  for (const Json& object : own_local_path_objects(planner.snapshot))
    if (const auto ref = kube::ref_of(object); ref != local_path.deployment)
      plan_beside(planner, local_path, fmt::format("local-path-{}", kube::resource_of(ref.kind)), object);
}

}  // namespace core_ha::ha

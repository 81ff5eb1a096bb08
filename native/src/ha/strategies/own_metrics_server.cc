// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/own_metrics_server.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/yaml.h"
#include "cluster/k3s.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/shipped.h"

namespace core_ha::ha {

namespace {

/// As k3s v1.36.3 names it.
constexpr const char* metrics_server_image = "rancher/mirrored-metrics-server:v0.9.0";

constexpr const char* metrics_server_objects = R"(
apiVersion: v1
kind: ServiceAccount
metadata: {name: metrics-server, namespace: kube-system, labels: {k8s-app: metrics-server}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:metrics-server"}
rules:
- {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
- {apiGroups: [""], resources: [pods, nodes, namespaces, configmaps], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:metrics-server"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:metrics-server"}
subjects:
- {kind: ServiceAccount, name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "metrics-server:system:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects:
- {kind: ServiceAccount, name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: metrics-server-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects:
- {kind: ServiceAccount, name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: "system:aggregated-metrics-reader"
  labels:
    rbac.authorization.k8s.io/aggregate-to-view: "true"
    rbac.authorization.k8s.io/aggregate-to-edit: "true"
    rbac.authorization.k8s.io/aggregate-to-admin: "true"
rules:
- {apiGroups: [metrics.k8s.io], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: v1
kind: Service
metadata:
  name: metrics-server
  namespace: kube-system
  labels: {kubernetes.io/cluster-service: "true", kubernetes.io/name: Metrics-server}
spec:
  selector: {k8s-app: metrics-server}
  ports:
  - {name: https, port: 443, protocol: TCP, targetPort: https}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: metrics-server
  namespace: kube-system
  labels: {k8s-app: metrics-server}
spec:
  revisionHistoryLimit: 0
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}
  selector: {matchLabels: {k8s-app: metrics-server}}
  template:
    metadata: {name: metrics-server, labels: {k8s-app: metrics-server}}
    spec:
      priorityClassName: system-node-critical
      serviceAccountName: metrics-server
      nodeSelector: {kubernetes.io/os: linux}
      tolerations:
      - {key: CriticalAddonsOnly, operator: Exists}
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      containers:
      - name: metrics-server
        imagePullPolicy: IfNotPresent
        args:
        - --cert-dir=/tmp
        - --secure-port=10250
        - --kubelet-preferred-address-types=
        - --kubelet-use-node-status-port
        - --metric-resolution=15s
        resources:
          requests: {cpu: 100m, memory: 70Mi}
        ports:
        - {name: https, containerPort: 10250, protocol: TCP}
        securityContext:
          allowPrivilegeEscalation: false
          capabilities: {drop: [ALL]}
          readOnlyRootFilesystem: true
          runAsNonRoot: true
          runAsUser: 1000
          seccompProfile: {type: RuntimeDefault}
        livenessProbe: {httpGet: {path: /livez, port: https, scheme: HTTPS}, initialDelaySeconds: 60}
        readinessProbe: {httpGet: {path: /readyz, port: https, scheme: HTTPS}, periodSeconds: 2}
        volumeMounts:
        - {name: tmp-dir, mountPath: /tmp}
      volumes:
      - {name: tmp-dir, emptyDir: {}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  service: {name: metrics-server, namespace: kube-system}
  group: metrics.k8s.io
  version: v1beta1
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
)";

/// The addresses of nodes by which it asks kubelets, as k3s orders them.
const char* address_types(const cluster::Snapshot& snapshot) {
  return cluster::told_by(snapshot, "--flannel-external-ip") == "true" ? "ExternalIP,InternalIP,Hostname"
                                                                       : "InternalIP,ExternalIP,Hostname";
}

}  // namespace

std::string beside_metrics_server_id(const kube::ObjectRef& ref) {
  return fmt::format("metrics-server-{}-{}", kube::resource_of(ref.kind), ref.name);
}

Json own_metrics_server_objects(const cluster::Snapshot& snapshot) {
  auto objects = parse_yaml_documents(metrics_server_objects);
  if (!objects) return Json::array();  // its test would have failed
  for (auto& object : *objects) {
    if (object["kind"] != "Deployment") continue;
    Json& container = object["spec"]["template"]["spec"]["containers"][0];
    container["image"] = cluster::pulled_as(snapshot, metrics_server_image);
    container["args"][2].get_ref<std::string&>() += address_types(snapshot);
  }
  return std::move(*objects);
}

void plan_beside_metrics_server(Planner& planner, bool last) {
  const bool none = ships_none(planner.snapshot, metrics_server);
  // Set aside with the Deployment, and as little there as that.
  if (!none && !last && to_make(planner, metrics_server) != nullptr)
    for (const Json& object : planner.snapshot.manifests[cluster::metrics_server_manifest])
      if (const auto ref = kube::ref_of(object); ref != metrics_server.deployment && planner.live(ref) == nullptr)
        planner.apply(beside_metrics_server_id(ref), object, "it is missing, and k3s leaves its manifest alone");
  for (const Json& object : own_metrics_server_objects(planner.snapshot)) {
    const auto ref = kube::ref_of(object);
    if (ref == metrics_server.deployment || (ref.kind == "APIService") != last) continue;
    plan_beside(planner, metrics_server, beside_metrics_server_id(ref), object);
  }
}

}  // namespace core_ha::ha

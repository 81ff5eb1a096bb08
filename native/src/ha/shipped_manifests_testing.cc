// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/shipped_manifests_testing.h"

namespace core_ha::ha::testing {

Json packaged_manifest() {
  return Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "coredns", "namespace": "kube-system",
                 "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
    "spec": {
      "revisionHistoryLimit": 0,
      "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
      "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
      "template": {
        "metadata": {"labels": {"k8s-app": "kube-dns"}},
        "spec": {
          "priorityClassName": "system-cluster-critical",
          "serviceAccountName": "coredns",
          "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"},
                          {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists",
                           "effect": "NoSchedule"}],
          "nodeSelector": {"kubernetes.io/os": "linux"},
          "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
             "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}}},
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
             "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
          "containers": [{"name": "coredns", "image": "rancher/mirrored-coredns-coredns:1.14.7"}]}}}})");
}

Json service_manifest() {
  return {{"apiVersion", "v1"},
          {"kind", "Service"},
          {"metadata", {{"name", "kube-dns"}, {"namespace", "kube-system"}}},
          {"spec", {{"clusterIP", "10.43.0.10"}, {"selector", {{"k8s-app", "kube-dns"}}}}}};
}

Json metrics_server_manifest() {
  return Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "metrics-server", "namespace": "kube-system", "labels": {"k8s-app": "metrics-server"}},
    "spec": {
      "revisionHistoryLimit": 0,
      "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
      "selector": {"matchLabels": {"k8s-app": "metrics-server"}},
      "template": {
        "metadata": {"labels": {"k8s-app": "metrics-server"}},
        "spec": {
          "priorityClassName": "system-node-critical",
          "serviceAccountName": "metrics-server",
          "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"},
                          {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists",
                           "effect": "NoSchedule"}],
          "nodeSelector": {"kubernetes.io/os": "linux"},
          "containers": [{"name": "metrics-server", "image": "rancher/mirrored-metrics-server:v0.9.0",
                          "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}}}]}}}})");
}

Json local_path_manifest() {
  return Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "local-path-provisioner", "namespace": "kube-system"},
    "spec": {
      "revisionHistoryLimit": 0,
      "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
      "selector": {"matchLabels": {"app": "local-path-provisioner"}},
      "template": {
        "metadata": {"labels": {"app": "local-path-provisioner"}},
        "spec": {
          "priorityClassName": "system-node-critical",
          "serviceAccountName": "local-path-provisioner-service-account",
          "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"},
                          {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists",
                           "effect": "NoSchedule"}],
          "nodeSelector": {"kubernetes.io/os": "linux"},
          "containers": [{"name": "local-path-provisioner", "image": "rancher/local-path-provisioner:v0.0.37",
                          "command": ["local-path-provisioner", "start"], "args": ["--config", "/etc/config/config.json"],
                          "env": [{"name": "POD_NAMESPACE",
                                   "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}],
                          "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/config/"}]}],
          "volumes": [{"name": "config-volume", "configMap": {"name": "local-path-config"}}]}}}})");
}

Json local_path_config_manifest() {
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata", {{"name", "local-path-config"}, {"namespace", "kube-system"}}},
          {"data",
           {{"config.json",
             R"({"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/lib/storage"]}]})"},
            {"setup", "#!/bin/sh\nmkdir -p \"$VOL_DIR\""},
            {"teardown", "#!/bin/sh\nrm -rf \"$VOL_DIR\""},
            {"helperPod.yaml", "kind: Pod\nspec:\n  containers:\n  - {name: helper-pod, image: 'busybox:1.37.0'}\n"}}}};
}

Json config_definition() {
  return Json::parse(R"({
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "helmchartconfigs.helm.cattle.io"},
    "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {
      "failurePolicy": {"type": "string", "default": "reinstall", "enum": ["abort", "reinstall", "retry"]},
      "values": {"x-kubernetes-preserve-unknown-fields": true},
      "valuesContent": {"type": "string"}}}}}}}]}})");
}

Json traefik_chart_manifest() {
  return {{"apiVersion", "helm.cattle.io/v1"},
          {"kind", "HelmChart"},
          {"metadata", {{"name", "traefik"}, {"namespace", "kube-system"}}},
          {"spec",
           {{"failurePolicy", "retry"},
            {"set", {{"global.systemDefaultRegistry", ""}}},
            {"valuesContent",
             "priorityClassName: system-cluster-critical\ntolerations: [{key: CriticalAddonsOnly, "
             "operator: Exists}]\n"}}}};
}

Json traefik_object() {
  return Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "traefik", "namespace": "kube-system", "generation": 1},
    "spec": {
      "replicas": 1,
      "selector": {"matchLabels": {"app.kubernetes.io/name": "traefik",
                                   "app.kubernetes.io/instance": "traefik-kube-system"}},
      "template": {
        "metadata": {"labels": {"app.kubernetes.io/name": "traefik",
                                "app.kubernetes.io/instance": "traefik-kube-system"}},
        "spec": {"priorityClassName": "system-cluster-critical",
                 "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                 "volumes": [{"name": "data", "emptyDir": {}}],
                 "containers": [{"name": "traefik", "image": "rancher/mirrored-library-traefik:3.7.0",
                                 "args": ["--ping=true"],
                                 "ports": [{"name": "web", "containerPort": 8000, "protocol": "TCP"}]}]}}}})");
}

}  // namespace core_ha::ha::testing

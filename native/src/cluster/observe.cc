// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/observe.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "cluster/extras.h"
#include "cluster/helm.h"
#include "cluster/k3s.h"
#include "cluster/time.h"
#include "kube/discovery.h"

namespace core_ha::cluster {

namespace {

/// One list of the snapshot: where it is read, and what its items are (items of a list do not say).
struct Source {
  const char* path;
  const char* label_selector;
  const char* field_selector;
  const char* api_version;
  const char* kind;
  Json Snapshot::* list;
};

constexpr std::array sources{
    Source{"/api/v1/nodes", "", "", "v1", "Node", &Snapshot::nodes},
    Source{"/apis/apps/v1/namespaces/kube-system/deployments", "", "metadata.name=coredns", "apps/v1", "Deployment",
           &Snapshot::deployments},
    Source{"/apis/apps/v1/namespaces/kube-system/deployments", "", "metadata.name=metrics-server", "apps/v1",
           "Deployment", &Snapshot::deployments},
    Source{"/apis/apps/v1/namespaces/kube-system/deployments", "", "metadata.name=local-path-provisioner", "apps/v1",
           "Deployment", &Snapshot::deployments},
    Source{"/apis/apps/v1/namespaces/kube-system/deployments", "", "metadata.name=k3s-core-ha-local-path-provisioner",
           "apps/v1", "Deployment", &Snapshot::deployments},
    Source{"/apis/apps/v1/namespaces/kube-system/daemonsets", "", "metadata.name=k3s-core-ha-coredns", "apps/v1",
           "DaemonSet", &Snapshot::daemonsets},
    Source{"/apis/apps/v1/namespaces/kube-system/controllerrevisions", "k3s-core-ha/component=coredns", "", "apps/v1",
           "ControllerRevision", &Snapshot::controllerrevisions},
    Source{"/apis/apps/v1/namespaces/kube-system/replicasets", "k8s-app=kube-dns", "", "apps/v1", "ReplicaSet",
           &Snapshot::replicasets},
    Source{"/api/v1/namespaces/kube-system/pods", "k8s-app in (kube-dns,metrics-server)", "", "v1", "Pod",
           &Snapshot::pods},
    // A swap takes k8s-app away from a pod before the pod goes.
    Source{"/api/v1/namespaces/kube-system/pods", "k3s-core-ha/retiring,k8s-app!=kube-dns", "", "v1", "Pod",
           &Snapshot::pods},
    Source{"/api/v1/namespaces/kube-system/pods", "app in (local-path-provisioner,k3s-core-ha-local-path-provisioner)",
           "", "v1", "Pod", &Snapshot::pods},
    Source{"/api/v1/namespaces/kube-system/services", "", "metadata.name=kube-dns", "v1", "Service",
           &Snapshot::services},
    Source{"/api/v1/namespaces/kube-system/services", "", "metadata.name=metrics-server", "v1", "Service",
           &Snapshot::services},
    Source{"/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", "kubernetes.io/service-name=kube-dns", "",
           "discovery.k8s.io/v1", "EndpointSlice", &Snapshot::endpointslices},
    Source{"/apis/autoscaling/v2/namespaces/kube-system/horizontalpodautoscalers", "", "", "autoscaling/v2",
           "HorizontalPodAutoscaler", &Snapshot::horizontalpodautoscalers},
    Source{"/apis/policy/v1/namespaces/kube-system/poddisruptionbudgets", "", "", "policy/v1", "PodDisruptionBudget",
           &Snapshot::poddisruptionbudgets},
    Source{"/apis/apiregistration.k8s.io/v1/apiservices", "", "metadata.name=v1beta1.metrics.k8s.io",
           "apiregistration.k8s.io/v1", "APIService", &Snapshot::apiservices},
    Source{"/api/v1/namespaces/kube-system/configmaps", "", "metadata.name=k3s-core-ha", "v1", "ConfigMap",
           &Snapshot::configmaps},
    Source{"/api/v1/namespaces/kube-system/configmaps", "", "metadata.name=coredns", "v1", "ConfigMap",
           &Snapshot::configmaps},
    Source{"/api/v1/namespaces/kube-system/serviceaccounts", "", "metadata.name=coredns", "v1", "ServiceAccount",
           &Snapshot::serviceaccounts},
    Source{"/api/v1/namespaces/kube-system/serviceaccounts", "", "metadata.name=metrics-server", "v1", "ServiceAccount",
           &Snapshot::serviceaccounts},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "", "metadata.name=system:coredns",
           "rbac.authorization.k8s.io/v1", "ClusterRole", &Snapshot::clusterroles},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "", "metadata.name=system:coredns",
           "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &Snapshot::clusterrolebindings},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "", "metadata.name=system:metrics-server",
           "rbac.authorization.k8s.io/v1", "ClusterRole", &Snapshot::clusterroles},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "", "metadata.name=system:aggregated-metrics-reader",
           "rbac.authorization.k8s.io/v1", "ClusterRole", &Snapshot::clusterroles},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "", "metadata.name=system:metrics-server",
           "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &Snapshot::clusterrolebindings},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "",
           "metadata.name=metrics-server:system:auth-delegator", "rbac.authorization.k8s.io/v1", "ClusterRoleBinding",
           &Snapshot::clusterrolebindings},
    Source{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings", "",
           "metadata.name=metrics-server-auth-reader", "rbac.authorization.k8s.io/v1", "RoleBinding",
           &Snapshot::rolebindings},
    Source{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "rbac.authorization.k8s.io/v1", "Role",
           &Snapshot::roles},
    Source{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "rbac.authorization.k8s.io/v1", "RoleBinding",
           &Snapshot::rolebindings},
    Source{"/api/v1/namespaces/kube-system/configmaps", "", "metadata.name=local-path-config", "v1", "ConfigMap",
           &Snapshot::configmaps},
    Source{"/api/v1/namespaces/kube-system/serviceaccounts", "", "metadata.name=local-path-provisioner-service-account",
           "v1", "ServiceAccount", &Snapshot::serviceaccounts},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "", "metadata.name=local-path-provisioner-role",
           "rbac.authorization.k8s.io/v1", "ClusterRole", &Snapshot::clusterroles},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "", "metadata.name=local-path-provisioner-bind",
           "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &Snapshot::clusterrolebindings},
    Source{"/apis/storage.k8s.io/v1/storageclasses", "", "", "storage.k8s.io/v1", "StorageClass",
           &Snapshot::storageclasses},
    Source{"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "coordination.k8s.io/v1", "Lease", &Snapshot::leases}};

void add_reads(std::vector<kube::Read>& reads, const std::vector<Listing>& listings) {
  for (const auto& listing : listings)
    reads.push_back(listing.read);
}

/// What there is of each chart under its name.
std::vector<Listing> chart_listings(const std::set<std::string>& charts) {
  std::vector<Listing> listings;
  const auto add = [&](const char* api_version, const char* kind, Json Snapshot::* list, const std::string& ns,
                       const std::string& name) {
    listings.push_back({.read = {.path = kube::rest_path({api_version, kind, ns, ""}),
                                 .list = true,
                                 .field_selector = "metadata.name=" + name},
                        .api_version = api_version,
                        .kind = kind,
                        .list = list});
  };
  const std::string ns = "kube-system";
  for (const auto& name : charts) {
    add(helm_api, "HelmChart", &Snapshot::helmcharts, ns, name);
    add(helm_api, "HelmChartConfig", &Snapshot::helmchartconfigs, ns, name);
    add("batch/v1", "Job", &Snapshot::jobs, ns, "helm-install-" + name);
    add("apps/v1", "Deployment", &Snapshot::deployments, ns, name);
    listings.push_back({release_secrets(ns, "status=deployed,name=" + name), "v1", "Secret", &Snapshot::releases});
    if (name != "local-path-provisioner-ha" && name != "traefik")
      continue;  // the pods of others carry what k3s's own carry
    listings.push_back({{.path = kube::rest_path({"v1", "Pod", ns, ""}),
                         .list = true,
                         .label_selector = "app.kubernetes.io/name=" + name},
                        "v1",
                        "Pod",
                        &Snapshot::pods});
  }
  if (!charts.empty())
    add("apiextensions.k8s.io/v1", "CustomResourceDefinition", &Snapshot::customresourcedefinitions, "",
        "helmchartconfigs.helm.cattle.io");
  return listings;
}

template <class Sources>
void ask(std::vector<kube::Read>& reads, const Sources& of) {
  for (const auto& source : of)
    reads.push_back({.path = source.path,
                     .list = true,
                     .label_selector = source.label_selector,
                     .field_selector = source.field_selector});
}

/// Puts the items of the answer to a Source or a Listing in their place.
template <class Asked>
Result<void> put(Snapshot& snapshot, const Asked& source, kube::ApiResult<Json>& answer) {
  if (!answer && answer.error().not_found()) return {};  // the group is not served
  if (!answer) return answer.error().as_error();
  for (auto& item : (*answer)["items"]) {
    item["apiVersion"] = source.api_version;
    item["kind"] = source.kind;
    (snapshot.*source.list).push_back(std::move(item));
  }
  return {};
}

}  // namespace

Result<Snapshot> observe(kube::Client& client, const Asked& asked) {
  std::vector<kube::Read> reads{{.path = "/version"}, kube::discovery_read()};
  ask(reads, sources);
  const auto charts = chart_listings(asked.charts);
  add_reads(reads, charts);
  const auto listings = extra_listings(asked.deployments);
  const std::size_t first_listing = reads.size();
  add_reads(reads, listings);
  auto answers = client.read_all(reads);
  Snapshot snapshot;
  snapshot.taken = format_time(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  snapshot.charts = asked.charts;
  for (std::size_t i = 0; i < first_listing; ++i) {
    auto& answer = answers[i];
    if (i < 2) {
      if (!answer) return answer.error().as_error();
      if (i == 0)
        snapshot.version = *answer;
      else
        snapshot.groups = kube::group_versions(*answer);
      continue;
    }
    const std::size_t at = i - 2;
    auto taken =
        at < sources.size() ? put(snapshot, sources[at], answer) : put(snapshot, charts[at - sources.size()], answer);
    if (!taken) return taken.error();
  }
  for (auto& node : snapshot.nodes)
    redact_node(node);
  std::vector<Json> deployments;
  for (std::size_t i = 0; i < listings.size(); ++i) {
    auto fresh = take(snapshot, listings[i], answers[first_listing + i]);
    if (!fresh) return fresh.error();
    if (listings[i].list == &Snapshot::deployments) deployments.insert(deployments.end(), fresh->begin(), fresh->end());
  }
  const auto beside = listings_beside(deployments);
  if (beside.empty()) return snapshot;
  reads.clear();
  add_reads(reads, beside);
  answers = client.read_all(reads);
  for (std::size_t i = 0; i < beside.size(); ++i)
    if (auto taken = take(snapshot, beside[i], answers[i]); !taken) return taken.error();
  return snapshot;
}

Result<void> observe_charts(kube::Client& client, Snapshot& snapshot, const std::set<std::string>& charts) {
  const auto listings = chart_listings(charts);
  std::vector<kube::Read> reads;
  add_reads(reads, listings);
  auto answers = client.read_all(reads);
  for (std::size_t i = 0; i < answers.size(); ++i)
    if (auto taken = put(snapshot, listings[i], answers[i]); !taken) return taken.error();
  snapshot.charts.insert(charts.begin(), charts.end());
  return {};
}

Result<void> observe_leases(kube::Client& client, Snapshot& snapshot) {
  const std::string group = "/apis/coordination.k8s.io/v1/namespaces/";
  auto answers = client.read_all(
      {{.path = group + "kube-system/leases", .list = true, .field_selector = "metadata.name=kube-controller-manager"},
       {.path = group + "kube-node-lease/leases", .list = true}});
  for (auto& answer : answers) {
    if (!answer) return answer.error().as_error();
    for (auto& item : (*answer)["items"]) {
      const Json metadata = {{"name", item["metadata"]["name"]}, {"namespace", item["metadata"]["namespace"]}};
      snapshot.leases.push_back({{"apiVersion", "coordination.k8s.io/v1"},
                                 {"kind", "Lease"},
                                 {"metadata", metadata},
                                 {"spec", item.value("spec", Json::object())}});
    }
  }
  return {};
}

}  // namespace core_ha::cluster

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
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterroles", "", "metadata.name=system:coredns",
           "rbac.authorization.k8s.io/v1", "ClusterRole", &Snapshot::clusterroles},
    Source{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "", "metadata.name=system:coredns",
           "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", &Snapshot::clusterrolebindings},
    Source{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "rbac.authorization.k8s.io/v1", "Role",
           &Snapshot::roles},
    Source{"/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "rbac.authorization.k8s.io/v1", "RoleBinding",
           &Snapshot::rolebindings},
    Source{"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", "",
           "metadata.name=k3s-core-ha-local-path-provisioner", "coordination.k8s.io/v1", "Lease", &Snapshot::leases}};

void add_reads(std::vector<kube::Read>& reads, const std::vector<Listing>& listings) {
  for (const auto& listing : listings)
    reads.push_back(listing.read);
}

constexpr std::array traefik_sources{
    Source{"/apis/helm.cattle.io/v1/namespaces/kube-system/helmcharts", "", "metadata.name=traefik",
           "helm.cattle.io/v1", "HelmChart", &Snapshot::helmcharts},
    Source{"/apis/helm.cattle.io/v1/namespaces/kube-system/helmchartconfigs", "", "metadata.name=traefik",
           "helm.cattle.io/v1", "HelmChartConfig", &Snapshot::helmchartconfigs},
    Source{"/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "",
           "metadata.name=helmchartconfigs.helm.cattle.io", "apiextensions.k8s.io/v1", "CustomResourceDefinition",
           &Snapshot::customresourcedefinitions},
    Source{"/apis/batch/v1/namespaces/kube-system/jobs", "", "metadata.name=helm-install-traefik", "batch/v1", "Job",
           &Snapshot::jobs},
    Source{"/apis/apps/v1/namespaces/kube-system/deployments", "", "metadata.name=traefik", "apps/v1", "Deployment",
           &Snapshot::deployments},
    Source{"/api/v1/namespaces/kube-system/pods", "app.kubernetes.io/name=traefik", "", "v1", "Pod", &Snapshot::pods}};

template <class Sources>
void ask(std::vector<kube::Read>& reads, const Sources& of) {
  for (const auto& source : of)
    reads.push_back({.path = source.path,
                     .list = true,
                     .label_selector = source.label_selector,
                     .field_selector = source.field_selector});
}

constexpr Source releases{"", "", "", "v1", "Secret", &Snapshot::releases};

/// What the answer to that one of traefik_reads is.
const Source& source_of_traefik(std::size_t at) {
  return at < traefik_sources.size() ? traefik_sources[at] : releases;
}

std::vector<kube::Read> traefik_reads() {
  std::vector<kube::Read> reads;
  ask(reads, traefik_sources);
  reads.push_back(deployed_releases("kube-system", "name=traefik"));
  return reads;
}

/// Puts the answer's items in their place.
Result<void> take(Snapshot& snapshot, const Source& source, kube::ApiResult<Json>& answer) {
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
  if (asked.traefik)
    for (auto& read : traefik_reads())
      reads.push_back(std::move(read));
  const auto listings = extra_listings(asked.deployments);
  const std::size_t first_listing = reads.size();
  add_reads(reads, listings);
  auto answers = client.read_all(reads);
  Snapshot snapshot;
  snapshot.taken = format_time(std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
  snapshot.traefik = asked.traefik;
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
    const auto& source = at < sources.size() ? sources[at] : source_of_traefik(at - sources.size());
    if (auto taken = take(snapshot, source, answer); !taken) return taken.error();
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

Result<void> observe_traefik(kube::Client& client, Snapshot& snapshot) {
  auto answers = client.read_all(traefik_reads());
  for (std::size_t i = 0; i < answers.size(); ++i)
    if (auto taken = take(snapshot, source_of_traefik(i), answers[i]); !taken) return taken.error();
  snapshot.traefik = true;
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

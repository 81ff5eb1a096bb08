// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/strategies/component.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

inline const kube::ObjectRef coredns_deployment{"apps/v1", "Deployment", "kube-system", "coredns"};
inline const kube::ObjectRef coredns_daemonset{"apps/v1", "DaemonSet", "kube-system", "k3s-core-ha-coredns"};
inline const kube::ObjectRef coredns_service{"v1", "Service", "kube-system", "kube-dns"};
inline const kube::ObjectRef coredns_config{"v1", "ConfigMap", "kube-system", "coredns"};
inline const kube::ObjectRef coredns_autoscaler{"autoscaling/v2", "HorizontalPodAutoscaler", "kube-system",
                                                "k3s-core-ha-coredns"};
inline const kube::ObjectRef coredns_budget{"policy/v1", "PodDisruptionBudget", "kube-system", "k3s-core-ha-coredns"};
inline const Component coredns_component{
    "coredns",      "CoreDNS", "coredns_strategy",     "coredns", cluster::coredns_manifest, coredns_deployment,
    coredns_budget, "coredns", &Spec::coredns_strategy};

/// A CoreDNS pod that runs, or is about to.
struct CoreDnsPod {
  kube::ObjectRef ref;
  std::string uid;
  std::string owner;      ///< uid of the ReplicaSet or DaemonSet that owns it; empty: nobody does
  bool gentle = false;    ///< it goes on answering for a while after its endpoint is taken away (preStop)
  bool retiring = false;  ///< labelled so by us
  bool hashed = false;    ///< carries pod-template-hash: a ReplicaSet of that template would adopt it
  bool daemon = false;    ///< carries our component's label: our DaemonSet would adopt it
  bool made = false;      ///< a ReplicaSet of the Deployment made it, whoever owns it now
  bool daemonic = false;  ///< a DaemonSet of ours made it, whoever owns it now
  bool charted = false;   ///< owned by a ReplicaSet of our chart's Deployment
  bool chartic = false;   ///< such a one made it, whoever owns it now
  bool serves = false;    ///< carries the label that the Service selects
  bool ready = false;
  std::string node;
};

struct CoreDnsReplicaSet {
  kube::ObjectRef ref;
  std::string uid;
  bool gentle = false;
  bool deleting = false;
};

/// CoreDNS as observed: its Deployment, the ReplicaSets of it that have pods, our DaemonSet, what our chart made, and
/// the pods that are not ending.
struct CoreDns {
  const Json* deployment = nullptr;
  bool absent = false;  ///< `deployment` is what is to be made
  const Json* daemonset = nullptr;
  const Json* chart = nullptr;  ///< the Deployment of our chart
  std::vector<CoreDnsReplicaSet> replica_sets;
  /// Those of our chart's Deployment, which may be gone. Former ones, without pods, come first: a Deployment that loses
  /// its current one, although paused, has the latest former one make pods.
  std::vector<CoreDnsReplicaSet> chart_sets;
  std::vector<CoreDnsPod> pods;
  std::vector<CoreDnsPod> ended;  ///< that run no more, but are still there

  Json base = {};  ///< the model, where it is not the Deployment as it stands

  /// The Deployment that new pods are derived from.
  const Json& model() const { return base.is_null() ? *deployment : base; }
  const Json& pod_template() const { return model()["spec"]["template"]; }
  const Json& pod_spec() const { return pod_template()["spec"]; }
  int replicas() const { return replicas_of(*deployment); }
  bool paused() const { return (*deployment)["spec"].value("paused", false); }
  /// uid of our DaemonSet; empty: there is none.
  std::string daemonset_uid() const { return daemonset == nullptr ? "" : (*daemonset)["metadata"].value("uid", ""); }
  /// Whether a DaemonSet of ours is there, or pods of one: then the Deployment's count is ours.
  bool served_by_daemons() const;
  /// The same of our chart's Deployment.
  bool served_by_chart() const { return chart != nullptr || !chart_sets.empty(); }
  /// Whether something else than the Deployment owns the pod, which would make another in its place.
  bool of_another(const CoreDnsPod& pod) const {
    return pod.charted || (daemonset != nullptr && pod.owner == daemonset_uid());
  }
};

/// The parts that belong together; `deployment` is null when there is none.
CoreDns view_coredns(const cluster::Snapshot& snapshot);

/// The value of cluster::component_label by which our DaemonSet knows its pods.
inline constexpr const char* component_value = "coredns";

/// Whether a pod of this spec ends gently.
bool ends_gently(const Json& pod_spec);

}  // namespace core_ha::ha

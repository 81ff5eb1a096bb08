// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"

namespace core_ha::ha {

/// A cluster as k3s leaves it, small enough to read, with controllers that act at once: what plans are tried on. Field
/// ownership, ReplicaSets, adoption and the HPA's minimum behave as Kubernetes has them, as far as a plan can tell.
class SimulatedCluster {
 public:
  /// One server and agents, CoreDNS as packaged: one replica, on the last node.
  explicit SimulatedCluster(int nodes, int minor = 36);

  cluster::Snapshot snapshot;

  Json& node(int index) { return snapshot.nodes[static_cast<std::size_t>(index)]; }
  /// CoreDNS's; 1: metrics-server's.
  Json& deployment(int index = 0) { return snapshot.deployments[static_cast<std::size_t>(index)]; }
  Json& service() { return snapshot.services[0]; }
  /// metrics-server as packaged, one replica.
  void ship_metrics_server();
  /// local-path-provisioner as packaged, one replica.
  void ship_local_path();
  /// traefik as packaged: the chart, its job at its end, and the Deployment that it makes, one replica.
  void ship_traefik();
  /// helm-controller, with no chart.
  void ship_helm();
  bool helm_lags = false;  ///< helm-controller takes no change up
  /// What the HelmChartConfig is; null: there is none.
  const Json* traefik_config() const;
  /// The Deployment that the chart makes.
  Json& traefik();
  /// The objects of k3s's CoreDNS besides, and its manifests as a server has them staged.
  void stage();
  /// A server of k3s starts: what it has staged and does not leave alone is applied as k3s does it, by a three-way
  /// merge with what it applied last.
  void start_k3s(bool leaves_alone);
  Json& staged_deployment();
  void taint(int index, const std::string& key, const std::string& effect);
  void cordon(int index);
  /// Not heard of for so many seconds.
  void silence(int index, int seconds);

  /// This pod of CoreDNS has found no node.
  void unschedule(std::size_t pod);
  /// A node joins, with no pods.
  void join(const std::string& name);

  void carry_out(const Step& step);
  /// Lets the controllers come to rest.
  void settle();
  /// A Deployment web/site of somebody's, as `kubectl create` makes it; its pods are in extra_pods, too.
  Json& add_site(int replicas = 1);
  Json& site() { return *find({"apps/v1", "Deployment", "web", "site"}); }
  /// Server-side apply by any manager.
  void apply(const Json& body, const std::string& manager);
  /// A plain update of one field by another client.
  void set_field(Json& object, const cluster::FieldPath& path, const Json& value, const std::string& manager);

  /// Somebody else sets the count of replicas of that deployment() through the scale subresource.
  void scale_by(const std::string& manager, int replicas, int index = 0);

  /// Pods that are asked for answers.
  int serving() const;
  int least_serving = 0;  ///< whenever a pod ended since a test set this
  int rolled = 0;         ///< pods that a controller ended while they were asked, gently or not
  /// What went wrong on the way: a pod ended while it was asked, nobody left to ask, no metrics.
  std::vector<std::string> losses;

 private:
  Json* list_of(const std::string& kind);
  Json* find(const kube::ObjectRef& ref);
  void end_pod(std::size_t index, bool by_controller);
  void scale(Json& deployment, const std::string& manager, int replicas);
  void run_autoscaler();
  void run_helm_controller();
  void run_chart(const Json& chart);
  void uninstall(const std::string& chart);
  void ship(const Json& manifest);
  /// All fields of what this manager has just made.
  void hold(Json& object, const std::string& manager);
  void run_deployment(Json& deployment);
  void begin_pod(Json pod);
  void run_replica_sets();
  std::string host_for(const Json& set, std::size_t pods) const;
  void run_daemonset(Json& daemonset);
  Json make_pod(const Json& owner, const Json& labels, const std::string& node);
  void add_node(const std::string& name, const Json& labels, const char* args);
  std::string next_uid();
  void note_provisioners();
  int uids_ = 0;
  std::ptrdiff_t packaged_ = 0;  ///< pods of local-path-provisioner when we last looked
  std::ptrdiff_t standby_ = 0;   ///< and of ours
};

bool owned_by(const Json& object, const Json& owner);

/// A pod that runs and has this label `k8s-app`.
bool runs(const Json& pod, const char* app);

/// By which controllers tell one content from another.
std::string hash_of(const Json& content);

}  // namespace core_ha::ha

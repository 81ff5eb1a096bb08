// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace core_ha::cluster {

/// Label of a pod that a swap of CoreDNS is about to replace.
inline constexpr std::string_view retiring_label = "k3s-core-ha/retiring";

/// Label of a Node: it has the helper at ha::helper_path, of the version that it names. Pods of ours that need it run
/// there.
inline constexpr const char* carries_label = "k3s-core-ha/carries";

/// Label of a Deployment of the user's (`extra_deployments`) that carries fields of ours.
inline constexpr const char* extra_label = "k3s-core-ha/extra";

/// Label of what is ours, with the component it is for.
inline constexpr const char* component_label = "k3s-core-ha/component";
/// Its value where that is a Deployment of the user's.
inline constexpr const char* extra_component = "extra";

/// The cluster at one moment: raw API objects, narrowed to what decisions need. Saved as JSON it replays any of them.
/// No secrets: nothing that holds one is read, and k3s's node annotations lose theirs on the way in.
struct Snapshot {
  std::string taken;              ///< RFC 3339, UTC
  Json version = Json::object();  ///< `/version`
  std::set<std::string> groups;   ///< served group versions: `apps/v1`
  // Arrays of objects.
  Json nodes = Json::array();
  Json deployments = Json::array();
  Json daemonsets = Json::array();
  Json controllerrevisions = Json::array();  ///< of DaemonSets of ours
  Json replicasets = Json::array();
  Json pods = Json::array();
  Json services = Json::array();
  Json endpointslices = Json::array();
  Json horizontalpodautoscalers = Json::array();
  Json poddisruptionbudgets = Json::array();
  Json apiservices = Json::array();
  Json configmaps = Json::array();
  // Of CoreDNS and metrics-server, as k3s ships them, besides.
  Json serviceaccounts = Json::array();
  Json clusterroles = Json::array();
  Json clusterrolebindings = Json::array();
  // Of local-path-provisioner behind a Lease; a RoleBinding of metrics-server's is here, too.
  Json roles = Json::array();
  Json rolebindings = Json::array();
  Json storageclasses = Json::array();
  Json leases = Json::array();  ///< with observe_leases also those of the controller manager and of nodes
  // Of Deployments that the user names, which are in `deployments`, with their budgets and autoscalers beside them.
  Json extra_pods = Json::array();
  Json persistentvolumeclaims = Json::array();  ///< those that their pods mount by name
  std::set<std::string> charts;                 ///< names of Helm charts that it was asked for
  // Of these, besides a Deployment of the chart's name: the chart, its configuration and that one's schema, the chart's
  // job, and of the Secrets of deployed releases the metadata.
  Json helmcharts = Json::array();
  Json helmchartconfigs = Json::array();
  Json customresourcedefinitions = Json::array();
  Json jobs = Json::array();
  Json releases = Json::array();
  /// What pods request, by node: `[{priority, cpu, memory, pods}]`. Nodes that were not asked for are missing.
  Json usage = Json::object();
  /// k3s's own manifests as the server that this was read on has them staged, rendered for its release: file name
  /// without `.yaml` → objects. Empty anywhere else.
  Json manifests = Json::object();
  /// Files of somebody's beside them on that server that get into their way (read_rivals).
  Json rivals = Json::array();

  /// The server's minor version: 36 for 1.36; 0 when it is unknown.
  int minor() const;
  bool serves(std::string_view group_version) const { return groups.contains(std::string(group_version)); }
};

/// `items`' object of that name in the namespace, or null; `ns` is empty for a cluster-scoped kind.
const Json* find_named(const Json& items, std::string_view name, std::string_view ns = "kube-system");

/// The object without what the server counts or reports by itself (status, managedFields, versions, times), and without
/// the values of environment variables, which may be secret.
Json lasting(Json object);

Json to_json(const Snapshot& snapshot);

/// Reads what to_json wrote; anything else is one sentence (exit status 2).
Result<Snapshot> snapshot_from_json(const Json& document);

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cluster/snapshot.h"

namespace core_ha::cluster {

/// The label by which k3s spreads CoreDNS over zones, and cloud providers tell them.
inline constexpr const char* usual_zone_label = "topology.kubernetes.io/zone";

/// A registered node, as placement sees it.
struct Node {
  std::string name;
  std::string host;      ///< its failure domain: label kubernetes.io/hostname, else the name
  std::string zone;      ///< the larger one; empty: nothing tells
  std::string excluded;  ///< why a pod can never run here (`taint gpu:NoSchedule`); empty: it is eligible
  bool tainted = false;  ///< it is excluded by a taint alone: a spread rule counts it, unless it honours taints
  bool server = false;   ///< carries the control plane
  bool ready = false;    ///< as of the snapshot
  bool cordoned = false;
  std::string barred;  ///< a passing taint, but for a cordon's, that keeps new pods away now: `disk-pressure`
  double cores = 0;
  int minor = 0;                                   ///< of its kubelet, and in k3s of its kube-proxy; 0: not known
  std::optional<std::chrono::seconds> silent_for;  ///< since when its kubelet is not heard of

  bool eligible() const { return excluded.empty(); }
  /// Whether the scheduler would put a pod here now.
  bool open() const { return eligible() && ready && !cordoned && barred.empty(); }
  /// Whether a DaemonSet would: its pods mind neither a cordon nor pressure.
  bool takes_daemons() const { return eligible() && ready && (barred.empty() || barred.ends_with("-pressure")); }
};

/// Whether the Node carries the control plane.
bool is_server(const Json& node);

/// Whether a Node or a Pod has the condition Ready.
bool is_ready(const Json& object);

/// Whether a label selector (matchLabels, matchExpressions) selects an object of these labels.
bool selects(const Json& selector, const Json& labels);

/// A label selector in the words of a request: `app=site,!canary,tier in (a,b)`.
std::string selector_words(const Json& selector);

/// Every registered node, judged for pods of this spec. What passes with an outage or a drain (cordon, not-ready,
/// unreachable, pressure) does not make a node ineligible: else an outage would shrink what is to outlive it.
std::vector<Node> judge_nodes(const Snapshot& snapshot, const Json& pod_spec,
                              const std::string& zone_label = usual_zone_label);

}  // namespace core_ha::cluster

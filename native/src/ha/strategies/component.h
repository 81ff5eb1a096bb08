// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "cluster/snapshot.h"
#include "cluster/staged.h"
#include "ha/placement/capacity.h"
#include "ha/planner.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// A component that k3s ships as a Deployment with one replica; or a Deployment of the user's, which has no addon.
struct Component {
  std::string_view id;        ///< first word of its steps' ids: `coredns`
  std::string_view title;     ///< in sentences: `CoreDNS`
  std::string_view strategy;  ///< the spec's key for its strategy
  std::string_view addon;     ///< what k3s's --disable calls it
  std::string_view manifest;  ///< its Deployment's file without `.yaml`; empty: it is not to be set aside
  kube::ObjectRef deployment;
  kube::ObjectRef budget;                ///< its PodDisruptionBudget, where we make one
  std::string_view label = id;           ///< what objects of ours say that they are for
  std::string Spec::* wished = nullptr;  ///< its strategy; null: it has none to choose from
};

/// By it a Deployment is stopped from rolling out; k3s declares none.
inline const cluster::FieldPath paused_field{"f:spec", "f:paused"};

/// Whose the count of replicas is.
enum class Count {
  at_least,  ///< an autoscaler's: raised where it is lower
  fixed,     ///< ours: raised, lowered, and put back when it drifted
  released   ///< nobody's, as k3s leaves it, once it is set back
};

/// What a component's Deployment is to become.
struct Target {
  Json body;  ///< our whole set; without fields: as k3s ships it
  int replicas = 1;
  Count count = Count::at_least;
  bool waits = true;      ///< for what was changed to be there
  bool seconded = false;  ///< the only replica has a second one while it is replaced; plan_rollout alone knows it
  /// Planned once there are as many replicas as wished, before the template changes; plan_rollout alone knows it.
  std::function<void()> once_raised = {};
};

inline const cluster::FieldPath replicas_field{"f:spec", "f:replicas"};

/// First version whose kubelets and API know `lifecycle.preStop.sleep`.
inline constexpr int pre_stop_sleep_minor = 30;

/// The containers of an overlay by which a pod goes on answering for so long after its endpoint is taken away.
Json answers_on(std::string_view container, int seconds);

/// The labels that a Deployment gives its pods.
Json pod_labels(const Json& deployment);

int replicas_of(const Json& deployment);

/// Whether the pods' template of an object of ours is the wished one. Whole, not field by field as with other objects:
/// a template that was derived has lists whose keys we need not know.
bool keeps_template(const Json& live, const Json& body);
/// Whether all else of it that is wished is so.
bool keeps_rest(const Json& live, const Json& body);

/// Another program that holds the Deployment's count of replicas; empty: none. k3s, an autoscaler and a person's
/// `kubectl scale` set it once and go on.
std::string count_holder(const Json& deployment);

/// Whether the count is one that we set, by whatever operation.
bool count_is_ours(const Json& deployment);

/// Whether nobody but k3s, an autoscaler or us set the count, so that it may be set back; else a warning says who did.
bool count_may_go(const Json& deployment);
void warn_of_count(Planner& planner, const Component& component, const Json& deployment);

/// An update of the Deployment is on its way.
bool updating(const Json& deployment);

/// A count that somebody set once by hand is drift, and put back; one that another program holds is a fight: refused
/// (exit 5), true.
bool refuse_foreign_count(Planner& planner, const Component& component, const Json& deployment, int wanted);

/// A Deployment that somebody else has paused rolls nothing out: refused (exit 5), true.
bool refuse_paused(Planner& planner, const Component& component, const Json& deployment);

/// The HorizontalPodAutoscaler of somebody else that scales the component; empty: none.
std::string foreign_autoscaler(const cluster::Snapshot& snapshot, const Component& component);

/// Two autoscalers, or one beside a fixed count, would fight: refused (exit 5), true.
bool refuse_foreign_autoscaler(Planner& planner, const Component& component);

/// A PodDisruptionBudget over the Deployment's pods that is not `own`, which need not be there; null: none.
const Json* foreign_budget(const cluster::Snapshot& snapshot, const kube::ObjectRef& own, const Json& deployment);

/// The PodDisruptionBudget by which drains take one replica at a time. One of somebody else over the same pods makes
/// ours superfluous; over those of k3s's components it is refused where it would block every drain of so many replicas.
void plan_budget(Planner& planner, const Component& component, const Json& deployment, int replicas);

/// Those of the pods that the Deployment's selector selects and that are not about to end; and their nodes.
std::vector<const Json*> pods_of(const Json& pods, const Json& deployment);
std::vector<std::string> nodes_of(const Json& pods, const Json& deployment);

/// How a Deployment stands, for people and programs.
Json stands(const Json& deployment, const Json& strategy, const std::vector<std::string>& nodes);

/// Whether the new pods find room now, the replicas on as many hosts as there are for them. Where they do not, a
/// warning says so and the component waits for a later run: what it is for is worth less than what else this one may
/// repair.
bool find_room(Planner& planner, const Component& component, const Json& pod_template,
               const std::vector<cluster::Node>& nodes, int replicas, const Placement& placement);

/// What we lay over k3s's Deployment means something only where k3s keeps it: refused (exit 4) where k3s does not; a
/// warning where a server was started with --disable, and deletes it.
void check_shipped(Planner& planner, const Component& component, const Json& deployment);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "cluster/nodes.h"
#include "ha/planner.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

// The parts of a change that takes old CoreDNS pods out of a controller's hands and ends them when nobody asks them any
// more; swap.cc tells why.

/// Whether nobody owns the pod and it is of a change that was not finished. It says so, or a ReplicaSet or DaemonSet
/// once made it: two runs at a time, each taking back its own, can leave one without any label of ours.
bool left_over(const CoreDnsPod& pod);

void plan_labels(Planner& planner, std::string id, const CoreDnsPod& pod, const Json& labels, std::string reason);

/// The ReplicaSets go, and leave their pods to themselves. The Deployment must be paused by then.
void plan_freeing(Planner& planner, const std::vector<const CoreDnsReplicaSet*>& sets);

/// So does our DaemonSet, if it is there.
void plan_freeing_daemons(Planner& planner, const CoreDns& coredns);

/// So does our chart's Deployment, paused before its ReplicaSets go: one that it left to itself would be k3s's
/// Deployment's at once, whose selector k8s-app=kube-dns selects it, too, and be scaled in as an old one of it.
void plan_freeing_chart(Planner& planner, const CoreDns& coredns);

/// The records of our DaemonSet's templates stay behind when it goes without its pods.
void plan_no_revisions(Planner& planner);

/// Of pods that nobody owns, those without a node go at once, and are taken out of `pods`: without the label that the
/// Service selects, by which k3s's spread rule counts, one could be scheduled after all, and push others out. One that
/// has got a node since it was observed stays, for the look at the end of the run.
void plan_dropping(Planner& planner, std::vector<const CoreDnsPod*>& pods);

/// The pods' endpoints go, and the pods when nobody is sent to them any more. `nodes`: all of them; `drained`: the id
/// of the wait for that.
void plan_retirement(Planner& planner, std::vector<const CoreDnsPod*> pods, const std::vector<cluster::Node>& nodes,
                     std::string drained = "coredns-drained");

/// Pods that ended before the change (pushed out, evicted) would outlive the controller that should have taken them
/// away.
void plan_clearing(Planner& planner, const std::vector<const CoreDnsPod*>& ended);

}  // namespace core_ha::ha

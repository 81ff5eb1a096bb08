// SPDX-License-Identifier: GPL-3.0-or-later
//
// The problem. A rollout ends old pods while kube-proxies still send them queries. With our overlay a pod answers on
// for some seconds (preStop), but the rollout that brings the overlay in ends pods that do not have it yet, and the way
// back would end with scaling such pods in. The Deployment's own means do not help: every one of them deletes pods
// before their endpoints are gone.
//
// The way out. The old pods are taken out of the Deployment's hands, and ended by us when nobody asks them any more:
//
//   1. label the old pods as retiring;
//   2. pause the Deployment and change its template: nothing rolls;
//   3. delete the old ReplicaSet, leaving its pods to themselves (propagation Orphan): they go on serving;
//   4. set the count and unpause: a fresh ReplicaSet comes up beside them; wait for it;
//   5. take each old pod's k8s-app label: its endpoint goes, the pod answers on; wait until no EndpointSlice names it
//      and kube-proxies have followed; delete it.
//
// Step 5 holds for old pods that end gently, too. An ending endpoint gets no new clients, but kube-proxies keep what
// conntrack knows of it until it is gone; a client that uses a source port again, or always, is sent there, and its
// queries are lost from the pod's end until kube-proxies have heard of it (seen: 7 of 100 queries/s, for 0.8 s). When
// the endpoint is gone while its pod still answers, conntrack forgets it in good time.
//
// The count is set only after 3, for a paused Deployment still scales the ReplicaSet that it has. A pod without an
// owner is adopted by a ReplicaSet whose template hash it carries; where old and new template can be the same (the way
// there after half a way back), the old pods lose the hash label before the new ReplicaSet is made.
//
// There may be no place for a new pod while every old one is there: nodes are full, or k3s's spread rule counts the
// hosts too whose taints keep CoreDNS away. Then one old pod is ended as in 5 between 3 and 4, of several, and makes
// one.
//
// An old pod that has no node, for k3s's spread rule or for want of room, is ended before 4. It would take the place
// that a new one needs; and without the label that 5 takes away, by which that rule counts, it would be scheduled, and
// push others out for the seconds that it has.
//
// The pods of a DaemonSet of ours (strategy daemonset), or of our chart's Deployment (strategy helm), go the same way,
// but it owns them until the Deployment serves, or one of them is to make the place: it would make new ones in their
// place, and a Deployment without pods has none that a rollout could end. coredns_daemonset.cc and coredns_helm.cc tell
// of the other direction.
//
// Stopped anywhere, the state tells what is left to do: who owns the pods, what they carry, whether the Deployment is
// paused by us. So there is no journal, and a plan made from a half-way state is simply shorter.
//
// Every change of the template goes this way. Where there is no room for all new pods beside the old ones, and
// several that end gently, the Deployment's ordinary rollout is used.
#include "ha/strategies/swap.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/strategies/retire.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

const cluster::FieldPath template_field{"f:spec", "f:template"};

class Swap {
 public:
  Swap(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes, const Target& target,
       bool gentle, const CoreDnsPod* makes_room)
      : planner_(planner),
        coredns_(coredns),
        nodes_(nodes),
        target_(target),
        gentle_(gentle),
        makes_room_(makes_room),
        held_(cluster::applied_fields(*coredns.deployment, kube::field_manager)) {}

  void plan() {
    if (refuse_paused(planner_, coredns_component, *coredns_.deployment) || counted_by_others()) return;
    choose();
    make_room();
    keep_wanted_pods();
    const bool others = coredns_.daemonset != nullptr || coredns_.served_by_chart();
    const bool anything = changes() || !leaving_.empty() || others;
    if (!leaving_sets_.empty()) set_old_pods_free();
    for (const auto* pod : leaving_)
      if (pod->gentle == gentle_ && pod->hashed && !pod->charted)
        plan_labels(planner_, "forget-" + pod->ref.name, *pod,
                    {{"pod-template-hash", nullptr}, {cluster::retiring_label, "true"}},
                    "the new ReplicaSet must not adopt it");
    drop_unscheduled();
    const bool room_first = std::erase(leaving_, makes_room_) != 0;
    if (room_first) {
      free_others();  // they would make another pod there
      plan_retirement(planner_, {makes_room_}, nodes_, "coredns-room");
    }
    // Where it has no pods yet, the first ones are to be of the new template.
    const bool template_first = coredns_.replicas() == 0 && !releases_count();
    if (template_first) bring_in();
    set_count();
    if (!template_first) bring_in();
    if (anything || updating(*coredns_.deployment))
      planner_.add({.id = "coredns-rollout",
                    .action = Action::wait_rollout,
                    .object = coredns_deployment,
                    .reason = "every replica runs the wished template and is available"});
    if (!room_first) free_others();
    plan_no_revisions(planner_);
    plan_retirement(planner_, leaving_, nodes_);
    clear_ended();
    lower_count();
  }

  Placement placement() const {
    Placement placement;
    for (const auto* pod : staying_)
      if (!pod->owner.empty() && !pod->node.empty()) placement.staying.push_back(pod->node);
    for (const auto* pod : leaving_)
      if (!pod->node.empty() && pod != makes_room_) placement.leaving.push_back(pod->node);
    if (makes_room_ != nullptr) placement.freed = makes_room_->node;
    const int count = target_.count == Count::released || lowers_early()
                          ? target_.replicas
                          : std::max(coredns_.replicas(), target_.replicas);
    placement.pods = std::max(0, count - static_cast<int>(placement.staying.size()));
    return placement;
  }

 private:
  bool paused_by_us() const { return held_.contains(paused_field); }

  /// Whether the Deployment is not yet as it is to be.
  bool changes() const { return !planner_.holds(target_.body) || releases_count() || raises_count(); }

  /// Also a count that is not ours to release, where it is too low for what is to come.
  bool raises_count() const {
    const bool lets_go = target_.count == Count::released && count_may_go(*coredns_.deployment);
    return coredns_.replicas() < target_.replicas && !lets_go;
  }
  bool lowers_count() const { return target_.count == Count::fixed && coredns_.replicas() > target_.replicas; }

  bool counted_by_others() {
    return (raises_count() || lowers_count()) &&
           refuse_foreign_count(planner_, coredns_component, *coredns_.deployment, target_.replicas);
  }

  /// Whether bringing the body in changes the pods' template.
  bool template_changes() const {
    const auto in_template = [](const cluster::FieldPath& path) {
      return path.size() > 2 && path[0] == template_field[0] && path[1] == template_field[1];
    };
    const auto wished = cluster::fields_in(target_.body);
    const bool drops = std::any_of(held_.begin(), held_.end(),
                                   [&](const auto& path) { return in_template(path) && !wished.contains(path); });
    return drops || std::any_of(wished.begin(), wished.end(), [&](const auto& path) {
             return in_template(path) &&
                    !cluster::has_value(*coredns_.deployment, path, *cluster::value_at(target_.body, path));
           });
  }

  /// Which pods are swapped. A swap needs room for all new pods beside the old ones; where there is none and a rollout
  /// would do, in which few queries are lost, the change is not refused for it.
  void choose() {
    const bool replaced = template_changes();
    sort_pods(replaced);
    // A lone replica has no other to answer while it is replaced, however gently it ends.
    const bool alone = std::max(coredns_.replicas(), target_.replicas) == 1;
    const bool must = alone || std::any_of(coredns_.replica_sets.begin(), coredns_.replica_sets.end(),
                                           [&](const auto& set) { return must_leave(set); });
    if (!replaced || must || leaving_sets_.empty()) return;
    const Fit fit = judge_fit(planner_.snapshot, coredns_component.title, coredns_.pod_template(), nodes_, placement());
    if (fit.refusal.empty() && fit.warning.empty()) return;
    sort_pods(false);
    planner_.warn(
        "There is no room for all new replicas beside the old ones, so these are replaced one at a time: clients that "
        "use a source port again may lose a few queries.");
  }

  /// Where the new pods would fit but for one: that comes in the place of one that is let go already, or, as long as no
  /// old one is missing, of one of several.
  void make_room() {
    const auto fits = [&] {
      return judge_fit(planner_.snapshot, coredns_component.title, coredns_.pod_template(), nodes_, placement())
          .refusal.empty();
    };
    if (makes_room_ != nullptr || leaving_.empty() || fits()) return;
    const auto answering = std::count_if(coredns_.pods.begin(), coredns_.pods.end(),
                                         [&](const auto& pod) { return pod.serves && pod.ready; });
    const bool several = answering >= std::max({2, coredns_.replicas(), static_cast<int>(coredns_.pods.size())});
    for (const auto* pod : leaving_) {
      makes_room_ = pod;
      if ((several || !pod->serves) && fits()) return;
    }
    makes_room_ = nullptr;
  }

  bool must_leave(const CoreDnsReplicaSet& set) const {
    const bool begun = paused_by_us() && std::any_of(coredns_.pods.begin(), coredns_.pods.end(), [&](const auto& pod) {
                         return pod.owner == set.uid && pod.retiring;
                       });
    return set.deleting || set.gentle != gentle_ || begun;
  }

  void sort_pods(bool replaced) {
    leaving_sets_.clear();
    leaving_.clear();
    staying_.clear();
    for (const auto& set : coredns_.replica_sets)
      if (replaced || must_leave(set)) leaving_sets_.push_back(&set);
    for (const auto& pod : coredns_.pods) {
      if (leaves(pod))
        leaving_.push_back(&pod);
      else
        staying_.push_back(&pod);
    }
  }

  /// Our DaemonSet and our chart go when the Deployment serves.
  void free_others() {
    plan_freeing_daemons(planner_, coredns_);
    plan_freeing_chart(planner_, coredns_);
  }

  bool leaves(const CoreDnsPod& pod) const {
    const bool of_leaving =
        std::any_of(leaving_sets_.begin(), leaving_sets_.end(), [&](const auto* set) { return set->uid == pod.owner; });
    return of_leaving || coredns_.of_another(pod) || left_over(pod);
  }

  void keep_wanted_pods() {
    for (const auto* pod : staying_)
      if (pod->retiring)
        plan_labels(planner_, "keep-" + pod->ref.name, *pod, {{cluster::retiring_label, nullptr}},
                    "it stays: a change that was to replace it was not finished");
  }

  void set_old_pods_free() {
    for (const auto* pod : leaving_)
      if (!pod->retiring && !pod->owner.empty() && !coredns_.of_another(*pod))
        plan_labels(planner_, "mark-" + pod->ref.name, *pod, {{cluster::retiring_label, "true"}},
                    "it is about to be replaced; a run that is stopped half-way is recognised by this");
    Json body = target_.body;
    body["spec"]["paused"] = true;
    // Held by manifests of ours and dropped here, the count would be 1 at once, and a paused Deployment still scales.
    if (held_.contains(replicas_field)) body["spec"]["replicas"] = coredns_.replicas();
    planner_.ensure("coredns-pause", body, "the template changes while nothing rolls");
    plan_freeing(planner_, leaving_sets_);
  }

  /// Before new pods come: such a one would take the place that is meant for one of them.
  void drop_unscheduled() {
    std::vector<const CoreDnsPod*> owned;
    std::erase_if(leaving_, [&](const auto* pod) {
      if (coredns_.of_another(*pod)) owned.push_back(pod);
      return coredns_.of_another(*pod);
    });
    plan_dropping(planner_, leaving_);
    leaving_.insert(leaving_.end(), owned.begin(), owned.end());
  }

  bool resets_count() const { return target_.count == Count::released && coredns_.replicas() != target_.replicas; }
  bool releases_count() const { return resets_count() && count_may_go(*coredns_.deployment); }

  /// Where all are swapped, no more are made than are to stay.
  bool lowers_early() const { return lowers_count() && (coredns_.paused() || !leaving_sets_.empty()); }

  void set_count() {
    if (raises_count() || lowers_early()) {
      planner_.scale("coredns-scale", coredns_deployment, target_.replicas,
                     fmt::format("{} replicas, from {}", target_.replicas, coredns_.replicas()));
      if (target_.count == Count::at_least) planner_.at_least();
    }
    if (releases_count()) {
      // Held for a moment and let go with the rest: then the count is nobody's, as k3s leaves it.
      Json body = target_.body;
      body["spec"]["paused"] = true;
      body["spec"]["replicas"] = target_.replicas;
      planner_.apply(
          "coredns-count", body,
          fmt::format("{} replica, from {}, and no holder of the count", target_.replicas, coredns_.replicas()));
      planned_ = true;
    } else if (resets_count() && !raises_count()) {
      warn_of_count(planner_, coredns_component, *coredns_.deployment);
    }
  }

  void bring_in() {
    const bool packaged = cluster::fields_in(target_.body).empty();
    const std::string reason = packaged ? "no field of ours is left" : "what makes a pod's end and its spread safe";
    // After a pause the set is another one, whatever was observed.
    if (planned_ || !leaving_sets_.empty())
      planner_.apply("coredns-overlay", target_.body, reason);
    else
      planner_.ensure("coredns-overlay", target_.body, reason);
  }

  void clear_ended() {
    std::vector<const CoreDnsPod*> gone;
    for (const auto& pod : coredns_.ended)
      if (leaves(pod)) gone.push_back(&pod);
    plan_clearing(planner_, gone);
  }

  /// Last of all, when every replica is a new one.
  void lower_count() {
    if (!lowers_count() || lowers_early()) return;
    planner_.scale("coredns-scale-in", coredns_deployment, target_.replicas,
                   fmt::format("{} replicas, from {}", target_.replicas, coredns_.replicas()));
    planner_.add({.id = "coredns-scaled-in",
                  .action = Action::wait_rollout,
                  .object = coredns_deployment,
                  .reason = "as many replicas as wished, all available"});
  }

  Planner& planner_;
  const CoreDns& coredns_;
  const std::vector<cluster::Node>& nodes_;
  const Target& target_;
  const bool gentle_;             ///< pods of the target end gently
  const CoreDnsPod* makes_room_;  ///< ended before the new ones come; null: none
  const std::set<cluster::FieldPath> held_;
  std::vector<const CoreDnsReplicaSet*> leaving_sets_;
  std::vector<const CoreDnsPod*> leaving_;
  std::vector<const CoreDnsPod*> staying_;
  bool planned_ = false;  ///< our set is already another one than observed
};

}  // namespace

Placement plan_swap(Planner& planner, const CoreDns& coredns, const std::vector<cluster::Node>& nodes,
                    const Target& target, bool gentle, const CoreDnsPod* makes_room) {
  Swap swap(planner, coredns, nodes, target, gentle, makes_room);
  swap.plan();
  return swap.placement();
}

}  // namespace core_ha::ha

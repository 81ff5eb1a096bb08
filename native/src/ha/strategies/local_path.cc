// SPDX-License-Identifier: GPL-3.0-or-later
//
// local-path-provisioner deletes directories, and has no election: two that are active can delete a volume that is in
// use again. So its replicas run behind `k3s-core-ha lead`, in a Deployment of ours whose pods' template is derived
// from the live packaged one, and the packaged Deployment is set aside. Two things keep a packaged pod and one of ours
// from being active together:
//
//   unschedulable   the packaged template gets an affinity that no node meets, together with the count of 0, in one
//                   write. k3s leaves both alone; and whoever raises the count, a release that declares one or a
//                   person, gets a pod that is never scheduled.
//   --while-none    a standby does not take the Lease while a packaged pod may run.
//
// The way there: make our Deployment, whose pods stay passive; set the packaged one aside; wait until its pods are
// gone. The way back: our count to 0; wait until our pods are gone; only then let the packaged one run again. A pod on
// a node that is not ready may run on for ever, for all that anybody can tell, so then neither way is gone.
//
// Strategy helm has the chart's pod instead of ours, with a guard of its own (local_path_helm.cc). From one kind to
// another the way is the same: what was active goes, its pods' objects are waited for, then the next may come.
//
// Where every server was started with --disable local-storage, strategy custom makes what k3s would ship, set aside
// from the first: should k3s ship its own again, it takes that Deployment over and keeps both, so what comes with a
// start of a server is not active beside ours.
//
// The replicas run where the helper is: on servers, where the role puts it. A provisioner is good for nothing without
// the API, so a server that is lost together with it takes nothing more away.
#include "ha/strategies/local_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/version.h"
#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/placement/level.h"
#include "ha/placement/words.h"
#include "ha/placement/zones.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/local_path_helm.h"
#include "ha/strategies/local_path_standby.h"
#include "ha/strategies/own_local_path.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/rollout.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// The pods that run or may yet run.
std::vector<const Json*> unfinished_pods(const cluster::Snapshot& snapshot, const Json& selector) {
  std::vector<const Json*> pods;
  for (const auto& pod : snapshot.pods) {
    const std::string phase = pod.value("status", Json::object()).value("phase", "");
    if (phase != "Succeeded" && phase != "Failed" &&
        cluster::selects(selector, pod["metadata"].value("labels", Json::object())))
      pods.push_back(&pod);
  }
  return pods;
}

/// Those of a Deployment.
std::vector<const Json*> unfinished_pods_of(const cluster::Snapshot& snapshot, const Json* deployment) {
  if (deployment == nullptr) return {};
  return unfinished_pods(snapshot, (*deployment)["spec"]["selector"]);
}

const Json* node_named(const cluster::Snapshot& snapshot, const std::string& name) {
  for (const auto& node : snapshot.nodes)
    if (node["metadata"]["name"] == name) return &node;
  return nullptr;
}

/// What the node says it carries; null: it says nothing.
Json carried_by(const Json& node) {
  return node["metadata"].value("labels", Json::object()).value(cluster::carries_label, Json());
}

void plan_mark(Planner& planner, const Json& node, const Json& mark, const char* reason) {
  const std::string name = node["metadata"]["name"];
  planner.add({.id = "carries-" + name,
               .action = Action::patch,
               .object = {"v1", "Node", "", name},
               .reason = reason,
               .body = {{"metadata", {{"labels", {{cluster::carries_label, mark}}}}}},
               .uid = node["metadata"].value("uid", "")});
}

/// Nodes by what they need to carry a replica.
struct Carriers {
  std::vector<cluster::Node> nodes;   ///< that can run it and have the helper
  std::vector<const Json*> unmarked;  ///< that have the helper and do not say so
  int eligible = 0;                   ///< that can run it
  int open = 0;                       ///< of `nodes`, hosts that take pods now
};

/// What the chart has made; null: there is none of ours, or it has made nothing.
const Json* made_by_chart(const Planner& planner) {
  if (own_chart(planner.snapshot, local_path_chart) == nullptr) return nullptr;
  return planner.live(local_path_chart.chart.deployment());
}

class LocalPath {
 public:
  /// `aside`: our whole set for the packaged Deployment while it is set aside, where that is another than usual.
  LocalPath(Planner& planner, ChartWay chart, Json aside = local_path_aside_body())
      : planner_(planner),
        way_(std::move(chart)),
        aside_(std::move(aside)),
        alone_(is_custom(planner.spec, local_path) && ships_none(planner.snapshot, local_path)),
        made_(alone_ && planner.live(local_path.deployment) == nullptr ? own_local_path_deployment(planner.snapshot)
                                                                       : Json()),
        packaged_(made_.is_null() ? planner.live(local_path.deployment) : &made_),
        model_(packaged_ == nullptr ? Json() : local_path_model(planner, *packaged_)),
        standby_(planner.live(local_path_standby)),
        charted_(made_by_chart(planner)),
        chart_selector_(charted_ == nullptr ? local_path_chart_selector() : (*charted_)["spec"]["selector"]),
        packaged_pods_(unfinished_pods_of(planner.snapshot, packaged_)),
        standby_pods_(unfinished_pods_of(planner.snapshot, standby_)) {
    if (way_.there) charted_pods_ = unfinished_pods(planner.snapshot, chart_selector_);
  }

  void plan(const std::vector<std::string>& named) {
    const std::string& strategy = planner_.spec.local_path_provisioner_strategy;
    const std::string name = kube::to_string(local_path.deployment);
    if (packaged_ == nullptr && strategy == "helm")
      return planner_.warn(fmt::format("{} is not there: nothing stands in for it.", name));
    if (packaged_ == nullptr) {
      refuse_missing();
      end_chart();
      clear_away("local-path-provisioner is gone");
      return plan_beside_local_path(planner_);
    }
    if (refuse_to_leave_none(planner_, local_path)) return;
    if (!alone_) plan_beside_local_path(planner_);
    if (strategy == "packaged") return give_back();
    if (made_.is_null() && !is_shipped(*packaged_))
      return planner_.warn(fmt::format("{} is not the one that k3s ships: it is left as it is.", name));
    if (standby_ == nullptr && own_chart(planner_.snapshot, local_path_chart) == nullptr &&
        replicas_of(*packaged_) == 0 && !is_unschedulable(*packaged_))
      return planner_.warn(fmt::format("{} has 0 replicas, and not from us: it is left as it is.", name));
    if (strategy == "helm") return plan_chart();
    if (command_of((*packaged_)["spec"]["template"]["spec"]["containers"].at(0)).is_null())
      return planner_.warn(
          fmt::format("{} does not say which program it runs, so none can run it for us: it is left as it is.", name));
    choose(named);
  }

  /// Whether something of the chart stays, or is to come.
  bool keeps_chart() const { return is_wished(planner_.spec, local_path_chart) || (way_.there && !ended_); }

  /// The chart's pod, once no other one is there.
  void bring_chart() {
    const std::size_t before = planner_.steps();
    planner_.fix_count(local_path.deployment, 0);
    end_standby();
    clear_away("the chart's one is active");
    set_aside();
    if (way_.writes || !way_.again.empty()) stop_chart();
    plan_own(planner_, local_path_chart, way_, planner_.steps() > before);
  }

  void bring_in(const Json& body, int replicas) {
    end_chart();
    if (alone_) {
      plan_beside_local_path(planner_);
      set_aside();  // before any of ours may be active: k3s's own is to find it so whenever it comes
    }
    planner_.ensure("local-path-role", local_path_role_body(), "its replicas need a Lease");
    planner_.ensure("local-path-role-binding", local_path_role_binding_body(*packaged_), "its replicas need a Lease");
    planner_.fix_count(local_path.deployment, 0);
    bool changed = true;
    if (standby_ != nullptr && replicas_of(*standby_) != replicas) {
      // Whoever set it; what else differs then is seen in the next round.
      planner_.scale("local-path-scale", local_path_standby, replicas,
                     fmt::format("{} replicas, from {}", replicas, replicas_of(*standby_)));
      planner_.wish(body);
    } else if (!keeps(body)) {
      planner_.apply("local-path-standby", body, "replicas of which one is active, while it holds the Lease");
    } else {
      planner_.wish(body);
      changed = false;
    }
    if (changed || standby_ == nullptr || updating(*standby_))
      planner_.add({.id = "local-path-rollout",
                    .action = Action::wait_rollout,
                    .object = local_path_standby,
                    .reason = "every replica is there"});
    if (!alone_) set_aside();
  }

  void give_back() {
    const bool charted = own_chart(planner_.snapshot, local_path_chart) != nullptr;
    const bool touched = !cluster::applied_fields(*packaged_, kube::field_manager).empty() ||
                         count_is_ours(*packaged_) ||
                         ((standby_ != nullptr || charted) && replicas_of(*packaged_) == 0);
    end_chart();
    end_standby();
    if (touched) {
      const Json none = apply_body(local_path.deployment);
      const HandBack back = is_taken_over(*packaged_) ? hand_back_to(theirs(), *packaged_, none) : HandBack{none};
      if (back.disowns) planner_.set_aside(local_path.deployment);
      plan_rollout(planner_, local_path, *packaged_, {.body = back.body, .replicas = 1, .count = Count::released});
      if (back.disowns) planner_.disown("local-path-back", none);
    }
    clear_away("k3s ships none");
  }

  /// None of ours, and none of k3s's either: as a run that was ended leaves it.
  void hold_aside() {
    end_standby();
    clear_away("it was not there before");
    set_aside();
  }

  /// Ours where there was none before.
  void take_away() {
    const char* reason = "it was not there before";
    end_standby();
    clear_away(reason);
    planner_.remove_own("local-path-aside", local_path.deployment, reason);
  }

  const Json* packaged() const { return packaged_; }

 private:
  /// Who was told to do without may have volumes of another kind: what he did not ask for is not made.
  void refuse_missing() {
    const auto& spec = planner_.spec;
    if (is_custom(spec, local_path)) return planner_.warn(missing_words(planner_, local_path));
    if (standby_ != nullptr || spec.local_path_provisioner_strategy == "packaged" ||
        spec.local_path_provisioner_replicas.value_or(1) < 2)
      return;
    planner_.refuse(ExitStatus::unsafe,
                    fmt::format("local_path_provisioner_replicas is {}, but {}", *spec.local_path_provisioner_replicas,
                                missing_words(planner_, local_path)));
  }

  /// The Deployment as k3s ships it: it has set what it declares at its start, and until it comes to that ours is what
  /// it ships. Not by its annotation, which lacks what the API server adds to values that are one with their defaults.
  Json theirs() const {
    Json whole = *packaged_;
    whole["spec"].erase("replicas");
    whole["spec"]["template"]["spec"].erase("affinity");
    return whole;
  }

  void choose(const std::vector<std::string>& named) {
    const Carriers carriers = find_carriers(named);
    const Sizing sizing = size_local_path(planner_.spec, carriers.nodes, carriers.eligible);
    if (sizing.refusal) return planner_.refuse(sizing.refusal->status, sizing.refusal->message);
    const auto warn_of_no_carrier = [&](const char* then) {
      planner_.warn(
          fmt::format("No node{} says that it carries the helper, which local-path-provisioner's replicas need: "
                      "{}. The role sees to it, or --carrier.",
                      planner_.spec.node_affinity.empty() ? "" : " that node_affinity allows", then));
    };
    if (carriers.nodes.empty() && standby_ != nullptr) return warn_of_no_carrier("they are left as they are");
    if (carriers.nodes.empty() && alone_) return warn_of_no_carrier("none is made");
    const int replicas = alone_ ? std::max(1, sizing.min_replicas) : sizing.min_replicas;
    if (replicas == 0) {
      if (carriers.eligible > 1 && planner_.spec.level != "none")
        warn_of_no_carrier("it stays as k3s ships it");
      else if (!planner_.spec.node_affinity.empty())
        planner_.warn(affinity_left_out("local-path-provisioner"));
      return give_back();
    }
    if (made_.is_null()) check_shipped(planner_, local_path, *packaged_);
    if (refuse_paused(planner_, local_path, *packaged_)) return;
    const Json body = local_path_standby_body(model_, planner_.spec, zones_of(carriers.nodes), replicas);
    if (!keeps(body) && carriers.open < replicas)
      return planner_.leave(
          fmt::format("local-path-provisioner is left as it is for now: its {} replicas need a node "
                      "each that carries the helper, and {} of those take pods now.",
                      replicas, carriers.open));
    if (!keeps(body) && !find_room(planner_, local_path, body["spec"]["template"], carriers.nodes, replicas,
                                   placement(standby_pods_, replicas)))
      return;
    for (const Json* node : carriers.unmarked)
      plan_mark(planner_, *node, std::string(version), "it has the helper, so pods that need it can run there");
    bring_in(body, replicas);
  }

  Carriers find_carriers(const std::vector<std::string>& named) const {
    Carriers carriers;
    std::set<std::string> open;
    for (auto& node : cluster::judge_nodes(planner_.snapshot, packaged_pod_spec(), planner_.spec.zone_label)) {
      if (!node.eligible()) continue;
      ++carriers.eligible;
      const Json* object = node_named(planner_.snapshot, node.name);
      const Json carried = carried_by(*object);
      const bool is_named = std::find(named.begin(), named.end(), node.name) != named.end();
      if (is_named && carried != version) carriers.unmarked.push_back(object);
      if (!is_named && carried.is_null()) continue;
      if (node.open()) open.insert(node.host);
      carriers.nodes.push_back(std::move(node));
    }
    carriers.open = static_cast<int>(open.size());
    return carriers;
  }

  /// So many, with those that have a node already. Of higher priority than CoreDNS, the rest could push it out.
  static Placement placement(const std::vector<const Json*>& pods, int replicas) {
    Placement placement;
    for (const Json* pod : pods)
      if (std::string node = (*pod)["spec"].value("nodeName", ""); !node.empty())
        placement.staying.push_back(std::move(node));
    placement.pods = std::max(0, replicas - static_cast<int>(placement.staying.size()));
    return placement;
  }

  Json packaged_pod_spec() const {
    Json pod = model_["spec"]["template"]["spec"];
    narrow_nodes(pod, planner_.spec);
    return pod;
  }

  void plan_chart() {
    if (const int replicas = planner_.spec.local_path_provisioner_replicas.value_or(1); replicas > 1)
      planner_.refuse(ExitStatus::unsafe,
                      fmt::format("local_path_provisioner_replicas is {}, but of the chart's pods all would be active, "
                                  "and two that are can delete each other's volumes: 1 is allowed, or strategy "
                                  "replicas, which has one of them active.",
                                  replicas));
    if (planner_.refused()) return;
    check_shipped(planner_, local_path, *packaged_);
    if (refuse_paused(planner_, local_path, *packaged_)) return;
    if (way_.writes && !has_room()) return;
    if (own_chart(planner_.snapshot, local_path_chart) == nullptr)
      planner_.warn(
          "Strategy helm has one local-path-provisioner and no standby: while its node cannot be reached no volume is "
          "made or removed, until that node is back or is said to be off. Strategy replicas has another go on.");
    if (charted_ != nullptr && !keeps_others_away(*charted_))
      planner_.warn(
          "The chart of local_path_provisioner_chart does not take commonLabels and affinity, so a second "
          "local-path-provisioner may start when somebody else changes it or drains its node.");
    const std::size_t before = planner_.steps();
    bring_chart();
    if (const std::string why = unreachable(charted_pods_); planner_.steps() == before && !why.empty())
      planner_.leave(why);
  }

  bool has_room() {
    Json pod_template = model_["spec"]["template"];
    pod_template["spec"] = local_path_chart_pod(planner_, *packaged_);
    const auto nodes = cluster::judge_nodes(planner_.snapshot, pod_template["spec"], planner_.spec.zone_label);
    return find_room(planner_, local_path, pod_template, nodes, 1, placement(charted_pods_, 1));
  }

  /// Ours behind the Lease to their end: none of them may be active beside what comes.
  void end_standby() {
    if (standby_ == nullptr) return;
    refuse_unreachable(standby_pods_);
    if (replicas_of(*standby_) > 0) {
      planner_.scale("local-path-scale", local_path_standby, 0, "none of ours may be active beside another one");
      planner_.only_by_plan();
    }
    if (replicas_of(*standby_) > 0 || !standby_pods_.empty())
      wait_gone("local-path-standby-gone", local_path_standby, (*standby_)["spec"]["selector"]);
  }

  /// The chart's pod to its end: at a change its Deployment would make the next one beside it. The chart makes the
  /// Deployment anew.
  void stop_chart() {
    refuse_unreachable(charted_pods_);
    if (charted_ != nullptr) {
      planner_.add({.id = "local-path-helm-stop",
                    .action = Action::remove,
                    .object = kube::ref_of(*charted_),
                    .reason = "its rollout would have two active; the chart makes it anew",
                    .uid = (*charted_)["metadata"].value("uid", ""),
                    .made_anew = true});
      planner_.only_by_plan();
    }
    if (charted_ != nullptr || !charted_pods_.empty())
      wait_gone("local-path-helm-stopped", local_path_chart.chart.deployment(), chart_selector_);
  }

  void end_chart() {
    ended_ = true;
    if (!way_.there) return;
    refuse_unreachable(charted_pods_);
    const bool there = own_chart(planner_.snapshot, local_path_chart) != nullptr;
    plan_without(planner_, local_path_chart);
    if (!there && !charted_pods_.empty())
      wait_gone("local-path-helm-stopped", local_path_chart.chart.deployment(), chart_selector_);
  }

  bool keeps(const Json& body) const {
    return standby_ != nullptr && keeps_template(*standby_, body) && keeps_rest(*standby_, body);
  }

  void set_aside() {
    refuse_unreachable(packaged_pods_);
    bool changed = false;
    if (alone_ || is_taken_over(*packaged_)) {
      changed = hold_whole();
    } else if (is_unschedulable(*packaged_) && replicas_of(*packaged_) > 0) {
      planner_.scale("local-path-aside", local_path.deployment, 0, "it is set aside, and its pods could not run");
      planner_.wish(aside_);
      changed = true;
    } else if (planner_.ensure("local-path-aside", aside_, "no packaged pod may be active beside ours")) {
      planner_.only_by_plan();
      changed = true;
    }
    if (changed || !packaged_pods_.empty())
      wait_gone("local-path-gone", local_path.deployment, (*packaged_)["spec"]["selector"]);
  }

  /// The Deployment where it is wholly ours: set aside, and of our release while k3s ships none; from then on no more
  /// of it is ours than of any other that is set aside.
  bool hold_whole() {
    const std::size_t before = planner_.steps();
    const char* id = "local-path-aside";
    if (alone_) {
      planner_.set_aside(local_path.deployment);
      planner_.ensure(id, cluster::overlay(own_local_path_deployment(planner_.snapshot), aside_),
                      "k3s was started with --disable local-storage, so this is its Deployment, set aside");
    } else {
      plan_set_to(planner_, id, theirs(), aside_, "no packaged pod may be active beside ours");
    }
    return planner_.steps() > before;
  }

  void wait_gone(const char* id, const kube::ObjectRef& deployment, const Json& selector) {
    planner_.add({.id = id,
                  .action = Action::wait_pods_gone,
                  .object = deployment,
                  .reason = "two that are active can delete each other's volumes",
                  .selector = cluster::selector_words(selector)});
  }

  void refuse_unreachable(const std::vector<const Json*>& pods) {
    if (std::string why = unreachable(pods); !why.empty()) planner_.refuse(ExitStatus::unsafe, std::move(why));
  }

  /// A sentence where one of the pods is on a node that is not ready: whether it is active there cannot be told.
  std::string unreachable(const std::vector<const Json*>& pods) const {
    const auto nodes = cluster::judge_nodes(planner_.snapshot, Json::object());
    for (const Json* pod : pods) {
      const std::string name = (*pod)["spec"].value("nodeName", "");
      const auto node = std::find_if(nodes.begin(), nodes.end(), [&](const auto& other) { return other.name == name; });
      if (name.empty() || (node != nodes.end() && node->ready)) continue;
      return fmt::format(
          "Pod {} of local-path-provisioner is on {}, which is not ready, so whether it works there "
          "cannot be told, and two that are active can delete each other's volumes. Once that node is "
          "off for certain, say so (kubectl taint nodes {} "
          "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute): Kubernetes then removes the pod.",
          (*pod)["metadata"].value("name", ""), name, name);
    }
    return {};
  }

  void clear_away(const char* reason) {
    for (const auto& ref : {local_path_standby, local_path_role_binding, local_path_role})
      planner_.unguard(ref);
    planner_.remove_own("local-path-standby", local_path_standby, reason);
    planner_.remove_own("local-path-role-binding", local_path_role_binding, reason);
    planner_.remove_own("local-path-role", local_path_role, reason);
    planner_.remove_own("local-path-lease", local_path_lease, reason);
  }

  Planner& planner_;
  const ChartWay way_;
  const Json aside_;
  const bool alone_;  ///< k3s ships none, and all of it is to be ours
  const Json made_;  ///< the Deployment that is to be made in the place of k3s's; null: there is one, or none is wished
  const Json* packaged_;  ///< that, or k3s's; null: there is none
  const Json model_;      ///< what ours are derived from
  const Json* standby_;
  const Json* charted_;  ///< the Deployment that our chart has made
  const Json chart_selector_;
  const std::vector<const Json*> packaged_pods_;
  const std::vector<const Json*> standby_pods_;
  std::vector<const Json*> charted_pods_;
  bool ended_ = false;  ///< the chart is to go
};

}  // namespace

Json local_path_model(const Planner& planner, const Json& packaged) {
  Json model = cluster::overlay(packaged, settings_body(packaged, planner.spec.local_path_provisioner_pods));
  if (is_unschedulable(packaged)) model["spec"]["template"]["spec"]["affinity"].erase("nodeAffinity");
  return model;
}

bool plan_local_path(Planner& planner, const std::vector<std::string>& carriers, const ChartWay& chart) {
  LocalPath local(planner, chart);
  local.plan(carriers);
  return local.keeps_chart();
}

void plan_local_path_back(Planner& planner, const Planner& earlier) {
  const Json* was = earlier.live(local_path.deployment);
  const bool charted =
      was != nullptr && is_unschedulable(*was) && own_chart(earlier.snapshot, local_path_chart) != nullptr;
  const bool was_ours = was != nullptr && is_taken_over(*was);
  if (was_ours) planner.set_aside(local_path.deployment);
  LocalPath now(planner,
                charted ? design_back(planner, earlier, local_path_chart) : design_without(planner, local_path_chart),
                was_ours ? cluster::body_from_fields(*was, cluster::applied_fields(*was, kube::field_manager))
                         : local_path_aside_body());
  const Json* standby = earlier.live(local_path_standby);
  if (now.packaged() == nullptr) return;
  const auto marks_back = [&](bool given) {
    for (const auto& node : planner.snapshot.nodes) {
      const Json* before = node_named(earlier.snapshot, node["metadata"]["name"]);
      if (before == nullptr || carried_by(*before) == carried_by(node)) continue;
      if (carried_by(*before).is_null() != given) plan_mark(planner, node, carried_by(*before), "as it was before");
    }
  };
  if (was == nullptr) {
    if (is_taken_over(*now.packaged())) now.take_away();
    return marks_back(false);
  }
  marks_back(true);
  // Beside a packaged one that could still run, ours of a change half-way served nobody.
  if (charted) {
    now.bring_chart();
  } else if (standby != nullptr && is_unschedulable(*was)) {
    Json body = cluster::body_from_fields(*standby, cluster::applied_fields(*standby, kube::field_manager));
    body["spec"]["replicas"] = replicas_of(*standby);
    now.bring_in(body, replicas_of(*standby));
  } else if (was_ours) {
    now.hold_aside();
  } else {
    now.give_back();
  }
  marks_back(false);
}

Json local_path_stands(const Planner& planner) {
  const Json* packaged = planner.live(local_path.deployment);
  if (packaged == nullptr) return {{"strategy", nullptr}, {"replicas", 0}, {"ready", 0}, {"nodes", Json::array()}};
  if (const Json* charted = made_by_chart(planner); charted != nullptr && is_unschedulable(*packaged))
    return stands(*charted, "helm", nodes_of(planner.snapshot.pods, *charted));
  const Json* standby = planner.live(local_path_standby);
  const bool ours = standby != nullptr && is_unschedulable(*packaged);
  const Json* serving = ours ? standby : packaged;
  std::set<std::string> nodes;
  for (const Json* pod : unfinished_pods_of(planner.snapshot, serving))
    if (const std::string node = (*pod)["spec"].value("nodeName", ""); !node.empty()) nodes.insert(node);
  Json stands = {{"strategy", !ours                      ? "packaged"
                              : is_taken_over(*packaged) ? "custom"
                                                         : "replicas"},
                 {"replicas", replicas_of(*serving)},
                 {"ready", serving->value("status", Json::object()).value("readyReplicas", 0)},
                 {"nodes", nodes}};
  if (!ours) return stands;
  // `lead` names itself by the pod and random digits.
  const Json* lease = planner.live(local_path_lease);
  const std::string holder =
      lease == nullptr ? "" : lease->value("spec", Json::object()).value("holderIdentity", std::string());
  stands["active"] = holder.substr(0, holder.rfind('_'));
  return stands;
}

}  // namespace core_ha::ha

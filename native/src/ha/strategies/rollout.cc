// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "cluster/managed_fields.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

class Rollout {
 public:
  Rollout(Planner& planner, const Component& component, const Json& deployment, const Target& target)
      : planner_(planner),
        component_(component),
        deployment_(deployment),
        target_(target),
        now_(replicas_of(deployment)),
        most_(target.seconded ? 2 : std::max(now_, target.replicas)) {}

  void plan() {
    const bool raises = target_.seconded || (target_.count != Count::released && now_ < target_.replicas);
    const bool lowers = target_.count == Count::fixed && most_ > target_.replicas;
    const bool resets = target_.count == Count::released && (target_.seconded || now_ != target_.replicas);
    if (refuse_paused(planner_, component_, deployment_)) return;
    if ((raises || lowers) && refuse_foreign_count(planner_, component_, deployment_, target_.replicas)) return;
    if (target_.count == Count::fixed) planner_.fix_count(component_.deployment, target_.replicas);
    if (raises) {
      scale("scale", most_, now_, target_.seconded ? "one answers while the other is replaced" : "so many");
      wait("scaled", "as many replicas as wished, all available");
    }
    if (target_.once_raised) target_.once_raised();
    const std::string reason = cluster::fields_in(target_.body).empty() ? "no field of ours is left"
                               : target_.body.contains("spec")          ? "what makes its end and spread safe"
                                                                        : "its pods are as they were";
    Json body = target_.body;
    // Held by manifests of ours and dropped here, the count would be 1 at once: it is let go last of all. And one that
    // is to be reset is held as soon as nothing else might be ours any more, so that a run after one that was killed
    // here finds it: the API server keeps no manager of a scaled count that nobody held before.
    const bool held = cluster::applied_fields(deployment_, kube::field_manager).contains(replicas_field);
    const bool already = target_.count == Count::released && !resets && now_ == 1;
    const bool marked = resets && count_may_go(deployment_) && !planner_.holds(target_.body);
    if ((held && !already) || marked) body["spec"]["replicas"] = most_;
    if (planner_.ensure(id("overlay"), body, reason) || updating(deployment_))
      wait("rollout", "every replica runs the wished template and is available");
    if (lowers) {
      scale("scale-in", target_.replicas, most_, "no more than so many");
      wait("scaled-in", "as many replicas as wished, all available");
    }
    if (resets && count_may_go(deployment_))
      release();
    else if (resets)
      warn_of_count(planner_, component_, deployment_);
    else if (held && !already && target_.count == Count::released)
      let_go();
  }

 private:
  std::string id(const char* what) const { return fmt::format("{}-{}", component_.id, what); }

  void scale(const char* what, int replicas, int from, const char* why) {
    planner_.scale(id(what), component_.deployment, replicas,
                   fmt::format("{}: {} replicas, from {}", why, replicas, from));
  }

  void wait(const char* what, const char* why) {
    if (target_.waits)
      planner_.add({.id = id(what), .action = Action::wait_rollout, .object = component_.deployment, .reason = why});
  }

  /// Held for a moment and let go: then the count is nobody's, as k3s leaves it.
  void release() {
    Json body = target_.body;
    body["spec"]["replicas"] = target_.replicas;
    planner_.apply(id("count"), body,
                   fmt::format("{} replica, from {}, and no holder of the count", target_.replicas, most_));
    wait("scaled-in", "as many replicas as wished, all available");
    let_go();
  }

  /// A count that its only holder drops is 1 at once: another one is let go by our mark alone.
  void let_go() {
    if (target_.replicas == 1)
      planner_.apply(id("count-free"), target_.body, "the count is nobody's");
    else
      planner_.disown(id("count-free"), target_.body);
  }

  Planner& planner_;
  const Component& component_;
  const Json& deployment_;
  const Target& target_;
  const int now_;
  const int most_;  ///< on the way
};

}  // namespace

void plan_rollout(Planner& planner, const Component& component, const Json& deployment, const Target& target) {
  Rollout(planner, component, deployment, target).plan();
}

}  // namespace core_ha::ha

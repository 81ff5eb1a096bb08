// SPDX-License-Identifier: GPL-3.0-or-later
//
// Of a Deployment that is not k3s's nothing is known but what the API says. So only what cannot harm is laid over it:
//   spreads are soft, and left out where it has one of its own over the same nodes: with a hard one, or a required
//   anti-affinity, a workload with more replicas than hosts could never roll out again. Spreads merge with others by
//   their key, while a list of anti-affinity terms has one owner.
//   no preStop: its images may need to end at once, and who asks its pods is not known.
//   `node_affinity` is not asked of it: that says where k3s's components run; it has a pod template of its own for
//   that.
// What makes more than one replica unsafe is refused, as far as the API tells: Recreate, and claims that one node
// mounts.
//
// The count is not ours by nature, as with k3s's components, where it is 1. So what it was is noted first, in a label
// beside the one by which the Deployment is found again; both go last. Whatever a run is stopped at, the Deployment
// itself says that there is something to give back, and what.
#include "ha/strategies/extra.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/level.h"
#include "ha/placement/zones.h"
#include "ha/state.h"
#include "ha/strategies/component.h"
#include "ha/strategies/placing.h"
#include "ha/strategies/rollout.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// Label of such a Deployment: how many replicas it had before we came. An annotation would be copied to its
/// ReplicaSets, and stay there.
constexpr const char* had_label = "k3s-core-ha/replicas-before";

constexpr std::string_view budget_prefix = "k3s-core-ha-";

const cluster::FieldPath unavailable_field{"f:spec", "f:strategy", "f:rollingUpdate", "f:maxUnavailable"};
const cluster::FieldPath had_field{"f:metadata", "f:labels", std::string("f:") + had_label};

kube::ObjectRef budget_of(const kube::ObjectRef& deployment) {
  return {"policy/v1", "PodDisruptionBudget", deployment.ns, std::string(budget_prefix) + deployment.name};
}

/// A Deployment of the user's as the parts that components share know one.
struct Extra {
  explicit Extra(const kube::ObjectRef& ref)
      : id(fmt::format("extra-{}/{}", ref.ns, ref.name)),
        title(fmt::format("Deployment {}/{}", ref.ns, ref.name)),
        component{.id = id,
                  .title = title,
                  .strategy = "extra_deployments",
                  .addon = {},
                  .manifest = {},
                  .deployment = ref,
                  .budget = budget_of(ref),
                  .label = cluster::extra_component} {}
  Extra(const Extra&) = delete;
  Extra& operator=(const Extra&) = delete;

  const std::string id;
  const std::string title;
  const Component component;
};

/// How many replicas it had before we came; nothing: we have not.
std::optional<int> noted(const Json& deployment) {
  if (!cluster::applied_fields(deployment, kube::field_manager).contains(had_field)) return std::nullopt;
  const std::string text = deployment["metadata"]["labels"].value(had_label, "");
  int had = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), had);
  return parsed.ec == std::errc() && had >= 0 ? had : replicas_of(deployment);
}

Json note(const kube::ObjectRef& ref, int had) {
  Json body = apply_body(ref);
  body["metadata"]["labels"] = {{cluster::extra_label, "true"}, {had_label, std::to_string(had)}};
  return body;
}

/// A count, or a share of `replicas`, as rollouts have it.
double share_of(const Json& value, int replicas) {
  if (value.is_number_integer()) return value.get<int>();
  return value.is_string() ? std::strtod(value.get_ref<const std::string&>().c_str(), nullptr) / 100 * replicas : 0;
}

/// How many of so many replicas its rollout may be short of.
int unavailable(const Json& deployment, int replicas) {
  const Json rolling = deployment.value(Json::json_pointer("/spec/strategy/rollingUpdate"), Json::object());
  const int less = static_cast<int>(std::floor(share_of(rolling.value("maxUnavailable", Json("25%")), replicas)));
  const int more = static_cast<int>(std::ceil(share_of(rolling.value("maxSurge", Json("25%")), replicas)));
  return less == 0 && more == 0 ? 1 : less;
}

bool has_spread(const Json& pod_spec, const std::string& topology_key) {
  const Json spreads = pod_spec.value("topologySpreadConstraints", Json::array());
  return std::any_of(spreads.begin(), spreads.end(),
                     [&](const Json& spread) { return spread.value("topologyKey", "") == topology_key; });
}

Json overlay(const Planner& planner, const Json& deployment, const Zones& zones, int had, int replicas) {
  Json body = note(kube::ref_of(deployment), had);
  const Json theirs = cluster::without_applied(deployment, kube::field_manager)["spec"]["template"]["spec"];
  const Json& selector = deployment["spec"]["selector"];
  const std::string host_label = "kubernetes.io/hostname";
  Json spreads = Json::array();
  if (!has_spread(theirs, host_label)) spreads.push_back(soft_spread(host_label, selector));
  if (zones.several() && !has_spread(theirs, planner.spec.zone_label))
    spreads.push_back(zone_spread(planner.spec, selector));
  if (!spreads.empty()) body["spec"]["template"]["spec"]["topologySpreadConstraints"] = spreads;
  const bool ours = cluster::applied_fields(deployment, kube::field_manager).contains(unavailable_field);
  if (ours || unavailable(deployment, replicas) > 1) body["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = 1;
  return body;
}

/// Whether all of it is held in our name alone: so kubectl does it at the first server-side apply, of manifests of
/// ours, after client-side ones. What we dropped then would be gone.
bool is_swallowed(const Json& deployment) {
  return cluster::owners_of(deployment, {"f:spec", "f:selector"}) ==
         std::vector<std::string>{std::string(kube::field_manager)};
}

std::string swallowed_words(std::string_view title) {
  return fmt::format(
      "{} is held whole in the name {}, as kubectl makes it of what its client applied before: first "
      "apply its own manifest by server-side apply in another name.",
      title, kube::field_manager);
}

bool is_applied_by_client(const Json& deployment) {
  const Json entries = deployment["metadata"].value("managedFields", Json::array());
  return std::any_of(entries.begin(), entries.end(),
                     [](const Json& entry) { return entry.value("manager", "") == "kubectl-client-side-apply"; });
}

/// Whether all replicas are of the Deployment's own template and available.
bool healthy(const Json& deployment) {
  return !updating(deployment) &&
         deployment.value("status", Json::object()).value("availableReplicas", 0) >= replicas_of(deployment);
}

/// Why more than one replica would be unsafe, as the rest of a sentence; empty: nothing tells.
std::string against_several(const Planner& planner, const Json& deployment) {
  if (deployment["spec"].value("strategy", Json::object()).value("type", "") == "Recreate")
    return "has strategy Recreate, by which no two of its pods are to run at once";
  const std::string ns = deployment["metadata"]["namespace"];
  for (const auto& volume : deployment["spec"]["template"]["spec"].value("volumes", Json::array())) {
    if (!volume.contains("persistentVolumeClaim")) continue;
    const std::string name = volume["persistentVolumeClaim"].value("claimName", "");
    const Json* claim = cluster::find_named(planner.snapshot.persistentvolumeclaims, name, ns);
    if (claim == nullptr) return fmt::format("mounts PersistentVolumeClaim {}/{}, which is not there", ns, name);
    const Json modes = (*claim)["spec"].value("accessModes", Json::array());
    const bool shared = std::any_of(modes.begin(), modes.end(),
                                    [](const Json& mode) { return mode == "ReadWriteMany" || mode == "ReadOnlyMany"; });
    if (!shared)
      return fmt::format("mounts PersistentVolumeClaim {}/{}, which is {}: one node alone has it", ns, name,
                         modes.empty() ? "of no mode" : modes.front().get<std::string>());
  }
  return {};
}

/// What a manifest in k3s's directory declares otherwise would be set back: refused (exit 4), true.
bool refuse_contested(Planner& planner, const Json& deployment, const cluster::FieldPath& field, int wish) {
  const auto manifest = cluster::applied_manifest(deployment);
  if (cluster::durability(manifest, field, wish) == cluster::Durability::durable) return false;
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("{} of {} is {} in the manifest that k3s applies, which would set it back from {} at the "
                             "next start of a server: change it there.",
                             cluster::to_string(field), kube::to_string(kube::ref_of(deployment)),
                             cluster::value_at(*manifest, field)->dump(), wish));
  return true;
}

/// Gives back what it had, from wherever an earlier run was stopped.
void plan_back(Planner& planner, const Json& deployment) {
  const Extra extra(kube::ref_of(deployment));
  const auto had = noted(deployment);
  if (!had) return;
  if (is_swallowed(deployment)) return planner.warn(swallowed_words(extra.title));
  std::set<cluster::FieldPath> kept;  // the note, and what makes the rollout gentle
  for (const auto& path : cluster::applied_fields(deployment, kube::field_manager))
    if (path != replicas_field && (path.size() < 2 || path[1] != "f:template")) kept.insert(path);
  const bool scaled = !foreign_autoscaler(planner.snapshot, extra.component).empty();
  plan_rollout(planner, extra.component, deployment,
               {.body = cluster::body_from_fields(deployment, kept),
                .replicas = scaled ? replicas_of(deployment) : *had,
                .count = Count::released,
                .waits = healthy(deployment)});
  planner.ensure(extra.id + "-free", apply_body(extra.component.deployment), "no field of ours is left");
}

/// Of its pods, as admission wrote it into them.
int priority_of(const Planner& planner, const Json& deployment) {
  const auto pods = pods_of(planner.snapshot.extra_pods, deployment);
  return pods.empty() ? 0 : (*pods.front())["spec"].value("priority", 0);
}

class ExtraPlan {
 public:
  ExtraPlan(Planner& planner, const ExtraDeployment& wish, const Json& deployment)
      : planner_(planner), wish_(wish), deployment_(deployment), extra_(wish.ref()) {}

  /// `before`: pods of others that the plan makes first; gives those that it makes besides.
  int plan(int before) {
    if (is_swallowed(deployment_)) return refuse({ExitStatus::conflict, swallowed_words(title())});
    if (is_applied_by_client(deployment_)) planner_.keep_out_of_manifests(extra_.component.deployment);
    const Json& pod = deployment_["spec"]["template"]["spec"];
    const auto nodes = cluster::judge_nodes(planner_.snapshot, pod, planner_.spec.zone_label);
    const int now = replicas_of(deployment_);
    // A count that another program holds is what it holds, not what it was.
    const int had = count_holder(deployment_).empty() ? noted(deployment_).value_or(now) : now;
    const Sizing sizing = size_extra(planner_.spec, wish_, nodes, had, has_host_ports(pod));
    if (sizing.refusal) return refuse(*sizing.refusal);
    const int replicas = sizing.min_replicas;
    if (replicas < 2) return give_back();
    if (now == 0 && !wish_.replicas && !noted(deployment_)) return leave("it is switched off, with 0 replicas");
    if (const std::string why = against_several(planner_, deployment_); !why.empty())
      return refuse({ExitStatus::unsafe,
                     fmt::format("extra_deployments asks for {} replicas of {}, which {}.", replicas, title(), why)});
    if (refuse_foreign_autoscaler(planner_, extra_.component)) return 0;
    const Json body = overlay(planner_, deployment_, zones_of(nodes), had, replicas);
    if (refuse_contested(planner_, deployment_, replicas_field, replicas)) return 0;
    if (cluster::value_at(body, unavailable_field) != nullptr &&
        refuse_contested(planner_, deployment_, unavailable_field, 1))
      return 0;
    if (planner_.holds(body) && now == replicas) {
      planner_.wish(body);
      planner_.fix_count(extra_.component.deployment, replicas);
      plan_budget(planner_, extra_.component, deployment_, replicas);
      return 0;
    }
    if (refuse_foreign_count(replicas)) return 0;
    if (!healthy(deployment_)) return leave("not all of its replicas are available");
    return change(body, nodes, replicas, before);
  }

 private:
  const std::string& title() const { return extra_.title; }
  int refuse(Error error) {
    planner_.refuse(error.status, std::move(error.message));
    return 0;
  }
  int leave(const char* why) {
    planner_.leave(fmt::format("{} is left as it is for now: {}.", title(), why));
    return 0;
  }
  int give_back() {
    planner_.remove_own(extra_.id + "-budget", extra_.component.budget, "there is nothing to be had");
    plan_back(planner_, deployment_);
    return 0;
  }
  bool refuse_foreign_count(int replicas) {
    return replicas_of(deployment_) != replicas &&
           ha::refuse_foreign_count(planner_, extra_.component, deployment_, replicas);
  }

  int change(const Json& body, const std::vector<cluster::Node>& nodes, int replicas, int before) {
    const Json pod_template = cluster::overlay(deployment_, body)["spec"]["template"];
    Placement placement{.staying = nodes_of(planner_.snapshot.extra_pods, deployment_),
                        .priority = priority_of(planner_, deployment_),
                        .before = before,
                        .stacked = before};
    const int missing = std::max(0, replicas - static_cast<int>(placement.staying.size()));
    // A rollout that may not be short of any replica needs room for one more.
    const bool rolls = pod_template != deployment_["spec"]["template"];
    placement.pods = missing + (rolls && unavailable(deployment_, replicas) == 0 ? 1 : 0);
    if (!find_room(planner_, extra_.component, pod_template, nodes, replicas, placement)) return 0;
    if (!noted(deployment_)) {
      const auto held = cluster::applied_fields(deployment_, kube::field_manager);
      planner_.apply(extra_.id + "-note",
                     cluster::overlay(cluster::body_from_fields(deployment_, held),
                                      note(extra_.component.deployment, replicas_of(deployment_))),
                     fmt::format("how many replicas it had is noted: {}", replicas_of(deployment_)));
    }
    plan_rollout(planner_, extra_.component, deployment_, {.body = body, .replicas = replicas, .count = Count::fixed});
    plan_budget(planner_, extra_.component, deployment_, replicas);
    return missing;
  }

  Planner& planner_;
  const ExtraDeployment& wish_;
  const Json& deployment_;
  const Extra extra_;
};

/// Plans for one of the wish; gives the pods that it makes besides `before`, which the plan makes first.
int plan_extra(Planner& planner, const ExtraDeployment& wish, int before) {
  if (const Json* deployment = planner.live(wish.ref())) return ExtraPlan(planner, wish, *deployment).plan(before);
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("extra_deployments names Deployment {}/{}, which is not there.", wish.ns, wish.name));
  return 0;
}

/// Why the wish would be refused for this one alone; nothing: it would not.
std::optional<Error> refusal_of(const Planner& planner, const ExtraDeployment& wish) {
  Plan plan;
  Planner trial(planner.spec, planner.snapshot, plan);
  plan_extra(trial, wish, 0);
  return plan.refusal;
}

/// Whether the cluster keeps this very wish already: then it was not refused when it was new.
bool is_kept(const Planner& planner) {
  const Json* state = planner.live(state_object);
  const auto kept = state == nullptr ? std::nullopt : read_state(*state);
  return kept && kept->spec == to_json(planner.spec).dump();
}

bool is_wished(const Spec& spec, const kube::ObjectRef& ref) {
  return std::any_of(spec.extra_deployments.begin(), spec.extra_deployments.end(),
                     [&](const ExtraDeployment& wish) { return wish.ref() == ref; });
}

/// Deployments that carry a note of ours, and are not wished.
std::vector<const Json*> left_behind(const Planner& planner) {
  std::vector<const Json*> found;
  for (const auto& deployment : planner.snapshot.deployments)
    if (noted(deployment) && !is_wished(planner.spec, kube::ref_of(deployment))) found.push_back(&deployment);
  return found;
}

}  // namespace

void plan_extras(Planner& planner) {
  for (const auto& budget : planner.snapshot.poddisruptionbudgets) {
    const auto& wishes = planner.spec.extra_deployments;
    const auto ref = kube::ref_of(budget);
    const std::string component =
        budget["metadata"].value("labels", Json::object()).value(cluster::component_label, "");
    const bool ours = component == cluster::extra_component && ref.name.starts_with(budget_prefix);
    if (ours && std::none_of(wishes.begin(), wishes.end(),
                             [&](const ExtraDeployment& wish) { return budget_of(wish.ref()) == ref; }))
      planner.remove_own(fmt::format("extra-{}/{}", ref.ns, ref.name.substr(budget_prefix.size())) + "-budget", ref,
                         "its Deployment is not wished any more");
  }
  for (const Json* deployment : left_behind(planner))
    plan_back(planner, *deployment);
  int before = planner.expected;
  for (const auto& wish : planner.spec.extra_deployments) {
    // What its owner did to it since must not keep k3s's components from being repaired.
    if (const auto refusal = is_kept(planner) ? refusal_of(planner, wish) : std::nullopt)
      planner.warn(fmt::format("Deployment {}/{} is left as it is: {}", wish.ns, wish.name, refusal->message));
    else
      before += plan_extra(planner, wish, before);
  }
}

void plan_extras_back(Planner& planner, const Planner& earlier) {
  for (const auto& deployment : planner.snapshot.deployments) {
    const Extra extra(kube::ref_of(deployment));
    const Json* was = earlier.live(extra.component.deployment);
    if (was == nullptr || (!noted(deployment) && !noted(*was))) continue;
    const Json* budget = earlier.live(extra.component.budget);
    if (budget == nullptr) planner.remove_own(extra.id + "-budget", extra.component.budget, "it was not there before");
    if (!noted(*was)) {
      plan_back(planner, deployment);
      continue;
    }
    const auto held = cluster::applied_fields(*was, kube::field_manager);
    plan_rollout(planner, extra.component, deployment,
                 {.body = cluster::body_from_fields(*was, held),
                  .replicas = replicas_of(*was),
                  .count = Count::fixed,
                  .waits = healthy(deployment)});
    if (budget != nullptr)
      planner.ensure(extra.id + "-budget",
                     cluster::body_from_fields(*budget, cluster::applied_fields(*budget, kube::field_manager)),
                     "as it was before");
  }
}

Json extras_stand(const Planner& planner) {
  Json all = Json::object();
  for (const auto& deployment : planner.snapshot.deployments) {
    const auto ref = kube::ref_of(deployment);
    const bool overlaid = noted(deployment).has_value();
    if (overlaid || is_wished(planner.spec, ref))
      all[fmt::format("{}/{}", ref.ns, ref.name)] =
          stands(deployment, overlaid ? Json("replicas") : Json(), nodes_of(planner.snapshot.extra_pods, deployment));
  }
  return all;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/component.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/words.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/rivals.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

std::string step_id(const Component& component, std::string_view what) {
  return fmt::format("{}-{}", component.id, what);
}

Json budget_body(const Component& component, const Json& deployment) {
  Json body = apply_body(component.budget);
  body["metadata"]["labels"] = own_labels(component.label);
  body["spec"] = {{"maxUnavailable", 1},
                  {"unhealthyPodEvictionPolicy", "AlwaysAllow"},  // a pod that serves nobody must not block a drain
                  {"selector", deployment["spec"]["selector"]}};
  return body;
}

/// How to have the component left alone, in words.
std::string way_out(const Component& component) {
  return component.addon.empty() ? fmt::format("take it off {}", component.strategy)
                                 : fmt::format("set {} to packaged", component.strategy);
}

/// A count, or a share of `replicas` rounded up, as budgets have it.
int scaled(const Json& value, int replicas) {
  if (value.is_number_integer()) return value.get<int>();
  const double share = value.is_string() ? std::strtod(value.get_ref<const std::string&>().c_str(), nullptr) : 0;
  return static_cast<int>(std::ceil(share / 100 * replicas));
}

/// Whether the budget lets none of so many healthy replicas go.
bool blocks_drains(const Json& budget, int replicas) {
  const Json spec = budget.value("spec", Json::object());
  if (spec.contains("maxUnavailable")) return scaled(spec["maxUnavailable"], replicas) < 1;
  return spec.contains("minAvailable") && scaled(spec["minAvailable"], replicas) >= replicas;
}

std::string budget_words(const Json& budget) {
  const Json spec = budget.value("spec", Json::object());
  for (const char* key : {"maxUnavailable", "minAvailable"})
    if (spec.contains(key)) return fmt::format("{} {}", key, spec[key].dump());
  return "without a number";
}

/// Whether kubectl holds the count without ever setting it again: the server filled it in, or it was one command.
bool kubectl_lets_go(const Json& deployment, const std::string& manager) {
  if (manager != "kubectl-client-side-apply") return manager == "kubectl-create";
  const Json annotations = deployment["metadata"].value("annotations", Json::object());
  const Json last = Json::parse(annotations.value(cluster::kubectl_annotation, ""), nullptr, false);
  return last.is_object() && !last.contains(Json::json_pointer("/spec/replicas"));
}

}  // namespace

Json answers_on(std::string_view container, int seconds) {
  return Json::array({{{"name", container}, {"lifecycle", {{"preStop", {{"sleep", {{"seconds", seconds}}}}}}}}});
}

Json pod_labels(const Json& deployment) {
  return deployment["spec"]["template"].value("metadata", Json::object()).value("labels", Json::object());
}

bool keeps_template(const Json& live, const Json& body) {
  Json pod_template = live["spec"]["template"];
  if (pod_template.contains("metadata")) pod_template["metadata"].erase("creationTimestamp");
  return !live["metadata"].contains("deletionTimestamp") && pod_template == body["spec"]["template"];
}

bool keeps_rest(const Json& live, const Json& body) {
  const auto wished = cluster::fields_in(body);
  return std::all_of(wished.begin(), wished.end(), [&](const auto& path) {
    if (path.size() > 1 && path[1] == "f:template") return true;
    const Json* wish = cluster::value_at(body, path);
    const Json* value = cluster::value_at(live, path);
    return wish == nullptr || (value != nullptr && *value == *wish);
  });
}

int replicas_of(const Json& deployment) {
  return deployment["spec"].value("replicas", 1);
}

std::string count_holder(const Json& deployment) {
  for (const auto& entry : deployment["metadata"].value("managedFields", Json::array())) {
    const std::string manager = entry.value("manager", "");
    const bool by_hand = manager.starts_with("kubectl") && entry.value("subresource", "") == "scale";
    if (by_hand || may_force(manager, ".spec.replicas") || kubectl_lets_go(deployment, manager)) continue;
    if (cluster::fields_of(entry.value("fieldsV1", Json::object())).contains(replicas_field)) return manager;
  }
  return {};
}

bool count_is_ours(const Json& deployment) {
  const auto owners = cluster::owners_of(deployment, replicas_field);
  return std::find(owners.begin(), owners.end(), kube::field_manager) != owners.end();
}

bool count_may_go(const Json& deployment) {
  const auto owners = cluster::owners_of(deployment, replicas_field);
  return std::all_of(owners.begin(), owners.end(),
                     [](const auto& owner) { return may_force(owner, ".spec.replicas"); });
}

void warn_of_count(Planner& planner, const Component& component, const Json& deployment) {
  planner.warn(fmt::format("{} keeps its {} replicas: {} set them.", kube::to_string(component.deployment),
                           replicas_of(deployment), cluster::owners_of(deployment, replicas_field).front()));
}

bool updating(const Json& deployment) {
  const Json status = deployment.value("status", Json::object());
  if (deployment["metadata"].value("generation", 0) > status.value("observedGeneration", 0)) return true;
  const int updated = status.value("updatedReplicas", 0);
  return updated < replicas_of(deployment) || status.value("replicas", 0) > updated;
}

bool refuse_foreign_count(Planner& planner, const Component& component, const Json& deployment, int wanted) {
  const std::string holder = count_holder(deployment);
  if (holder.empty()) return false;
  planner.refuse(ExitStatus::conflict,
                 fmt::format("{} of {} is held by {}, at {}; ours would be {}.", cluster::to_string(replicas_field),
                             kube::to_string(component.deployment), holder, replicas_of(deployment), wanted));
  return true;
}

bool refuse_paused(Planner& planner, const Component& component, const Json& deployment) {
  if (!deployment["spec"].value("paused", false)) return false;
  if (cluster::applied_fields(deployment, kube::field_manager).contains(paused_field)) return false;
  const auto owners = cluster::owners_of(deployment, paused_field);
  planner.refuse(ExitStatus::conflict,
                 fmt::format("{} is paused by {}, so no change would roll out; resume it first.",
                             kube::to_string(component.deployment), owners.empty() ? "somebody" : owners.front()));
  return true;
}

std::string foreign_autoscaler(const cluster::Snapshot& snapshot, const Component& component) {
  for (const auto& object : snapshot.horizontalpodautoscalers) {
    const auto ref = kube::ref_of(object);
    const bool ours = ref.name.starts_with("k3s-core-ha-");
    const Json target = object.value("spec", Json::object()).value("scaleTargetRef", Json::object());
    if (!ours && ref.ns == component.deployment.ns && target.value("kind", "") == component.deployment.kind &&
        target.value("name", "") == component.deployment.name)
      return ref.name;
  }
  return {};
}

bool refuse_foreign_autoscaler(Planner& planner, const Component& component) {
  const std::string other = foreign_autoscaler(planner.snapshot, component);
  if (other.empty()) return false;
  planner.refuse(ExitStatus::conflict,
                 fmt::format("HorizontalPodAutoscaler {}/{} scales {} already, and two would fight: remove it, or {}.",
                             component.deployment.ns, other, component.title, way_out(component)));
  return true;
}

const Json* foreign_budget(const cluster::Snapshot& snapshot, const kube::ObjectRef& own, const Json& deployment) {
  for (const auto& object : snapshot.poddisruptionbudgets) {
    const auto ref = kube::ref_of(object);
    const Json selector = object.value("spec", Json::object()).value("selector", Json());
    if (ref.ns == own.ns && ref.name != own.name && selector.is_object() &&
        cluster::selects(selector, pod_labels(deployment)))
      return &object;
  }
  return nullptr;
}

void plan_budget(Planner& planner, const Component& component, const Json& deployment, int replicas) {
  if (!planner.snapshot.serves(component.budget.api_version)) {
    planner.warn(
        fmt::format("The server has no policy/v1: no PodDisruptionBudget for {}, so drains may take several "
                    "replicas at once.",
                    component.title));
    return;
  }
  const Json* other = foreign_budget(planner.snapshot, component.budget, deployment);
  if (other == nullptr) {
    planner.ensure(step_id(component, "budget"), budget_body(component, deployment),
                   "drains take one replica at a time");
    return;
  }
  const std::string name = kube::ref_of(*other).name;
  if (!component.addon.empty() && replicas > 1 && blocks_drains(*other, replicas)) {
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("PodDisruptionBudget {}/{} ({}) lets none of {} replicas of {} go, so it "
                               "would block every drain: remove it, or have it allow one.",
                               component.budget.ns, name, budget_words(*other), replicas, component.title));
    return;
  }
  planner.warn(
      fmt::format("PodDisruptionBudget {}/{} covers {} already, and two would block every drain: ours is left out.",
                  component.budget.ns, name, component.title));
  planner.remove_own(step_id(component, "budget"), component.budget,
                     "two budgets over the same pods block every drain");
}

std::vector<const Json*> pods_of(const Json& pods, const Json& deployment) {
  std::vector<const Json*> found;
  const std::string ns = deployment["metadata"]["namespace"];
  for (const auto& pod : pods) {
    const Json& metadata = pod["metadata"];
    if (!metadata.contains("deletionTimestamp") && metadata.value("namespace", "") == ns &&
        cluster::selects(deployment["spec"]["selector"], metadata.value("labels", Json::object())))
      found.push_back(&pod);
  }
  return found;
}

std::vector<std::string> nodes_of(const Json& pods, const Json& deployment) {
  std::vector<std::string> nodes;
  for (const Json* pod : pods_of(pods, deployment))
    if (const std::string node = (*pod)["spec"].value("nodeName", ""); !node.empty()) nodes.push_back(node);
  return nodes;
}

Json stands(const Json& deployment, const Json& strategy, const std::vector<std::string>& nodes) {
  return {{"strategy", strategy},
          {"replicas", replicas_of(deployment)},
          {"ready", deployment.value("status", Json::object()).value("readyReplicas", 0)},
          {"nodes", std::set<std::string>(nodes.begin(), nodes.end())}};
}

bool find_room(Planner& planner, const Component& component, const Json& pod_template,
               const std::vector<cluster::Node>& nodes, int replicas, const Placement& placement) {
  std::set<std::string> open;
  std::set<std::string> eligible;
  std::vector<std::string> closed;
  for (const auto& node : nodes) {
    if (!node.eligible()) continue;
    eligible.insert(node.host);
    if (node.open())
      open.insert(node.host);
    else
      closed.push_back(closed_words(node));
  }
  if (open.size() < std::min(static_cast<std::size_t>(replicas), eligible.size())) {
    planner.leave(
        fmt::format("{} is left as it is for now: its {} replicas need a node each, and {} take pods now (not {}).",
                    component.title, replicas, open.size(), few(closed)));
    return false;
  }
  // One that is replaced may come to any host that has none yet.
  const int free_hosts = static_cast<int>(open.size()) - (replicas - placement.pods);
  const int coming = placement.spare > 0 ? std::min(replicas, free_hosts) : placement.pods;
  const bool critical = placement.priority >= critical_priority;
  if (planner.sparing && critical && coming > 0) {
    planner.leave(fmt::format("{} is left as it is for now: beside another replica of it CoreDNS may find no room.",
                              component.title));
    return false;
  }
  Fit fit = judge_fit(planner.snapshot, component.title, pod_template, nodes, placement);
  planner.want_usage(fit.unread);
  if (!fit.warning.empty()) planner.warn(std::move(fit.warning));
  if (fit.crowded) fit.refusal = "with what else this run makes, its new replicas may find no room.";
  if (fit.refusal.empty()) {
    if (critical) planner.expected += coming;
    if (critical) planner.stacked += keep_apart(pod_template) ? std::min(coming, 1) : coming;
    return true;
  }
  planner.leave(fmt::format("{} is left as it is: {}", component.title, fit.refusal));
  return false;
}

void check_shipped(Planner& planner, const Component& component, const Json& deployment) {
  if (!is_shipped(deployment))
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("{} is not the one that k3s ships: it carries no manifest that k3s applied.",
                               kube::to_string(component.deployment)));
  // What k3s deletes is its own AddOn's.
  if (is_taken_over(deployment) && ships_none(planner.snapshot, component)) return;
  if (!foreign_addon(deployment, component).empty()) return;
  if (const auto servers = cluster::disabled_on(planner.snapshot, component.addon); !servers.empty())
    planner.warn(fmt::format("k3s was started with --disable {} on {}, and deletes {} at its next start there.",
                             component.addon, fmt::join(servers, ", "), component.title));
}

}  // namespace core_ha::ha

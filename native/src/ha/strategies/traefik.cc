// SPDX-License-Identifier: GPL-3.0-or-later
//
// traefik is the one component that k3s ships as a Helm chart. Its Deployment is Helm's: what anybody else sets there
// goes with the next run of the chart's job. What lasts are values, in a HelmChartConfig of the chart's name, which is
// where k3s asks people to put theirs. So there may be one already, and its valuesContent is one string that cannot be
// shared: ours go into `values`, field by field, beside it. The chart's names for values, and what it makes of them:
// traefik/traefik-helm-chart v40, values.yaml and templates.
#include "ha/strategies/traefik.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/yaml.h"
#include "cluster/helm.h"
#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "ha/placement/capacity.h"
#include "ha/placement/level.h"
#include "ha/placement/words.h"
#include "ha/placement/zones.h"
#include "ha/state.h"
#include "ha/strategies/chart.h"
#include "ha/strategies/component.h"
#include "ha/strategies/placing.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

constexpr const char* title = "traefik";
const Chart traefik{.name = "traefik", .id = "traefik"};
/// How long a pod answers on after its endpoint is taken away, in seconds: kube-proxies learn of it within one or two.
constexpr int traefik_pre_stop_seconds = 5;
constexpr const char* required_nodes = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";

/// What is in the HelmChartConfig without us, with a spec even where there is none.
Json theirs(const Json* config) {
  Json rest = config == nullptr ? Json::object() : cluster::without_applied(*config, kube::field_manager);
  if (!rest.contains("spec") || !rest["spec"].is_object()) rest["spec"] = Json::object();
  // What nobody holds is the default that the server filled in.
  const cluster::FieldPath policy{"f:spec", "f:failurePolicy"};
  if (config != nullptr && cluster::owners_of(*config, policy).empty()) rest["spec"].erase("failurePolicy");
  return rest;
}

Json at(const Json& values, const char* pointer) {
  const Json::json_pointer place(pointer);
  return values.is_object() && values.contains(place) ? values.at(place) : Json();
}

/// Why the chart cannot be given values; empty: it can.
std::string why_not(const Planner& planner) {
  const auto& snapshot = planner.snapshot;
  if (!snapshot.charts.contains(traefik.name))
    return "This snapshot was made without a look at traefik: only one of `k3s-core-ha observe` has it.";
  if (!snapshot.serves(cluster::helm_api))
    return "traefik_strategy is helm, but the server has no helm.cattle.io/v1: k3s's helm-controller is not there.";
  if (cluster::helm_is_off(snapshot))
    return "traefik_strategy is helm, but every server was started with --disable-helm-controller.";
  if (planner.live(traefik_chart) == nullptr) {
    const auto servers = cluster::disabled_on(snapshot, "traefik");
    if (servers.empty()) return fmt::format("{} is not there: was traefik removed?", kube::to_string(traefik_chart));
    return fmt::format("{} is not there: k3s was started with --disable traefik on {}.", kube::to_string(traefik_chart),
                       fmt::join(servers, ", "));
  }
  if (planner.live(traefik_deployment) == nullptr)
    return fmt::format("{} is not there: has Job kube-system/helm-install-traefik come to its end?",
                       kube::to_string(traefik_deployment));
  return {};
}

/// Where each replica would order and keep certificates of its own; empty: nowhere.
std::string keeps_certificates(const Json& values, const Json& deployment) {
  if (at(values, "/persistence/enabled") == true) return "the chart's persistence.enabled is true";
  const Json resolvers = at(values, "/certificatesResolvers");
  if (resolvers.is_object())
    for (const auto& [name, resolver] : resolvers.items())
      if (!at(resolver, "/acme").is_null()) return fmt::format("certificatesResolvers.{}.acme is set", name);
  const auto is_acme = [](const Json& word) {
    return word.is_string() && word.get_ref<const std::string&>().find(".acme.") != std::string::npos;
  };
  const Json arguments = at(values, "/additionalArguments");
  if (arguments.is_array() && std::any_of(arguments.begin(), arguments.end(), is_acme))
    return "additionalArguments sets up acme";
  const Json& pod = deployment["spec"]["template"]["spec"];
  for (const auto& volume : pod.value("volumes", Json::array()))
    if (volume.contains("persistentVolumeClaim"))
      return fmt::format("its pod mounts PersistentVolumeClaim {}",
                         volume["persistentVolumeClaim"].value("claimName", ""));
  for (const auto& container : pod.value("containers", Json::array())) {
    const Json words = container.value("args", Json::array());
    if (std::any_of(words.begin(), words.end(), is_acme)) return "its pod's arguments set up acme";
  }
  return {};
}

/// Whether a node has room for one pod alone, for the ports of its own that it takes.
bool takes_host_ports(const Json& values, const Json& deployment) {
  if (has_host_ports(deployment["spec"]["template"]["spec"]) || at(values, "/hostNetwork") == true) return true;
  const Json ports = at(values, "/ports");
  return ports.is_object() && std::any_of(ports.begin(), ports.end(), [](const Json& port) {
           return !at(port, "/hostPort").is_null() && at(port, "/hostPort") != 0;
         });
}

/// The values, and what they rest on.
class Values {
 public:
  Values(Planner& planner, Json theirs)
      : planner_(planner),
        deployment_(*planner.live(traefik_deployment)),
        theirs_(std::move(theirs)),
        wished_(planner.spec.traefik_values) {}

  /// Ours with the user's over them; nothing where the plan is refused.
  Json make();

  /// Whether the new pods find room; refuses where they do not.
  void check_room(const Json& values) const;

  /// The count that the values come to.
  int replicas() const { return replicas_; }

 private:
  bool read();
  bool judge();
  Json ours() const;
  Json pod_template() const;
  void warn_of_others(const Json& values) const;

  Planner& planner_;
  const Json& deployment_;
  const Json theirs_;   ///< the HelmChartConfig without us
  const Json& wished_;  ///< by the user
  Json given_ = {};     ///< theirs and the chart's own, which ours come over
  Json narrowed_ = {};  ///< required of nodes; null: nothing
  Json effective_ = {};
  std::vector<cluster::Node> nodes_ = {};
  int replicas_ = 1;
  bool alone_ = false;  ///< one pod on a node at most
};

bool Values::read() {
  given_ = Json::object();
  for (const Json* object : {planner_.live(traefik_chart), &theirs_}) {
    const auto values = cluster::values_in(*object);
    if (!values) {
      planner_.refuse(values.error().status, values.error().message);
      return false;
    }
    given_ = cluster::merge_values(std::move(given_), *values);
  }
  if (!planner_.spec.node_affinity.empty()) {
    Json pod = {{"affinity", at(given_, "/affinity")}};
    if (!pod["affinity"].is_object()) pod["affinity"] = Json::object();
    narrow_nodes(pod, planner_.spec);
    narrowed_ = at(pod, required_nodes);
  }
  effective_ = cluster::merge_values(given_, wished_);
  if (!narrowed_.is_null()) effective_[Json::json_pointer(required_nodes)] = narrowed_;
  if (at(effective_, "/deployment/kind") == "DaemonSet") {
    planner_.refuse(ExitStatus::unsafe,
                    "traefik is to run from a DaemonSet (deployment.kind), by values of somebody "
                    "else: strategy helm has replicas of a Deployment spread over nodes.");
    return false;
  }
  return true;
}

/// The pods as the scheduler will see them, as far as placement goes.
Json Values::pod_template() const {
  Json pod_template = deployment_["spec"]["template"];
  Json& pod = pod_template["spec"];
  pod.erase("affinity");
  for (const char* key : {"affinity", "nodeSelector", "tolerations"})
    if (const auto value = effective_.find(key); value != effective_.end() && !value->empty()) pod[key] = *value;
  return pod_template;
}

bool Values::judge() {
  nodes_ = cluster::judge_nodes(planner_.snapshot, pod_template()["spec"], planner_.spec.zone_label);
  const Json given = at(given_, "/deployment/replicas");
  const Json wished = at(wished_, "/deployment/replicas");
  const Sizing sizing = size_traefik(planner_.spec, nodes_, given.is_number_integer() ? given.get<int>() : 0,
                                     wished.is_null() ? 0 : wished.get<int>());
  for (const auto& warning : sizing.warnings)
    planner_.warn(warning);
  alone_ = takes_host_ports(effective_, deployment_);
  replicas_ = sizing.min_replicas;
  std::set<std::string> hosts;
  for (const auto& node : nodes_)
    if (node.eligible()) hosts.insert(node.host);
  if (sizing.refusal) {
    planner_.refuse(sizing.refusal->status, sizing.refusal->message);
  } else if (alone_ && replicas_ > static_cast<int>(hosts.size())) {
    planner_.refuse(ExitStatus::unsafe,
                    fmt::format("traefik takes ports of its node, so one replica can run on each of "
                                "{}, but {} are wished.",
                                hosts.size(), replicas_));
  } else if (const std::string where = keeps_certificates(effective_, deployment_); replicas_ > 1 && !where.empty()) {
    planner_.refuse(
        ExitStatus::unsafe,
        fmt::format("{} replicas of traefik would each order certificates and keep them for themselves, or write one "
                    "volume at once: {}. Let cert-manager order them, or keep one replica (traefik_replicas: 1).",
                    replicas_, where));
  }
  return !planner_.refused();
}

Json Values::ours() const {
  Json values = Json::object();
  const bool scaled = at(effective_, "/autoscaling/enabled") == true;
  const Json given = at(given_, "/deployment/replicas");
  const bool left_to_others =
      !planner_.spec.traefik_replicas && given.is_number_integer() && given.get<int>() == replicas_;
  if (!scaled && !left_to_others) values["deployment"]["replicas"] = replicas_;
  if (planner_.snapshot.minor() >= pre_stop_sleep_minor && at(effective_, "/deployment/lifecycle/preStop").is_null())
    values["deployment"]["lifecycle"]["preStop"]["sleep"]["seconds"] = traefik_pre_stop_seconds;
  values["updateStrategy"] = {{"type", "RollingUpdate"},
                              {"rollingUpdate", {{"maxUnavailable", alone_ ? 1 : 0}, {"maxSurge", alone_ ? 0 : 1}}}};
  const Json& selector = deployment_["spec"]["selector"];
  Json spreads = Json::array({soft_spread("kubernetes.io/hostname", selector)});
  if (zones_of(nodes_).several()) spreads.push_back(zone_spread(planner_.spec, selector));
  values["topologySpreadConstraints"] = std::move(spreads);
  if (!narrowed_.is_null()) values[Json::json_pointer(required_nodes)] = narrowed_;
  // The chart's own is named as the release.
  const kube::ObjectRef own{"policy/v1", "PodDisruptionBudget", traefik_deployment.ns, traefik_deployment.name};
  if (const Json* other = foreign_budget(planner_.snapshot, own, deployment_); other != nullptr) {
    planner_.warn(
        fmt::format("PodDisruptionBudget kube-system/{} covers traefik already, and two would block every "
                    "drain: the chart's is left out.",
                    kube::ref_of(*other).name));
  } else if (replicas_ > 1 || scaled) {
    values["podDisruptionBudget"]["enabled"] = true;
    if (at(effective_, "/podDisruptionBudget/minAvailable").is_null())
      values["podDisruptionBudget"]["maxUnavailable"] = 1;
  }
  return values;
}

void Values::warn_of_others(const Json& values) const {
  Json text = theirs_;
  text["spec"].erase("values");  // field by field: the server tells who holds what
  const auto content = cluster::values_in(text);
  const std::string name = kube::to_string(traefik_config);
  if (const auto both = content ? cluster::set_by_both(*content, values) : std::vector<std::string>{}; !both.empty())
    planner_.warn(fmt::format("{} of somebody else sets {} in its valuesContent, too: ours come after that, and win.",
                              name, fmt::join(both, ", ")));
  if (!theirs_["spec"].value("valuesSecrets", Json::array()).empty())
    planner_.warn(fmt::format("{} of somebody else has valuesSecrets, which come after ours and win.", name));
  const Json set = planner_.live(traefik_chart)->value("spec", Json::object()).value("set", Json::object());
  for (const auto& [key, value] : set.items()) {
    std::string pointer = "/" + key;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    if (!at(values, pointer.c_str()).is_null())
      planner_.warn(fmt::format("{} sets {} by spec.set, which wins over every HelmChartConfig.",
                                kube::to_string(traefik_chart), key));
  }
}

Json Values::make() {
  if (!read() || !judge()) return {};
  Json values = ours();
  put_over(values, wished_);
  warn_of_others(values);
  return values;
}

void Values::check_room(const Json& values) const {
  const Placement now{.pods = 0, .staying = nodes_of(planner_.snapshot.pods, deployment_)};
  Placement placement = now;
  const int surge = at(values, "/updateStrategy/rollingUpdate/maxSurge") == 1 ? 1 : 0;
  placement.pods = std::max(0, replicas_ - static_cast<int>(now.staying.size())) + surge;
  Fit fit = judge_fit(planner_.snapshot, title, pod_template(), nodes_, placement);
  planner_.want_usage(fit.unread);
  if (!fit.warning.empty()) planner_.warn(std::move(fit.warning));
  if (!fit.refusal.empty()) planner_.refuse(ExitStatus::unsafe, std::move(fit.refusal));
  planner_.expected += placement.pods;
  planner_.stacked += placement.pods;
}

/// What a failed upgrade leads to; null: nothing of ours is said. A HelmChartConfig that says nothing gets the default
/// of its schema, reinstall, and that overrides the chart's own.
Json failure_policy(Planner& planner) {
  if (cluster::config_schema(planner.snapshot, "failurePolicy") == nullptr) return {};
  if (knows_policy(planner.snapshot, "retry")) return "retry";
  Json own = planner.live(traefik_chart)->value("spec", Json::object()).value("failurePolicy", Json());
  if (!own.is_null() && knows_policy(planner.snapshot, own)) return own;
  planner.warn(
      "This k3s knows no failurePolicy retry for a HelmChartConfig: where an upgrade of traefik's chart fails, it is "
      "uninstalled and installed again.");
  return {};
}

/// Puts the values into our set for the HelmChartConfig; refused where somebody else holds their only place.
void put_own_values(Planner& planner, Json& body, const Json& values, const Json& theirs) {
  if (cluster::config_schema(planner.snapshot, "values") != nullptr || !theirs["spec"].contains("valuesContent")) {
    put_values(planner.snapshot, body, values);
  } else {
    planner.refuse(ExitStatus::conflict,
                   fmt::format("{} of somebody else has valuesContent, which is one text, and this k3s has no values "
                               "beside it. Merge this into it, and leave traefik_strategy at packaged:\n{}",
                               kube::to_string(traefik_config), to_yaml(values)));
  }
}

void design_helm(Planner& planner, Traefik& design) {
  if (const std::string reason = why_not(planner); !reason.empty()) {
    planner.refuse(ExitStatus::unsafe, reason);
    return;
  }
  const Json* config = planner.live(traefik_config);
  const Json rest = theirs(config);
  Values maker(planner, rest);
  const Json values = maker.make();
  if (planner.refused()) return;
  Json body = apply_body(traefik_config);
  if (config == nullptr || is_ours(*config)) body["metadata"]["labels"] = own_labels("traefik");
  put_own_values(planner, body, values, rest);
  if (const Json policy = failure_policy(planner); !policy.is_null()) body["spec"]["failurePolicy"] = policy;
  if (planner.refused()) return;

  const Json before = config == nullptr ? Json() : config->value("spec", Json());
  const bool writes = !planner.holds(body);
  Json after = cluster::overlay(rest, body);
  if (before.is_object() && before.contains("failurePolicy") && !after["spec"].contains("failurePolicy"))
    after["spec"]["failurePolicy"] = before["failurePolicy"];
  const bool changes = writes && after["spec"] != before;
  if (changes) maker.check_room(values);
  const ChartChange change = change_of(planner, traefik, changes);
  design.mark = change.mark;
  design.applies = change.applies;
  const Json& deployment = *planner.live(traefik_deployment);
  design.scaled = !design.applies && replicas_of(deployment) != maker.replicas() && was_scaled(planner, traefik);
  design.rolls = updating(deployment);
  design.body = std::move(body);
}

void design_packaged(const Planner& planner, Traefik& design) {
  const Json* config = planner.live(traefik_config);
  const auto kept = kept_mark(planner.snapshot, traefik.name);
  const bool there =
      config != nullptr && (is_ours(*config) || !cluster::applied_fields(*config, kube::field_manager).empty());
  if (!there && !kept) return;
  design.body = apply_body(traefik_config);
  design.settles = !all_packaged(planner.spec);
  const bool helm = planner.snapshot.serves(cluster::helm_api) && !cluster::helm_is_off(planner.snapshot) &&
                    planner.live(traefik_chart) != nullptr && planner.live(traefik_deployment) != nullptr;
  if (!there) {
    design.mark = kept;
    design.applies = helm && unfinished(planner, traefik);
    return;
  }
  design.mark = hash_now(planner, traefik);
  const Json rest = theirs(config);
  design.removes = is_ours(*config) && rest["spec"].empty();
  design.applies = helm && (design.removes || rest["spec"] != config->value("spec", Json::object()));
}

}  // namespace

Traefik design_traefik(Planner& planner) {
  Traefik design;
  if (planner.spec.traefik_strategy == "helm")
    design_helm(planner, design);
  else if (planner.snapshot.charts.contains(traefik.name))
    design_packaged(planner, design);
  return design;
}

void plan_traefik(Planner& planner, const Traefik& design) {
  if (design.body.is_null()) return;
  if (design.removes)
    planner.remove_own("traefik-values", traefik_config, "traefik is as k3s ships it");
  else
    planner.ensure("traefik-values", design.body,
                   cluster::fields_in(design.body).empty() ? "no value of ours is left"
                                                           : "several replicas, spread, and drained one at a time");
  if (design.scaled)
    plan_again(planner, traefik,
               "somebody scaled traefik: helm-controller makes the job anew, and that sets the count back");
  if (design.applies || design.scaled) wait_for_chart(planner, traefik, design.mark.value_or(""));
  if (design.applies || design.scaled || design.rolls) wait_for_rollout(planner, traefik);
}

void wait_for_traefik_back(Planner& planner, const Planner& earlier) {
  const auto spec_in = [](const Planner& seen) {
    const Json* config = seen.live(traefik_config);
    return config == nullptr ? Json() : config->value("spec", Json());
  };
  if (spec_in(planner) == spec_in(earlier) || planner.live(traefik_chart) == nullptr) return;
  const std::string hash = hash_now(planner, traefik);
  wait_for_chart(planner, traefik, hash == hash_now(earlier, traefik) ? "" : hash);
  wait_for_rollout(planner, traefik);
}

Json traefik_stands(const Planner& planner) {
  const Json* deployment = planner.live(traefik_deployment);
  if (deployment == nullptr) return {{"strategy", nullptr}, {"replicas", 0}, {"ready", 0}, {"nodes", Json::array()}};
  const Json* config = planner.live(traefik_config);
  const bool helm = config != nullptr && !cluster::applied_fields(*config, kube::field_manager).empty();
  return stands(*deployment, helm ? "helm" : "packaged", nodes_of(planner.snapshot.pods, *deployment));
}

}  // namespace core_ha::ha

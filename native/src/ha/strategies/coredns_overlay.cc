// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_overlay.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/planner.h"
#include "ha/strategies/placing.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

/// A spread of k3s's, held whole with the live values: an entry of ours with its keys alone would be left invalid
/// by a release that changes them. Added to it: a host that takes no pods (dead, drained) does not count, so that it
/// does not block the replacement of its pod; and only pods of one template count, so that a rollout, whose old pods
/// are about to go, leaves the new ones spread. One that k3s does not have is ours.
Json spread(const CoreDns& coredns, const std::string& label, const char* when_unsatisfiable) {
  Json entry = {{"topologyKey", label},
                {"whenUnsatisfiable", when_unsatisfiable},
                {"maxSkew", 1},
                {"labelSelector", (*coredns.deployment)["spec"]["selector"]}};
  for (const auto& live : coredns.pod_spec().value("topologySpreadConstraints", Json::array()))
    if (entry["topologyKey"] == live.value("topologyKey", "") &&
        entry["whenUnsatisfiable"] == live.value("whenUnsatisfiable", ""))
      entry = live;
  entry["nodeTaintsPolicy"] = "Honor";
  entry["matchLabelKeys"] = {"pod-template-hash"};
  return entry;
}

/// In the live order: the server takes over that of an applied list, and another order would be another template of
/// pods, which stays behind when ours goes.
Json spreads(const CoreDns& coredns, const Spec& spec, const Zones& zones) {
  std::vector<Json> entries{spread(coredns, "kubernetes.io/hostname", "DoNotSchedule")};
  if (zones.several()) entries.push_back(spread(coredns, spec.zone_label, "ScheduleAnyway"));
  const Json live = coredns.pod_spec().value("topologySpreadConstraints", Json::array());
  const auto place = [&](const Json& entry) {
    return std::find_if(live.begin(), live.end(),
                        [&](const Json& other) {
                          return other.value("topologyKey", "") == entry["topologyKey"].get<std::string>() &&
                                 other.value("whenUnsatisfiable", "") == entry["whenUnsatisfiable"].get<std::string>();
                        }) -
           live.begin();
  };
  std::sort(entries.begin(), entries.end(), [&](const Json& a, const Json& b) { return place(a) < place(b); });
  return entries;
}

}  // namespace

int coredns_grace_period(const CoreDns& coredns) {
  constexpr int enough = 30;
  const cluster::FieldPath field{"f:spec", "f:template", "f:spec", "f:terminationGracePeriodSeconds"};
  const auto owners = cluster::owners_of(*coredns.deployment, field);
  const bool ours_alone = owners == std::vector<std::string>{std::string(kube::field_manager)};
  return ours_alone ? enough : std::max(enough, coredns.pod_spec().value("terminationGracePeriodSeconds", enough));
}

Json& coredns_container(Json& pod_spec) {
  auto& containers = pod_spec["containers"];
  const auto named = std::find_if(containers.begin(), containers.end(),
                                  [](const Json& container) { return container.value("name", "") == "coredns"; });
  return named != containers.end() ? *named : containers.at(0);
}

Json coredns_overlay(const CoreDns& coredns, const Spec& spec, const Zones& zones, int minor) {
  Json body = apply_body(coredns_deployment);
  body["spec"]["minReadySeconds"] = 3;
  body["spec"]["strategy"] = {{"rollingUpdate", {{"maxSurge", 1}}}};
  Json& wish = body["spec"]["template"]["spec"];
  wish["terminationGracePeriodSeconds"] = coredns_grace_period(coredns);
  wish["topologySpreadConstraints"] = spreads(coredns, spec, zones);
  narrow_nodes(wish, spec);
  if (minor >= pre_stop_sleep_minor) {
    Json pod = coredns.pod_spec();
    wish["containers"] = answers_on(coredns_container(pod).value("name", ""), pre_stop_seconds);
  }
  return body;
}

}  // namespace core_ha::ha

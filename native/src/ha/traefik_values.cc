// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/traefik_values.h"

#include <fmt/format.h>

#include <array>

#include "ha/spec.h"
#include "ha/words.h"

namespace core_ha::ha {

namespace {

/// What the chart has as mappings, of what is looked at here or set by us.
constexpr std::array traefik_mappings{"/deployment",
                                      "/deployment/lifecycle",
                                      "/podDisruptionBudget",
                                      "/updateStrategy",
                                      "/updateStrategy/rollingUpdate",
                                      "/affinity",
                                      "/affinity/nodeAffinity",
                                      "/autoscaling",
                                      "/persistence",
                                      "/certificatesResolvers",
                                      "/nodeSelector",
                                      "/ports"};
constexpr std::array traefik_lists{"/topologySpreadConstraints", "/tolerations", "/additionalArguments"};

std::string wrong(const char* pointer, const Json& value, const char* allowed) {
  return fmt::format("{} is {}; allowed is {}", dotted(pointer), found_words(value), allowed);
}

}  // namespace

Json value_of(const Json& values, const char* pointer) {
  const Json::json_pointer at(pointer);
  return values.is_object() && values.contains(at) ? values.at(at) : Json();
}

std::optional<std::string> fault_of_values(const Json& values, std::string_view chart,
                                           std::span<const char* const> mappings, std::span<const char* const> lists) {
  if (!values.is_object())
    return fmt::format(" is {}; allowed is a mapping of the {} chart's values", found_words(values), chart);
  for (const char* pointer : mappings)
    if (const Json value = value_of(values, pointer); !value.is_null() && !value.is_object())
      return wrong(pointer, value, "a mapping");
  for (const char* pointer : lists)
    if (const Json value = value_of(values, pointer); !value.is_null() && !value.is_array())
      return wrong(pointer, value, "a list");
  return std::nullopt;
}

std::optional<std::string> fault_of_traefik_values(const Json& values) {
  if (auto fault = fault_of_values(values, "traefik", traefik_mappings, traefik_lists)) return fault;
  const Json replicas = value_of(values, "/deployment/replicas");
  const bool count = replicas.is_number_integer() && replicas >= 1 && replicas <= 1000;
  if (!replicas.is_null() && !count) return wrong("/deployment/replicas", replicas, "an integer from 1 to 1000");
  if (const Json kind = value_of(values, "/deployment/kind"); !kind.is_null() && kind != "Deployment")
    return wrong("/deployment/kind", kind, "Deployment, which is what strategy helm spreads over nodes");
  if (const Json on = value_of(values, "/deployment/enabled"); on == false)
    return std::string(".deployment.enabled is false; allowed is true, for strategy helm has replicas of it run");
  return std::nullopt;
}

std::optional<std::string> fault_of_traefik(const Spec& spec) {
  const Json& values = spec.traefik_values;
  const Json replicas = value_of(values, "/deployment/replicas");
  if (spec.traefik_replicas && !replicas.is_null() && replicas != *spec.traefik_replicas)
    return fmt::format("traefik_values.deployment.replicas is {}, but traefik_replicas is {}: give one of them.",
                       replicas.dump(), *spec.traefik_replicas);
  if (spec.traefik_replicas && value_of(values, "/autoscaling/enabled") == true)
    return fmt::format(
        "traefik_values.autoscaling.enabled is true, but traefik_replicas is {}: an autoscaler keeps no fixed count.",
        *spec.traefik_replicas);
  const char* required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
  if (spec.traefik_strategy == "helm" && !spec.node_affinity.empty() && !value_of(values, required).is_null())
    return fmt::format("traefik_values{} is given, and so is node_affinity: say it in one of them.", dotted(required));
  return std::nullopt;
}

}  // namespace core_ha::ha

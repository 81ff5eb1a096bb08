// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/discovery.h"

#include <fmt/format.h>

namespace core_ha::kube {
namespace {

const Json& member(const Json& map, const char* key) {
  static const Json none;
  if (!map.is_object()) return none;
  const auto it = map.find(key);
  return it == map.end() ? none : *it;
}

}  // namespace

Read discovery_read() {
  constexpr const char* aggregated = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList";
  return {.path = "/apis",
          .accept =
              fmt::format("{},{},application/json", fmt::format(aggregated, "v2"), fmt::format(aggregated, "v2beta1"))};
}

std::set<std::string> group_versions(const Json& apis) {
  std::set<std::string> served{"v1"};
  for (const Json& group : member(apis, "groups"))
    for (const Json& version : member(group, "versions"))
      if (const std::string name = text_of(version, "groupVersion"); !name.empty()) served.insert(name);
  for (const Json& group : member(apis, "items"))
    for (const Json& version : member(group, "versions"))
      if (const std::string name = text_of(member(group, "metadata"), "name"); text_of(version, "freshness") != "Stale")
        served.insert(name + "/" + text_of(version, "version"));
  return served;
}

}  // namespace core_ha::kube

// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/textfile.h"

#include <fmt/format.h>

namespace core_ha::report {

namespace {

std::string head(const char* name, const char* help) {
  return fmt::format("# HELP k3s_core_ha_{0} {1}\n# TYPE k3s_core_ha_{0} gauge\n", name, help);
}

std::string gauge(const char* name, const char* help, std::int64_t value) {
  return head(name, help) + fmt::format("k3s_core_ha_{} {}\n", name, value);
}

std::string by_component(const char* name, const char* help, const Json& components, const char* key) {
  std::string out = head(name, help);
  for (const auto& [component, stands] : components.items())
    out += fmt::format("k3s_core_ha_{}{{component=\"{}\"}} {}\n", name, component, stands.value(key, 0));
  return out;
}

}  // namespace

std::string textfile(const Look& look) {
  std::string out = gauge("reconcile_exit_status", "Exit status of the last look (0: the cluster is as wished).",
                          static_cast<int>(look.exit)) +
                    gauge("reconcile_timestamp_seconds", "When the last look ended, in seconds since the epoch.",
                          look.finished.count()) +
                    gauge("reconcile_turn", "Whether it is this server's turn to reconcile.", look.turn ? 1 : 0) +
                    gauge("reconcile_changed", "Whether the last look changed something.", look.changed ? 1 : 0) +
                    gauge("wish_revision", "Revision of the wish that the cluster keeps (0: none).", look.revision);
  if (look.components.empty()) return out;
  return out + by_component("replicas", "Replicas of a component, as observed.", look.components, "replicas") +
         by_component("ready_replicas", "Replicas of a component that are ready.", look.components, "ready");
}

}  // namespace core_ha::report

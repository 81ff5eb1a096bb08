// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/budget.h"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "report/table.h"

namespace core_ha::report {

namespace {

constexpr std::array phases{"detected", "evicted", "replaced"};

std::string phase_words(const Json& span) {
  if (!span.is_array()) return "when it is back";
  return fmt::format("{} to {} s", span[0].dump(), span[1].dump());
}

std::vector<std::string> row(const std::string& title, const std::string& role, const Json& spans) {
  std::vector<std::string> cells{title, role};
  cells.reserve(cells.size() + phases.size());
  for (const char* phase : phases)
    cells.push_back(phase_words(spans[phase]));
  return cells;
}

std::string seconds(const Json& value) {
  return value.is_null() ? "not known" : value.dump() + " s";
}

}  // namespace

std::string budget_text(const Json& budget) {
  std::string out = "Settings in force:\n";
  std::vector<std::vector<std::string>> servers{{"server", "grace period", "looks every", "new pods stay"}};
  for (const auto& server : budget["servers"])
    servers.push_back({server["name"], seconds(server["grace_period"]), seconds(server["monitor_period"]),
                       seconds(server["toleration_seconds"])});
  out += table(servers);
  out += "When a node dies, its death is noticed, its pods are deleted, and their replacements serve, after:\n";
  std::vector<std::vector<std::string>> nodes{{"node", "", "noticed", "pods deleted", "pods replaced"}};
  for (const auto& node : budget["nodes"]) {
    const char* role = node["lease_holder"] == true ? "leading server" : node["server"] == true ? "server" : "agent";
    nodes.push_back(row(node["name"], role, node));
  }
  out += table(nodes);
  for (const auto& warning : budget["warnings"])
    out += fmt::format("Warning: {}\n", warning.get<std::string>());
  return out;
}

std::string profile_text(const Json& profile) {
  struct File {
    const char* key;
    const char* title;
  };
  std::string out = fmt::format("Profile {}:\n", profile["profile"].get<std::string>());
  for (const File file : {File{"config", "k3s's config.yaml.d, on servers"},
                          File{"kubelet", "the kubelet's kubelet.conf.d, on every node"},
                          File{"unit", "k3s's systemd unit, on every node"}}) {
    const auto text = profile["drop_ins"][file.key].get<std::string>();
    out += text.empty() ? fmt::format("Drop-in of {}: none\n", file.title)
                        : fmt::format("Drop-in of {}:\n{}", file.title, text);
  }
  std::vector<std::vector<std::string>> rows{{"what dies", "", "noticed", "pods deleted", "pods replaced"}};
  rows.push_back(row("a node", "", profile["budget"]["node_death"]));
  rows.push_back(row("the leading server", "of several", profile["budget"]["lease_holder_death"]));
  return out + table(rows);
}

}  // namespace core_ha::report

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/failover/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cluster/k3s.h"
#include "cluster/nodes.h"
#include "ha/failover/profile.h"

namespace core_ha::ha {

namespace {

/// The last value of an argument that k3s hands on to a component (`--kube-apiserver-arg=NAME=VALUE`).
std::optional<std::string> handed_on(const std::vector<std::string>& args, const char* flag, std::string_view name) {
  std::optional<std::string> last;
  for (const auto& value : cluster::flag_values(args, flag)) {
    std::string_view text = value;
    while (text.starts_with('-'))
      text.remove_prefix(1);
    if (text.starts_with(name) && text.size() > name.size() && text[name.size()] == '=')
      last = text.substr(name.size() + 1);
  }
  return last;
}

std::optional<int> whole(const std::string& text) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string api_url(const Json& node, const std::vector<std::string>& args) {
  std::string host;
  for (const auto& address : node.value("status", Json::object()).value("addresses", Json::array()))
    if (host.empty() && address.value("type", "") == "InternalIP") host = address.value("address", "");
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  const auto ports = cluster::flag_values(args, "--https-listen-port");
  return host.empty() ? "" : fmt::format("https://{}:{}", host, ports.empty() ? "6443" : ports.back());
}

std::optional<bool> etcd_voter(const Json& node) {
  for (const auto& condition : node.value("status", Json::object()).value("conditions", Json::array()))
    if (condition.value("type", "") == "EtcdIsVoter") return condition.value("status", "") == "True";
  return std::nullopt;
}

ServerTimers timers_of(const Json& node, int minor) {
  const auto args = cluster::node_args(node);
  ServerTimers timers{.name = node["metadata"]["name"],
                      .etcd_voter = etcd_voter(node),
                      .url = api_url(node, args.value_or(std::vector<std::string>()))};
  if (!args) return timers;
  const auto of_controllers = [&](const char* name, int usual) -> std::optional<int> {
    const auto given = handed_on(*args, "--kube-controller-manager-arg", name);
    return given ? go_seconds(*given) : usual;
  };
  timers.grace_period = of_controllers("node-monitor-grace-period", usual_grace_period_of(minor));
  timers.monitor_period = of_controllers("node-monitor-period", usual_monitor_period);
  const auto given = handed_on(*args, "--kube-apiserver-arg", "default-unreachable-toleration-seconds");
  timers.toleration_seconds = given ? whole(*given) : usual_toleration_seconds;
  return timers;
}

const Json* find_lease(const cluster::Snapshot& snapshot, std::string_view ns, std::string_view name) {
  for (const auto& lease : snapshot.leases)
    if (lease["metadata"]["name"] == name && lease["metadata"].value("namespace", "") == ns) return &lease;
  return nullptr;
}

/// The node whose host name, or name, a holder's identity begins with: `server-1_6c1e…`.
std::optional<std::string> node_of(const cluster::Snapshot& snapshot, const std::string& identity) {
  const std::string host = identity.substr(0, identity.find('_'));
  for (const auto& node : snapshot.nodes) {
    const Json labels = node["metadata"].value("labels", Json::object());
    if (node["metadata"]["name"] == host || labels.value("kubernetes.io/hostname", "") == host)
      return node["metadata"]["name"].get<std::string>();
  }
  return std::nullopt;
}

}  // namespace

std::optional<int> go_seconds(std::string_view text) {
  double seconds = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    double value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || !(value >= 0)) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    double unit = 0;
    std::size_t letters = 1;
    if (text.starts_with("ms"))
      unit = 0.001, letters = 2;
    else if (text.starts_with('h'))
      unit = 3600;
    else if (text.starts_with('m'))
      unit = 60;
    else if (text.starts_with('s'))
      unit = 1;
    else
      return std::nullopt;
    text.remove_prefix(letters);
    seconds += value * unit;
  }
  constexpr double longest = 1e9;
  if (seconds > longest) return std::nullopt;
  return static_cast<int>(std::ceil(seconds));
}

FailoverSettings failover_settings(const cluster::Snapshot& snapshot) {
  FailoverSettings settings;
  for (const auto& node : snapshot.nodes)
    if (cluster::is_server(node)) settings.servers.push_back(timers_of(node, snapshot.minor()));
  const Json* lease = find_lease(snapshot, "kube-system", "kube-controller-manager");
  if (lease == nullptr) return settings;
  const Json identity = lease->value("spec", Json::object()).value("holderIdentity", Json());
  if (identity.is_string() && settings.elected()) settings.holder = node_of(snapshot, identity.get<std::string>());
  return settings;
}

std::optional<int> lease_duration(const cluster::Snapshot& snapshot, const std::string& node) {
  const Json* lease = find_lease(snapshot, "kube-node-lease", node);
  if (lease == nullptr) return std::nullopt;
  const Json seconds = lease->value("spec", Json::object()).value("leaseDurationSeconds", Json());
  if (!seconds.is_number_integer()) return std::nullopt;
  return seconds.get<int>();
}

}  // namespace core_ha::ha

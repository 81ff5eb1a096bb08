// SPDX-License-Identifier: GPL-3.0-or-later
//
// Closed forms of what the controller manager does. It looks at the nodes each monitor period, and counts the grace
// period from the look at which it saw a renewal. So a node that dies just before its next renewal is found a renewal
// interval earlier than the grace period, and one that dies just after, two looks later. Whoever takes the controller
// manager's Lease over knows nothing of earlier renewals: it counts from its own first look.
#include "ha/failover/budget.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "ha/failover/settings.h"

namespace core_ha::ha {

namespace {

using Value = std::optional<int> ServerTimers::*;

/// The least and the most of a timer over servers; one that is not known counts as Kubernetes' own.
Span over(const std::vector<ServerTimers>& servers, Value value, int usual) {
  if (servers.empty()) return {usual, usual};
  Span span{INT32_MAX, 0};
  for (const auto& server : servers) {
    const int seconds = (server.*value).value_or(usual);
    span = {std::min(span.from, seconds), std::max(span.to, seconds)};
  }
  return span;
}

/// The servers whose controller manager is in charge of noticing: the Lease's holder, or any but the one that died.
std::vector<ServerTimers> in_charge(const FailoverSettings& settings, const std::string& dead) {
  std::vector<ServerTimers> servers;
  servers.reserve(settings.servers.size());
  const bool holder_lives = settings.holder && *settings.holder != dead;
  for (const auto& server : settings.servers)
    if (holder_lives ? server.name == *settings.holder : server.name != dead) servers.push_back(server);
  return servers;
}

NodeMonitor monitor_by(const std::vector<ServerTimers>& servers, int minor, int lease_duration) {
  return {.grace_period = over(servers, &ServerTimers::grace_period, usual_grace_period_of(minor)),
          .monitor_period = over(servers, &ServerTimers::monitor_period, usual_monitor_period),
          .lease_duration = lease_duration};
}

Json optional(const std::optional<int>& value) {
  return value ? Json(*value) : Json();
}

Json phases(const NodeMonitor& monitor, Span toleration, bool lease_holder, bool may_be_holder) {
  Span noticed = detected(monitor, lease_holder);
  if (may_be_holder) noticed.to = detected(monitor, true).to;
  const Span gone = evicted(noticed, toleration);
  return {{"detected", to_json(noticed)}, {"evicted", to_json(gone)}, {"replaced", to_json(replaced(gone))}};
}

/// Tolerations are written into a pod when it is made, so those of before keep theirs.
void warn_of_older_pods(const cluster::Snapshot& snapshot, Span toleration, Json& warnings) {
  std::vector<std::string> older;
  for (const auto& pod : snapshot.pods)
    for (const auto& entry : pod["spec"].value("tolerations", Json::array())) {
      if (entry.value("key", "") != "node.kubernetes.io/unreachable" || !entry.contains("tolerationSeconds")) continue;
      const int seconds = entry.value("tolerationSeconds", usual_toleration_seconds);
      if (seconds >= toleration.from && seconds <= toleration.to) continue;
      older.push_back(fmt::format("{} ({} s)", pod["metadata"]["name"].get<std::string>(), seconds));
    }
  if (!older.empty())
    warnings.push_back(fmt::format(
        "These pods tolerate a lost node for another time than pods made now do, until they are made anew: {}.",
        fmt::join(older, ", ")));
}

Json tell_servers(const FailoverSettings& settings, Json& warnings) {
  Json servers = Json::array();
  std::vector<std::string> unknown;
  for (const auto& server : settings.servers) {
    servers.push_back({{"name", server.name},
                       {"grace_period", optional(server.grace_period)},
                       {"monitor_period", optional(server.monitor_period)},
                       {"toleration_seconds", optional(server.toleration_seconds)},
                       {"etcd_voter", server.etcd_voter ? Json(*server.etcd_voter) : Json()},
                       {"url", server.url}});
    if (!server.grace_period || !server.monitor_period || !server.toleration_seconds) unknown.push_back(server.name);
  }
  if (settings.servers.empty())
    warnings.push_back("No server is a node, so their settings cannot be read; Kubernetes' own are assumed.");
  if (!unknown.empty())
    warnings.push_back(fmt::format(
        "The settings of {} are not told by the node's annotation k3s.io/node-args; Kubernetes' own are assumed.",
        fmt::join(unknown, ", ")));
  return servers;
}

}  // namespace

Json to_json(Span span) {
  return Json::array({span.from, span.to});
}

Span detected(const NodeMonitor& monitor, bool lease_holder) {
  // The Lease of 15 s is renewed every 2 s, and looked at as often by those that wait for it; then controllers start.
  constexpr Span takeover{10, 29};
  if (lease_holder)
    return {monitor.grace_period.from + takeover.from,
            monitor.grace_period.to + monitor.monitor_period.to + takeover.to};
  const int renewal = (monitor.lease_duration + 3) / 4;
  return {std::max(0, monitor.grace_period.from - renewal), monitor.grace_period.to + 2 * monitor.monitor_period.to};
}

Span evicted(Span detected, Span toleration_seconds) {
  return {detected.from + toleration_seconds.from, detected.to + toleration_seconds.to + 2};
}

Span replaced(Span evicted) {
  constexpr int start = 20;  // of a pod whose image is there
  return {evicted.from, evicted.to + start};
}

NodeMonitor node_monitor(const cluster::Snapshot& snapshot) {
  return monitor_by(failover_settings(snapshot).servers, snapshot.minor(), usual_lease_duration);
}

Json budget(const FailoverTimers& timers) {
  const int grace = timers.grace_period.value_or(usual_grace_period);
  const int period = timers.monitor_period.value_or(usual_monitor_period);
  const int toleration = timers.toleration_seconds.value_or(usual_toleration_seconds);
  const NodeMonitor monitor{.grace_period = {grace, grace},
                            .monitor_period = {period, period},
                            .lease_duration = timers.lease_duration.value_or(usual_lease_duration)};
  return {{"node_death", phases(monitor, {toleration, toleration}, false, false)},
          {"lease_holder_death", phases(monitor, {toleration, toleration}, true, false)}};
}

Json budget(const cluster::Snapshot& snapshot) {
  const FailoverSettings settings = failover_settings(snapshot);
  const int minor = snapshot.minor();
  Json warnings = Json::array();
  Json result = {{"servers", tell_servers(settings, warnings)},
                 {"lease_holder", settings.holder ? Json(*settings.holder) : Json()},
                 {"nodes", Json::array()}};
  if (settings.elected() && !settings.holder)
    warnings.push_back("Which server holds the controller manager's Lease is not known: each may be the one.");
  const Span toleration = over(settings.servers, &ServerTimers::toleration_seconds, usual_toleration_seconds);
  std::vector<std::string> no_lease;
  for (const auto& node : snapshot.nodes) {
    const auto name = node["metadata"]["name"].get<std::string>();
    const bool server = std::any_of(settings.servers.begin(), settings.servers.end(),
                                    [&](const ServerTimers& one) { return one.name == name; });
    const auto duration = lease_duration(snapshot, name);
    if (!duration) no_lease.push_back(name);
    Json row = {{"name", name},
                {"server", server},
                {"lease_holder", settings.holder == name},
                {"lease_duration", optional(duration)},
                {"detected", nullptr},
                {"evicted", nullptr},
                {"replaced", nullptr}};
    if (!server || settings.elected()) {
      const NodeMonitor by = monitor_by(in_charge(settings, name), minor, duration.value_or(usual_lease_duration));
      row.update(phases(by, toleration, settings.holder == name, server && !settings.holder));
    }
    result["nodes"].push_back(std::move(row));
  }
  if (!no_lease.empty())
    warnings.push_back(fmt::format(
        "How often {} renews its Lease is not known: a Lease of {} s, renewed each quarter of that, is assumed.",
        no_lease.size() == 1 ? no_lease.front() : fmt::format("each of {} nodes", no_lease.size()),
        usual_lease_duration));
  const int usual = usual_grace_period_of(minor);
  if (over(settings.servers, &ServerTimers::grace_period, usual).from < usual)
    warnings.push_back(
        "Whether nodes give silent connections up in time for this grace period is not told by the API: see "
        "HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS in the environment of k3s.");
  warn_of_older_pods(snapshot, toleration, warnings);
  result["warnings"] = std::move(warnings);
  return result;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// A short grace period alone makes healthy clusters flap. A kubelet keeps one HTTP/2 connection to a server; when that
// server loses its power, the connection is silent until client-go's health check gives it up, 45 s later by default,
// and no Lease is renewed meanwhile. So a profile sets three things together: how long controller managers wait, how
// often kubelets renew, and how soon a silent connection is given up.
#include "ha/failover/profile.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace core_ha::ha {

namespace {

struct Profile {
  std::string name;
  FailoverTimers timers;
};

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> all{{.name = "default", .timers = {}},
                                        {.name = "fast",
                                         .timers = {.grace_period = 20,
                                                    .monitor_period = 1,
                                                    .toleration_seconds = 30,
                                                    .lease_duration = 16,
                                                    .read_idle = 5,
                                                    .ping = 3}},
                                        // Slow or lossy links: what is late is not dead.
                                        {.name = "edge",
                                         .timers = {.grace_period = 120,
                                                    .monitor_period = {},
                                                    .toleration_seconds = 600,
                                                    .lease_duration = 80,
                                                    .read_idle = 40,
                                                    .ping = 20}}};
  return all;
}

/// A kubelet renews each quarter of its Lease's duration, and up to 4 % later than that.
int longest_renewal(const FailoverTimers& timers) {
  return static_cast<int>(std::ceil(timers.lease_duration.value_or(usual_lease_duration) * 0.25 * 1.04));
}

int connection_timeout(const FailoverTimers& timers) {
  return timers.read_idle.value_or(usual_read_idle) + timers.ping.value_or(usual_ping);
}

/// What is no more patient than Kubernetes itself is looked at; what is, is not ours to refuse.
bool bolder_than_usual(const FailoverTimers& timers) {
  return timers.grace_period.value_or(usual_grace_period) < usual_grace_period ||
         timers.lease_duration.value_or(usual_lease_duration) > usual_lease_duration ||
         connection_timeout(timers) > usual_read_idle + usual_ping;
}

std::string list(const char* flags, const std::vector<std::string>& values) {
  if (values.empty()) return "";
  return fmt::format("{}+:\n  - {}\n", flags, fmt::join(values, "\n  - "));
}

}  // namespace

const std::vector<std::string>& failover_profiles() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    all.reserve(profiles().size());
    for (const auto& profile : profiles())
      all.push_back(profile.name);
    return all;
  }();
  return names;
}

const std::vector<FailoverNumber>& failover_numbers() {
  static const std::vector<FailoverNumber> numbers{
      {"grace_period", "seconds without a sign of life after which a node is taken for dead", 10, 3600,
       &FailoverWish::grace_period},
      {"toleration_seconds", "seconds for which a new pod stays on a node that is taken for dead", 0, 86400,
       &FailoverWish::toleration_seconds},
      {"lease_duration", "seconds of a node's Lease; its kubelet renews it each quarter of that", 4, 600,
       &FailoverWish::lease_duration},
      {"connection_timeout", "seconds of silence after which a node gives a connection to a server up", 3, 300,
       &FailoverWish::connection_timeout}};
  return numbers;
}

int longest_silence(const FailoverTimers& timers) {
  constexpr int reconnect = 5;  // the dead server is tried once more, then the next one, and TLS
  constexpr int election = 12;  // servers whose etcd lost its leader write nothing for 5 to 10 s
  return longest_renewal(timers) + std::max(connection_timeout(timers) + reconnect, election);
}

Result<FailoverTimers> failover_timers(const FailoverWish& wish) {
  const auto found = std::find_if(profiles().begin(), profiles().end(),
                                  [&](const Profile& profile) { return profile.name == wish.profile; });
  if (found == profiles().end())
    return Error{ExitStatus::usage, fmt::format("failover_profile is {}; allowed is one of {}.", wish.profile,
                                                fmt::join(failover_profiles(), ", "))};
  for (const auto& number : failover_numbers()) {
    const auto& value = wish.*number.value;
    if (value && (*value < number.lowest || *value > number.highest))
      return Error{ExitStatus::usage, fmt::format("failover_{} is {}; allowed is an integer from {} to {} (seconds).",
                                                  number.name, *value, number.lowest, number.highest)};
  }
  FailoverTimers timers = found->timers;
  if (wish.grace_period) timers.grace_period = wish.grace_period;
  if (wish.toleration_seconds) timers.toleration_seconds = wish.toleration_seconds;
  if (wish.lease_duration) timers.lease_duration = wish.lease_duration;
  if (wish.connection_timeout) {
    timers.ping = std::max(1, (*wish.connection_timeout + 1) / 3);
    timers.read_idle = *wish.connection_timeout - *timers.ping;
  }
  const int grace = timers.grace_period.value_or(usual_grace_period);
  const int silence = longest_silence(timers);
  if (bolder_than_usual(timers) && grace < silence)
    return Error{
        ExitStatus::unsafe,
        fmt::format("failover_grace_period is {} s, and a living node may be silent for {} s when the server that it "
                    "speaks to dies: it renews its Lease every {} s (failover_lease_duration is {}), gives a silent "
                    "connection up after {} s (failover_connection_timeout) and then needs another server. It would "
                    "be taken for dead. Allow {} s, or shorten the others.",
                    grace, silence, longest_renewal(timers), timers.lease_duration.value_or(usual_lease_duration),
                    connection_timeout(timers), silence)};
  return timers;
}

DropIns drop_ins(const FailoverTimers& timers) {
  const std::string head = "# Made by the role k3s_core_ha: its fail-over profile. Changes are lost.\n";
  std::vector<std::string> api;
  if (timers.toleration_seconds)
    api = {fmt::format("default-not-ready-toleration-seconds={}", *timers.toleration_seconds),
           fmt::format("default-unreachable-toleration-seconds={}", *timers.toleration_seconds)};
  std::vector<std::string> controllers;
  controllers.reserve(2);
  if (timers.grace_period) controllers.push_back(fmt::format("node-monitor-grace-period={}s", *timers.grace_period));
  if (timers.monitor_period) controllers.push_back(fmt::format("node-monitor-period={}s", *timers.monitor_period));
  DropIns files;
  // With the plus k3s adds to what its other files say of the key, where it would replace it otherwise.
  files.config = list("kube-apiserver-arg", api) + list("kube-controller-manager-arg", controllers);
  if (!files.config.empty()) files.config.insert(0, head);
  if (timers.lease_duration)
    files.kubelet = fmt::format(
        "{}apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nnodeLeaseDurationSeconds: {}\n", head,
        *timers.lease_duration);
  if (timers.read_idle && timers.ping)
    files.unit = fmt::format(
        "{}[Service]\nEnvironment=HTTP2_READ_IDLE_TIMEOUT_SECONDS={}\nEnvironment=HTTP2_PING_TIMEOUT_SECONDS={}\n",
        head, *timers.read_idle, *timers.ping);
  return files;
}

bool nodes_first(const FailoverTimers& timers) {
  return timers.grace_period.value_or(usual_grace_period) < usual_grace_period;
}

Json to_json(const FailoverTimers& timers) {
  Json json = Json::object();
  const auto put = [&](const char* name, const std::optional<int>& value) {
    if (value) json[name] = *value;
  };
  put("grace_period", timers.grace_period);
  put("monitor_period", timers.monitor_period);
  put("toleration_seconds", timers.toleration_seconds);
  put("lease_duration", timers.lease_duration);
  put("http2_read_idle", timers.read_idle);
  put("http2_ping", timers.ping);
  return json;
}

}  // namespace core_ha::ha

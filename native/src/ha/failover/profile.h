// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace core_ha::ha {

/// The timers that decide how soon a node's death is noticed, and its pods are replaced; all in seconds. What is absent
/// is as Kubernetes has it.
struct FailoverTimers {
  std::optional<int> grace_period = {};        ///< node-monitor-grace-period of the controller managers
  std::optional<int> monitor_period = {};      ///< node-monitor-period: how often they look
  std::optional<int> toleration_seconds = {};  ///< what API servers let new pods tolerate
  std::optional<int> lease_duration = {};      ///< of a node's Lease; its kubelet renews it each quarter of that
  std::optional<int> read_idle = {};           ///< after so long a silent connection to a server is asked by a ping
  std::optional<int> ping = {};                ///< and given up so much later
};

/// Kubernetes' own timers.
inline constexpr int usual_grace_period = 50;
constexpr int usual_grace_period_of(int minor) {
  return minor == 0 || minor >= 32 ? usual_grace_period : 40;
}
inline constexpr int usual_monitor_period = 5;
inline constexpr int usual_toleration_seconds = 300;
inline constexpr int usual_lease_duration = 40;
inline constexpr int usual_read_idle = 30;
inline constexpr int usual_ping = 15;

/// A profile, and numbers of the user's own in the place of its.
struct FailoverWish {
  std::string profile = "default";
  std::optional<int> grace_period = {};
  std::optional<int> toleration_seconds = {};
  std::optional<int> lease_duration = {};
  std::optional<int> connection_timeout = {};  ///< read_idle and ping together
};

/// A number that a user may give, and its range.
struct FailoverNumber {
  const char* name;  ///< `grace_period`
  const char* description;
  int lowest;
  int highest;
  std::optional<int> FailoverWish::* value;
};

const std::vector<std::string>& failover_profiles();
const std::vector<FailoverNumber>& failover_numbers();

/// The timers of a wish. A number out of range is refused (exit status 2), and so is (exit status 4) what would take a
/// living node for dead where a server dies: each in one sentence with the numbers.
Result<FailoverTimers> failover_timers(const FailoverWish& wish);

/// For how many seconds a living node may be silent where the server that it speaks to dies.
int longest_silence(const FailoverTimers& timers);

/// The files that bring k3s to these timers; a text is empty where it needs none.
struct DropIns {
  std::string config;   ///< of k3s on servers: config.yaml.d
  std::string kubelet;  ///< of the kubelet on every node: kubelet.conf.d
  std::string unit;     ///< of k3s's systemd unit on every node
};
DropIns drop_ins(const FailoverTimers& timers);

/// Whether nodes are to renew faster before controller managers lose patience, or the reverse.
bool nodes_first(const FailoverTimers& timers);

Json to_json(const FailoverTimers& timers);

}  // namespace core_ha::ha

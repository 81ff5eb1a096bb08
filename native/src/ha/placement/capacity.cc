// SPDX-License-Identifier: GPL-3.0-or-later
//
// What can be placed follows from k3s's spread rule, as the overlay holds it: over hosts that take pods, the counts of
// one template's pods may differ by maxSkew at most, 1. A host without room keeps its count, and with it holds all
// others down to one more. So with c_i the most that host i can hold (what it has, and what its free requests allow),
// the sum of min(c_i, min(c) + 1) is what fits, in whatever order the scheduler tries. Nodes that carry the same host
// label are one host: their room adds up.
//
// CoreDNS is of priority system-cluster-critical: pods of a lower one are pushed out for it. Only what pods of its own
// priority or a higher one request is in its way; what others request is worth a warning.
//
// Replicas that keep apart and are replaced one at a time need a host more (Placement::spare): the one that ends holds
// its host as long as it ends, and the scheduler does not wait for that. Where no host is free it pushes somebody out,
// also one of CoreDNS for one of a higher priority. Where there is no further host, it has nothing to gain by that.
#include "ha/placement/capacity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "cluster/usage.h"
#include "ha/placement/words.h"

namespace core_ha::ha {

namespace {

using cluster::Node;
using cluster::Resources;

constexpr std::size_t nodes_at_once = 16;
constexpr double mebi = 1048576;

/// The hosts that can run a component, by whether they take pods now.
struct Hosts {
  std::set<std::string> eligible;
  std::set<std::string> open;
  std::vector<std::string> closed;  ///< `agent-1 (cordoned)`
  int cordoned = 0;
};

Hosts sort_hosts(const std::vector<Node>& nodes) {
  Hosts hosts;
  for (const auto& node : nodes) {
    if (!node.eligible()) continue;
    hosts.eligible.insert(node.host);
    if (node.open()) {
      hosts.open.insert(node.host);
      continue;
    }
    hosts.closed.push_back(closed_words(node));
    if (node.ready && node.cordoned) ++hosts.cordoned;
  }
  return hosts;
}

/// Whether so few hosts take pods that the replicas would not be spread as wished.
bool check_hosts(Planner& planner, std::string_view title, const Hosts& hosts, int replicas) {
  const auto wanted = std::min(static_cast<std::size_t>(replicas), hosts.eligible.size());
  if (hosts.open.empty()) {
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("No node takes pods now (of {} that can run {}: {}), so nothing can roll out.",
                               hosts.eligible.size(), title, few(hosts.closed)));
    return false;
  }
  if (hosts.open.size() >= wanted) return true;
  const std::string state =
      fmt::format("Only {} of {} nodes that can run {} {} pods now (not {})", hosts.open.size(), hosts.eligible.size(),
                  title, hosts.open.size() == 1 ? "takes" : "take", few(hosts.closed));
  // An outage must not stop a repair; a cordon is somebody's own and lifted in a moment.
  if (hosts.open.size() == 1 && hosts.cordoned > 0) {
    planner.refuse(ExitStatus::unsafe, fmt::format("{}: all {} replicas would be on {}, and gone with it. Uncordon one "
                                                   "first.",
                                                   state, replicas, *hosts.open.begin()));
    return false;
  }
  planner.warn(fmt::format("{}: {} replicas share {}, and stay there when the others take pods again.", state, replicas,
                           hosts.open.size() == 1 ? "it" : "them"));
  return true;
}

/// What is free on a node, and how many more of a component's pods that is.
struct Room {
  Resources free;
  int pods = 0;
};

double left(double has, double used) {
  return std::max(0.0, has - used);
}

Room room_on(const Json& node, const Json& usage, const Resources& request, int least_priority) {
  Resources used;
  for (const auto& row : usage) {
    if (row.value("priority", 0) < least_priority) continue;
    used.cpu += row.value("cpu", 0.0);
    used.memory += row.value("memory", 0.0);
    used.pods += row.value("pods", 0.0);
  }
  const Resources has = cluster::allocatable_of(node);
  Room room{.free = {left(has.cpu, used.cpu), left(has.memory, used.memory), left(has.pods, used.pods)}};
  constexpr double unlimited = 1e6;
  constexpr double rounding = 1e-9;
  double fits = has.pods > 0 ? room.free.pods : unlimited;
  if (request.cpu > 0) fits = std::min(fits, room.free.cpu / request.cpu);
  if (request.memory > 0) fits = std::min(fits, room.free.memory / request.memory);
  room.pods = static_cast<int>(std::floor(fits + rounding));
  return room;
}

std::string room_words(std::string_view node, const Room& room) {
  return fmt::format("{}: {:.2f} CPU, {:.0f} MiB, {:.0f} pods free", node, room.free.cpu, room.free.memory / mebi,
                     room.free.pods);
}

/// Whether pods of this template keep away from hosts that have a pod with these labels.
bool repelled(const Json& pod_template, const Json& labels) {
  const Json::json_pointer required("/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution");
  const Json terms = pod_template.value(required, Json::array());
  return std::any_of(terms.begin(), terms.end(), [&](const Json& term) {
    return term.value("topologyKey", "") == "kubernetes.io/hostname" &&
           cluster::selects(term.value("labelSelector", Json::object()), labels);
  });
}

class Requests {
 public:
  Requests(const cluster::Snapshot& snapshot, std::string_view title, const Json& pod_template,
           const std::vector<Node>& nodes, const Placement& placement)
      : title_(title), placement_(placement), request_(cluster::requests_of(pod_template["spec"])) {
    const Json& usage = snapshot.usage;
    const bool apart = keep_apart(pod_template);
    std::set<std::string> taken;  // hosts that a pod, staying or leaving, keeps for itself
    for (const auto& node : nodes)
      if (apart && (has_pod(placement.staying, node.name) || has_pod(placement.leaving, node.name)))
        taken.insert(node.host);
    for (const auto& object : snapshot.nodes) {
      const auto node = std::find_if(nodes.begin(), nodes.end(),
                                     [&](const Node& n) { return n.name == object["metadata"].value("name", ""); });
      if (node == nodes.end() || !node->open()) continue;
      if (!usage.contains(node->name)) {
        unread_.push_back(node->name);
        continue;
      }
      const int has = static_cast<int>(std::count(placement.staying.begin(), placement.staying.end(), node->name));
      Room hard = room_on(object, usage[node->name], request_, placement.priority);
      Room soft = room_on(object, usage[node->name], request_, std::numeric_limits<int>::min());
      for (Room* room : {&hard, &soft})
        room->pods += node->name == placement.freed ? 1 : 0;
      ++read_;
      Host& host = hosts_[node->host];
      host.has += has;
      host.hard += hard.pods;
      host.soft += soft.pods;
      if (apart) {
        const int most = taken.contains(node->host) ? 0 : 1;
        host.hard = std::min(host.hard, most);
        host.soft = std::min(host.soft, most);
        if (has_pod(placement.leaving, node->name)) {
          full_.push_back(fmt::format("{}: an old one, and its anti-affinity lets none beside it", node->name));
          continue;
        }
      }
      if (hard.pods == 0) full_.push_back(room_words(node->name, hard));
    }
  }

  Fit judge() {
    const int asked = placement_.pods + placement_.spare;
    int total = asked;
    for (const auto& [name, host] : hosts_)
      total += host.has;
    // One pod on each of so many hosts is never against the spread, whatever the unread ones hold.
    const auto one_each = std::count_if(hosts_.begin(), hosts_.end(),
                                        [](const auto& host) { return host.second.has + host.second.soft > 0; });
    if (one_each >= total + placement_.before) return {};
    if (!unread_.empty()) {
      const std::size_t more = std::max({nodes_at_once, 2 * static_cast<std::size_t>(total), read_});
      if (unread_.size() > more) unread_.resize(more);
      return {.unread = unread_};
    }
    const std::string words = fmt::format("{} requests {:.2f} CPU and {:.0f} MiB for each replica", title_,
                                          request_.cpu, request_.memory / mebi);
    if (const int fits = fitting(&Host::hard); fits < placement_.pods)
      return {.refusal = fmt::format("{}, and {} of {} new replicas could be placed on the {} nodes that take pods now "
                                     "({}).",
                                     words, fits, placement_.pods, read_, few(full_))};
    if (fitting(&Host::hard) < asked)
      return {.refusal = fmt::format("{}, and while they are replaced one after the other no further node has room for "
                                     "one, so pods as critical as CoreDNS's may be pushed out ({}).",
                                     words, few(full_))};
    if (at_worst(&Host::hard) < asked) return {.crowded = true};
    const int beside = at_worst(&Host::soft);
    if (beside < placement_.pods)
      return {.warning = fmt::format("{}: not all {} new ones fit beside what runs, so pods of a lower priority will "
                                     "be pushed out.",
                                     words, placement_.pods)};
    if (beside < asked)
      return {.warning = fmt::format("{}: no further node has room for one beside what runs while they are replaced "
                                     "one after the other, so pods of a lower priority will be pushed out.",
                                     words)};
    return {};
  }

 private:
  struct Host {
    int has = 0;
    int hard = 0;  ///< so many more, if others may be pushed out
    int soft = 0;  ///< beside everything that runs
  };

  static bool has_pod(const std::vector<std::string>& pods, const std::string& node) {
    return std::find(pods.begin(), pods.end(), node) != pods.end();
  }

  int fitting(int Host::* more) const {
    int least = std::numeric_limits<int>::max() - 1;
    for (const auto& [name, host] : hosts_)
      least = std::min(least, host.has + host.*more);
    int sum = 0;
    for (const auto& [name, host] : hosts_)
      sum += std::max(0, std::min(host.*more, least + 1 - host.has));
    return sum;
  }

  /// The same wherever those that come before have gone: to as many hosts, to those with the least room first, or
  /// several to one.
  int at_worst(int Host::* more) {
    int least = fitting(more);
    if (placement_.before == 0) return least;
    const auto hosts = hosts_;
    std::multimap<int, std::string> by_room;
    for (const auto& [name, host] : hosts)
      if (host.*more > 0) by_room.emplace(host.has + host.*more, name);
    int taken = 0;
    for (auto at = by_room.begin(); at != by_room.end() && taken < placement_.before; ++at, ++taken)
      --(hosts_[at->second].*more);
    least = std::min(least, fitting(more));
    hosts_ = hosts;
    for (const auto& [name, host] : hosts) {
      hosts_[name].*more = std::max(0, host.*more - placement_.stacked);
      least = std::min(least, fitting(more));
      hosts_ = hosts;
    }
    return least;
  }

  const std::string_view title_;
  const Placement& placement_;
  const Resources request_;
  std::map<std::string, Host> hosts_;
  std::size_t read_ = 0;  ///< nodes whose usage is known
  std::vector<std::string> full_;
  std::vector<std::string> unread_;
};

}  // namespace

bool has_host_ports(const Json& pod_spec) {
  if (pod_spec.value("hostNetwork", false)) return true;
  const Json containers = pod_spec.value("containers", Json::array());
  return std::any_of(containers.begin(), containers.end(), [](const Json& container) {
    const Json ports = container.value("ports", Json::array());
    return std::any_of(ports.begin(), ports.end(), [](const Json& port) { return port.value("hostPort", 0) > 0; });
  });
}

bool keep_apart(const Json& pod_template) {
  return has_host_ports(pod_template["spec"]) ||
         repelled(pod_template, pod_template.value(Json::json_pointer("/metadata/labels"), Json::object()));
}

Fit judge_fit(const cluster::Snapshot& snapshot, std::string_view title, const Json& pod_template,
              const std::vector<cluster::Node>& nodes, const Placement& placement) {
  if (placement.pods + placement.spare <= 0) return {};
  return Requests(snapshot, title, pod_template, nodes, placement).judge();
}

void check_placement(Planner& planner, std::string_view title, const Json& pod_template,
                     const std::vector<cluster::Node>& nodes, int replicas, const Placement& placement) {
  if (!check_hosts(planner, title, sort_hosts(nodes), replicas)) return;
  Placement after = placement;
  after.before = planner.expected;
  after.stacked = planner.stacked;
  Fit fit = judge_fit(planner.snapshot, title, pod_template, nodes, after);
  if (fit.crowded) planner.crowd();
  if (!fit.refusal.empty()) planner.refuse(ExitStatus::unsafe, std::move(fit.refusal));
  if (!fit.warning.empty()) planner.warn(std::move(fit.warning));
  planner.want_usage(fit.unread);
}

void check_daemons(Planner& planner, std::string_view title, const Json& pod_template,
                   const std::vector<cluster::Node>& nodes) {
  const cluster::Snapshot& snapshot = planner.snapshot;
  const Resources request = cluster::requests_of(pod_template["spec"]);
  std::set<std::string> occupied;
  for (const auto& pod : snapshot.pods)
    if (repelled(pod_template, pod["metadata"].value("labels", Json::object())))
      occupied.insert(pod["spec"].value("nodeName", ""));
  std::size_t asked = 0;
  std::vector<std::string> unread;
  std::vector<std::string> full;
  std::vector<std::string> pushing;
  for (const auto& object : snapshot.nodes) {
    const auto node = std::find_if(nodes.begin(), nodes.end(),
                                   [&](const Node& n) { return n.name == object["metadata"].value("name", ""); });
    if (node == nodes.end() || !node->takes_daemons()) continue;
    ++asked;
    if (occupied.contains(node->name)) {
      full.push_back(fmt::format("{}: its anti-affinity lets none beside the one that is there", node->name));
    } else if (!snapshot.usage.contains(node->name)) {
      unread.push_back(node->name);
    } else if (const Room hard = room_on(object, snapshot.usage[node->name], request, critical_priority);
               hard.pods == 0) {
      full.push_back(room_words(node->name, hard));
    } else if (hard.pods <= planner.stacked) {
      planner.crowd();
    } else if (room_on(object, snapshot.usage[node->name], request, std::numeric_limits<int>::min()).pods <=
               planner.stacked) {
      pushing.push_back(node->name);
    }
  }
  planner.want_usage(unread);
  const std::string words =
      fmt::format("{} requests {:.2f} CPU and {:.0f} MiB on each node", title, request.cpu, request.memory / mebi);
  if (asked == 0)
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("No node that can run {} is ready, so nothing can roll out.", title));
  else if (!full.empty())
    planner.refuse(ExitStatus::unsafe,
                   fmt::format("{}, and {} of {} have no room for it now ({}).", words, full.size(), asked, few(full)));
  if (!pushing.empty())
    planner.warn(fmt::format("{}: pods of a lower priority may be pushed out on {}.", words, few(pushing)));
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/rebalance.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "cluster/nodes.h"
#include "cluster/time.h"
#include "ha/planner.h"
#include "ha/spec.h"
#include "ha/state.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/retire.h"

namespace core_ha::ha {

namespace {

struct Moved {
  std::string to;
  cluster::WallTime at;
};

/// What the annotation says: `agent-1 2026-06-01T12:00:00Z`.
std::optional<Moved> last_move(const Json& config_map, std::string_view annotation) {
  const std::string note =
      config_map["metadata"].value("annotations", Json::object()).value(std::string(annotation), "");
  const auto space = note.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const auto at = cluster::parse_time(note.substr(space + 1));
  if (!at) return std::nullopt;
  return Moved{note.substr(0, space), *at};
}

/// When the youngest of the pods was made.
std::optional<cluster::WallTime> youngest(const cluster::Snapshot& snapshot, const CoreDns& coredns) {
  std::optional<cluster::WallTime> latest;
  for (const auto& object : snapshot.pods) {
    const Json& metadata = object["metadata"];
    const bool ours = std::any_of(coredns.pods.begin(), coredns.pods.end(),
                                  [&](const auto& pod) { return pod.uid == metadata.value("uid", ""); });
    if (!ours) continue;
    const auto made = cluster::parse_time(metadata.value("creationTimestamp", ""));
    if (made && (!latest || *made > *latest)) latest = made;
  }
  return latest;
}

bool at_rest(const CoreDns& coredns) {
  const Json status = coredns.deployment->value("status", Json::object());
  return !coredns.paused() && !updating(*coredns.deployment) &&
         status.value("availableReplicas", 0) == coredns.replicas() &&
         static_cast<int>(coredns.pods.size()) == coredns.replicas() &&
         std::none_of(coredns.pods.begin(), coredns.pods.end(),
                      [](const auto& pod) { return pod.retiring || pod.node.empty() || pod.owner.empty(); });
}

Choice none(std::string words) {
  return {.move = {}, .words = std::move(words)};
}

/// The hosts that take pods now, with their zones and CoreDNS's pods.
struct Hosts {
  std::map<std::string, int> pods;
  std::map<std::string, std::string> zone;
  std::map<std::string, std::string> of_node;
};

Hosts hosts_of(const cluster::Snapshot& snapshot, const CoreDns& coredns, const std::string& zone_label) {
  Hosts hosts;
  for (const auto& node : cluster::judge_nodes(snapshot, coredns.pod_spec(), zone_label)) {
    if (!node.open()) continue;
    hosts.pods.emplace(node.host, 0);
    hosts.zone.emplace(node.host, node.zone);
    hosts.of_node.emplace(node.name, node.host);
  }
  for (const auto& pod : coredns.pods)
    if (const auto host = hosts.of_node.find(pod.node); host != hosts.of_node.end()) ++hosts.pods[host->second];
  return hosts;
}

bool fewer(const std::pair<const std::string, int>& a, const std::pair<const std::string, int>& b) {
  return a.second < b.second;
}

/// A move that would help, whether or not it is time for it.
struct Candidate {
  std::string from;  ///< a host
  std::string to;
  std::string words;
  std::string_view annotation;
};

std::optional<Candidate> between_hosts(const Hosts& hosts) {
  const auto least = *std::min_element(hosts.pods.begin(), hosts.pods.end(), fewer);
  const auto most = *std::max_element(hosts.pods.begin(), hosts.pods.end(), fewer);
  if (most.second - least.second < 2) return std::nullopt;
  return Candidate{most.first, least.first,
                   fmt::format("{} has {} replicas and {} has {}", most.first, most.second, least.first, least.second),
                   moved_annotation};
}

/// Only to a host to which k3s's spread over hosts lets the scheduler put it: none has fewer, also when it has left.
std::optional<Candidate> between_zones(const Hosts& hosts) {
  std::map<std::string, int> zones;
  for (const auto& [host, zone] : hosts.zone) {
    if (zone.empty()) return std::nullopt;  // what is not known cannot be made more even
    zones[zone] += hosts.pods.at(host);
  }
  const auto most = *std::max_element(zones.begin(), zones.end(), fewer);
  std::map<std::string, int> after = hosts.pods;
  const auto from = [&] {
    auto fullest = after.end();
    for (auto host = after.begin(); host != after.end(); ++host)
      if (hosts.zone.at(host->first) == most.first && (fullest == after.end() || host->second > fullest->second))
        fullest = host;
    return fullest;
  }();
  --from->second;
  const int least = std::min_element(after.begin(), after.end(), fewer)->second;
  std::optional<std::pair<std::string, int>> to;
  for (const auto& [host, pods] : after) {
    const std::string& zone = hosts.zone.at(host);
    if (pods == least && most.second - zones[zone] >= 2 && (!to || zones[zone] < to->second))
      to = std::pair(zone, zones[zone]);
  }
  if (!to) return std::nullopt;
  return Candidate{from->first, to->first,
                   fmt::format("{} has {} replicas and {} has {}", most.first, most.second, to->first, to->second),
                   moved_zone_annotation};
}

/// The steps by which the pod is replaced, and then goes.
void plan_move(Move& move, const cluster::Snapshot& snapshot, const CoreDns& coredns, CoreDnsPod pod) {
  const Spec spec;  // no step of these asks it
  Plan replacement;
  Planner replacing(spec, snapshot, replacement);
  plan_labels(replacing, "free-" + pod.ref.name, pod,
              {{"pod-template-hash", nullptr}, {cluster::retiring_label, "true"}},
              "its ReplicaSet makes another one while it serves on");
  replacing.add({.id = "replaced-" + pod.ref.name,
                 .action = Action::wait_pods_ready,
                 .object = pod.ref,
                 .reason = "as many replicas as are wished serve besides it",
                 .body = {{"spec", {{"replicas", coredns.replicas()}}}},
                 .selector = "k8s-app=kube-dns",
                 .pod_uids = {pod.uid}});
  move.replacement = std::move(replacement.steps);
  pod.retiring = true;
  pod.owner.clear();
  Plan retirement;
  Planner retiring(spec, snapshot, retirement);
  plan_retirement(retiring, {&pod}, cluster::judge_nodes(snapshot, coredns.pod_spec()));
  move.retirement = std::move(retirement.steps);
}

}  // namespace

Choice choose_move(const cluster::Snapshot& snapshot, std::chrono::seconds rest) {
  const Json* object = cluster::find_named(snapshot.configmaps, state_object.name);
  const auto kept = object == nullptr ? std::nullopt : read_state(*object);
  if (!kept) return none("No wish is kept in this cluster: nothing is moved.");
  const auto spec = parse_spec(Json::parse(kept->spec, nullptr, false));
  if (spec && spec->coredns_strategy == "helm") return none("CoreDNS is run from a Helm chart: nothing is moved.");
  const CoreDns coredns = view_coredns(snapshot);
  if (coredns.deployment == nullptr || coredns.replicas() < 2) return none("There is no second replica to move.");
  if (!at_rest(coredns))
    return none("CoreDNS is not at rest: its replicas are not all available, or a change rolls out.");

  if (std::any_of(coredns.pods.begin(), coredns.pods.end(), [](const auto& pod) { return !pod.gentle; }))
    return none("CoreDNS is as k3s ships it: nothing is moved.");

  const Hosts hosts = hosts_of(snapshot, coredns, spec ? spec->zone_label : "");
  if (hosts.pods.empty()) return none("No node takes pods now.");
  auto wish = between_hosts(hosts);
  if (!wish && spec && (spec->level == "auto" || spec->level == "zone")) wish = between_zones(hosts);
  if (!wish) return none("The replicas are spread as evenly as can be.");

  const auto now = cluster::parse_time(snapshot.taken);
  if (!now) return none("The time of the snapshot is not known.");
  auto last = youngest(snapshot, coredns);
  for (const auto annotation : {moved_annotation, moved_zone_annotation})
    if (const auto moved = last_move(*object, annotation); moved && (!last || moved->at > *last)) last = moved->at;
  if (last && *now - *last < rest)
    return none(fmt::format("{}; one is moved when nothing was made or moved for {}.", wish->words,
                            cluster::format_span(rest)));
  if (const auto moved = last_move(*object, wish->annotation);
      moved && moved->to == wish->to && *now - moved->at < try_again)
    return none(fmt::format("{}, but moving one there was tried at {} and did not help.", wish->words,
                            cluster::format_time(moved->at)));
  const auto pod = std::find_if(coredns.pods.begin(), coredns.pods.end(), [&](const auto& candidate) {
    const auto host = hosts.of_node.find(candidate.node);
    return host != hosts.of_node.end() && host->second == wish->from;
  });
  Move move{.pod = pod->ref,
            .uid = pod->uid,
            .from = wish->from,
            .to = wish->to,
            .reason = wish->words,
            .annotation = wish->annotation,
            .note = fmt::format("{} {}", wish->to, cluster::format_time(*now))};
  plan_move(move, snapshot, coredns, *pod);
  return {.move = std::move(move), .words = {}};
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/rebalance.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "cluster/nodes.h"
#include "cluster/time.h"
#include "ha/state.h"
#include "ha/strategies/component.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

namespace {

struct Moved {
  std::string host;
  cluster::WallTime at;
};

/// What the annotation says: `agent-1 2026-06-01T12:00:00Z`.
std::optional<Moved> last_move(const Json& config_map) {
  const std::string note =
      config_map["metadata"].value("annotations", Json::object()).value(std::string(moved_annotation), "");
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

}  // namespace

Choice choose_move(const cluster::Snapshot& snapshot, std::chrono::seconds rest) {
  const Json* kept = cluster::find_named(snapshot.configmaps, state_object.name);
  if (kept == nullptr || !read_state(*kept)) return none("No wish is kept in this cluster: nothing is moved.");
  const CoreDns coredns = view_coredns(snapshot);
  if (coredns.deployment == nullptr || coredns.replicas() < 2) return none("There is no second replica to move.");
  if (!at_rest(coredns))
    return none("CoreDNS is not at rest: its replicas are not all available, or a change rolls out.");

  // Without our overlay an evicted pod takes the queries with it that are on their way to it.
  if (std::any_of(coredns.pods.begin(), coredns.pods.end(), [](const auto& pod) { return !pod.gentle; }))
    return none("CoreDNS is as k3s ships it, and a pod of it that ends loses queries: nothing is moved.");

  std::map<std::string, int> pods;  // by host that takes pods
  std::map<std::string, std::string> host_of;
  for (const auto& node : cluster::judge_nodes(snapshot, coredns.pod_spec())) {
    if (!node.open()) continue;
    pods.emplace(node.host, 0);
    host_of.emplace(node.name, node.host);
  }
  for (const auto& pod : coredns.pods)
    if (const auto host = host_of.find(pod.node); host != host_of.end()) ++pods[host->second];
  if (pods.empty()) return none("No node takes pods now.");
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto least = *std::min_element(pods.begin(), pods.end(), by_count);
  const auto most = *std::max_element(pods.begin(), pods.end(), by_count);
  if (most.second - least.second < 2) return none("The replicas are spread as evenly as can be.");

  const auto now = cluster::parse_time(snapshot.taken);
  if (!now) return none("The time of the snapshot is not known.");
  const auto moved = last_move(*kept);
  const auto since = youngest(snapshot, coredns);
  if ((since && *now - *since < rest) || (moved && *now - moved->at < rest))
    return none(fmt::format("{} has {} replicas and {} has {}; one is moved when nothing was made or moved for {}.",
                            most.first, most.second, least.first, least.second, cluster::format_span(rest)));
  if (moved && moved->host == least.first && *now - moved->at < try_again)
    return none(fmt::format("{} has {} replicas and {} has {}, but moving one there was tried at {} and did not help.",
                            most.first, most.second, least.first, least.second, cluster::format_time(moved->at)));
  const auto pod = std::find_if(coredns.pods.begin(), coredns.pods.end(), [&](const auto& candidate) {
    const auto host = host_of.find(candidate.node);
    return host != host_of.end() && host->second == most.first;
  });
  return {.move = Move{.pod = pod->ref,
                       .uid = pod->uid,
                       .from = most.first,
                       .to = least.first,
                       .reason = fmt::format("{} has {} replicas and {} has {}", most.first, most.second, least.first,
                                             least.second),
                       .note = fmt::format("{} {}", least.first, cluster::format_time(*now))},
          .words = {}};
}

}  // namespace core_ha::ha

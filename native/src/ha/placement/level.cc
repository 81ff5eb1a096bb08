// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/level.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

#include "cluster/time.h"
#include "ha/placement/words.h"
#include "ha/placement/zones.h"

namespace core_ha::ha {

namespace {

constexpr int usual_replicas = 3;
constexpr int nodes_per_replica = 16;
constexpr double cores_per_replica = 256;
constexpr int least_maximum = 5;

/// What counts of the registered nodes.
struct Count {
  int registered = 0;
  int eligible = 0;  ///< nodes that can run the component
  double cores = 0;
  std::set<std::string> domains;      ///< their hosts
  Zones zones;                        ///< theirs
  std::vector<std::string> excluded;  ///< `gpu-1 (taint gpu:NoSchedule)`
  std::vector<std::string> gone;      ///< not heard of for too long
};

Count count(const Spec& spec, const std::vector<cluster::Node>& nodes) {
  Count result;
  std::vector<cluster::Node> counted;
  for (const auto& node : nodes) {
    if (node.silent_for && *node.silent_for > spec.unreachable_counts_for) {
      result.gone.push_back(fmt::format("{} ({})", node.name, cluster::format_span(*node.silent_for)));
      continue;
    }
    counted.push_back(node);
    ++result.registered;
    result.cores += node.cores;
    if (node.eligible()) {
      ++result.eligible;
      result.domains.insert(node.host);
    } else {
      result.excluded.push_back(fmt::format("{} ({})", node.name, node.excluded));
    }
  }
  result.zones = zones_of(counted);
  return result;
}

std::vector<std::string> gone_warnings(const Spec& spec, const Count& counted) {
  if (counted.gone.empty()) return {};
  return {
      fmt::format("No longer counted, because they were not heard of for longer than unreachable_counts_for ({}): {}.",
                  cluster::format_span(spec.unreachable_counts_for), few(counted.gone))};
}

std::string nodes_word(std::size_t count) {
  return count == 1 ? "node" : "nodes";
}

/// `3 of 4 registered nodes can run CoreDNS (not gpu-1 (taint gpu:NoSchedule))`
std::string eligible_words(const Count& counted, std::string_view title = "CoreDNS") {
  const auto domains = counted.domains.size();
  std::string text;
  if (counted.excluded.empty())
    text = counted.registered == 1 ? fmt::format("the only registered node can run {}", title)
                                   : fmt::format("all {} registered nodes can run {}", counted.registered, title);
  else
    text = fmt::format("{} of {} registered {} can run {} (not {})", domains, counted.registered,
                       nodes_word(static_cast<std::size_t>(counted.registered)), title, few(counted.excluded));
  return text;
}

Error unsafe(const std::string& sentence) {
  return Error{ExitStatus::unsafe, sentence};
}

/// Replicas that a cluster of this size is to have, before anybody asks where they go.
int by_size(const Count& counted) {
  const int by_nodes = (counted.registered + nodes_per_replica - 1) / nodes_per_replica;
  const int by_cores = static_cast<int>(std::ceil(counted.cores / cores_per_replica));
  return std::max({usual_replicas, by_nodes, by_cores});
}

/// Why that many, where it is not the usual count.
std::string size_words(const Count& counted, int wanted) {
  if (wanted < by_size(counted)) return fmt::format(" ({} would be usual)", by_size(counted));
  if (wanted > usual_replicas)
    return fmt::format(" (one for each {} nodes or {:.0f} cores)", nodes_per_replica, cores_per_replica);
  return {};
}

/// The highest level that is asked for and that so many replicas, each on a node of its own, give.
std::string level_of(const Spec& spec, const Count& counted, int replicas) {
  if (replicas < 2) return "none";
  const bool wished = spec.level == "auto" || spec.level == "zone";
  return wished && counted.zones.known() ? "zone" : "node";
}

/// `2 of 5 nodes that can run CoreDNS carry no label L (a, b). Label each with its zone: …`
std::string unlabelled_words(const Spec& spec, const Count& counted) {
  const auto& names = counted.zones.unlabelled;
  return fmt::format(
      "{} of {} {} that can run CoreDNS carr{} no label {} ({}). Label each with its zone: kubectl label node {} "
      "{}=ZONE.",
      names.size(), counted.eligible, nodes_word(static_cast<std::size_t>(counted.eligible)),
      names.size() == 1 ? "ies" : "y", spec.zone_label, few(names), names.front(), spec.zone_label);
}

/// Why level zone, which is asked for, cannot be had; empty: nodes allow it. `where`: what nodes there are, in words.
std::string zone_refusal(const Spec& spec, const Count& counted, const std::string& where) {
  if (spec.level != "zone" || counted.zones.known()) return {};
  if (!counted.zones.unlabelled.empty()) return "level is zone, but " + unlabelled_words(spec, counted);
  return fmt::format("level is zone, which needs nodes in 2 zones that can run CoreDNS, but {}, in {}.", where,
                     zones_words(counted.zones));
}

/// What of the labels keeps auto from level zone, where somebody seems to mean there to be zones.
void warn_of_labels(const Spec& spec, const Count& counted, Sizing& sizing) {
  if (spec.level != "auto" || sizing.level.name != "node" || counted.zones.unlabelled.empty()) return;
  if (!counted.zones.hosts.empty() || spec.zone_label != cluster::usual_zone_label)
    sizing.warnings.push_back("Level zone is not taken: " + unlabelled_words(spec, counted));
}

/// Who may fail at that level, with where the replicas are: `, so any one node may fail`
std::string may_fail(const Spec& spec, const Count& counted, const std::string& level) {
  if (level == "zone") return fmt::format(", spread over {}, so any one zone may fail", zones_words(counted.zones));
  const auto& zones = counted.zones;
  if (spec.level == "auto" && zones.unlabelled.empty() && zones.hosts.size() == 1)
    return fmt::format(", so any one node may fail, but not {}, the zone of all of them", zones.hosts.begin()->first);
  return ", so any one node may fail";
}

/// What the user said about the least count, and in which key.
struct Asked {
  std::string key;
  std::optional<int> count;
  std::optional<int> most;  ///< the autoscaler's
};

Asked asked_of(const Spec& spec) {
  if (spec.fixed_count()) return {"coredns_replicas", spec.coredns_replicas, {}};
  return {"coredns_min_replicas", spec.coredns_min_replicas, spec.coredns_max_replicas};
}

/// The key that keeps the count at one where nodes would allow more.
std::string limiting_key(const Asked& asked) {
  return asked.count ? asked.key : "coredns_max_replicas";
}

std::string none_reason(const Spec& spec, const Asked& asked, const Count& counted) {
  if (spec.level == "none") return "Level none is asked for: one replica, nothing may fail.";
  if (counted.domains.size() >= 2)
    return fmt::format("{} is 1, so CoreDNS is gone with the node that it runs on.", limiting_key(asked));
  if (counted.excluded.empty() && counted.registered == 1)
    return fmt::format(
        "There is one node ({}), and when it fails everything on it fails: nothing more can be had until a second node "
        "joins.",
        *counted.domains.begin());
  return fmt::format(
      "Only {} of {} registered nodes can run CoreDNS (not {}): nothing more can be had until another "
      "node can.",
      counted.domains.size(), counted.registered, few(counted.excluded));
}

}  // namespace

Sizing size_coredns(const Spec& spec, const std::vector<cluster::Node>& nodes) {
  const Count counted = count(spec, nodes);
  const int domains = static_cast<int>(counted.domains.size());
  Sizing sizing;
  sizing.warnings = gone_warnings(spec, counted);
  if (domains == 0) {
    sizing.level = {"none", "No node can run CoreDNS."};
    sizing.refusal = unsafe(counted.registered == 0
                                ? std::string("No node is registered.")
                                : fmt::format("No registered node can run CoreDNS (not {}).", few(counted.excluded)));
    return sizing;
  }

  const Asked asked = asked_of(spec);
  int wanted = spec.level == "none" ? 1 : std::min(by_size(counted), domains);
  wanted = asked.count.value_or(std::min(wanted, asked.most.value_or(1000)));
  sizing.min_replicas = wanted;
  sizing.max_replicas = asked.most.value_or(std::min(1000, std::max(least_maximum, 2 * wanted)));

  std::string sentence = eligible_words(counted);
  sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
  if (wanted < 2)
    sizing.level = {"none", none_reason(spec, asked, counted)};
  else if (spec.level == "none")
    sizing.level = {"node", fmt::format("Level none is asked for, and {} {} gives node.", asked.key, wanted)};
  else
    sizing.level = {level_of(spec, counted, wanted),
                    fmt::format("{}: {} replicas{} on as many nodes{}.", sentence, wanted,
                                asked.count ? "" : size_words(counted, wanted),
                                may_fail(spec, counted, level_of(spec, counted, wanted)))};
  warn_of_labels(spec, counted, sizing);

  // What the user said in numbers is kept, or refused; it is never bent in silence.
  if (wanted > domains)
    sizing.refusal = unsafe(fmt::format("{} is {}, but {} {} at most can be on different nodes: {}.", asked.key, wanted,
                                        domains, domains == 1 ? "replica" : "replicas", eligible_words(counted)));
  else if (spec.level == "node" && domains < 2)
    sizing.refusal = unsafe(
        fmt::format("level is node, which needs 2 nodes that can run CoreDNS, but {}.", eligible_words(counted)));
  else if (const std::string why = zone_refusal(spec, counted, eligible_words(counted)); !why.empty())
    sizing.refusal = unsafe(why);
  else if ((spec.level == "node" || spec.level == "zone") && wanted < 2)
    sizing.refusal =
        unsafe(fmt::format("level is {}, which needs 2 replicas, but {} is 1.", spec.level, limiting_key(asked)));
  if (sizing.refusal) sizing.level = {domains >= 2 ? "node" : "none", sentence + "."};
  return sizing;
}

Sizing size_daemonset(const Spec& spec, const std::vector<cluster::Node>& nodes) {
  const Count everywhere = count(spec, nodes);
  const bool narrowed = spec.coredns_daemonset_nodes == "control_plane";
  std::vector<cluster::Node> asked;
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(asked),
               [&](const auto& node) { return !narrowed || node.server; });
  const Count counted = count(spec, asked);
  const auto domains = counted.domains.size();
  const auto more = everywhere.domains.size();

  Sizing sizing;
  sizing.warnings = gone_warnings(spec, everywhere);
  sizing.min_replicas = sizing.max_replicas = counted.eligible;
  const std::string kind = narrowed ? "control-plane nodes" : "registered nodes";
  const std::string which = fmt::format("{} of {} {}", domains, counted.registered, kind) +
                            (counted.excluded.empty() ? "" : fmt::format(" (not {})", few(counted.excluded)));
  const std::string way_out =
      narrowed && more > domains ? fmt::format("; with coredns_daemonset_nodes all it is {} nodes", more) : "";
  sizing.level = {domains >= 2 ? "node" : "none", fmt::format("CoreDNS can run on {}.", which)};
  if (domains == 0) {
    sizing.refusal = unsafe(everywhere.registered == 0
                                ? std::string("No node is registered.")
                                : fmt::format("CoreDNS is to run on {}, and can on {}{}.",
                                              narrowed ? "every control-plane node" : "every node", which, way_out));
  } else if (spec.level == "node" && domains < 2) {
    sizing.refusal =
        unsafe(fmt::format("level is node, which needs CoreDNS on 2 nodes, but it can run on {}{}.", which, way_out));
  } else if (const std::string why = zone_refusal(spec, counted, "it can on " + which + way_out); !why.empty()) {
    sizing.refusal = unsafe(why);
  } else if (domains < 2) {
    sizing.level.reason = fmt::format("CoreDNS runs on {}, and is gone with it{}.", which, way_out);
  } else if (spec.level == "none") {
    sizing.level.reason =
        fmt::format("Level none is asked for, and coredns_strategy daemonset on {} gives node.", which);
  } else {
    sizing.level.name = level_of(spec, counted, static_cast<int>(domains));
    sizing.level.reason = fmt::format("A replica on each of {}{}.", which, may_fail(spec, counted, sizing.level.name));
    warn_of_labels(spec, counted, sizing);
  }
  return sizing;
}

Sizing size_metrics_server(const Spec& spec, const std::vector<cluster::Node>& nodes) {
  constexpr int usual = 2;
  const Count counted = count(spec, nodes);
  const int domains = static_cast<int>(counted.domains.size());
  Sizing sizing;
  sizing.min_replicas = spec.metrics_server_replicas.value_or(spec.level == "none" ? 1 : std::min(usual, domains));
  if (spec.metrics_server_replicas && sizing.min_replicas > domains)
    sizing.refusal = unsafe(fmt::format(
        "metrics_server_replicas is {}, but {} {} at most can be on different nodes: {}.", sizing.min_replicas, domains,
        domains == 1 ? "replica" : "replicas", eligible_words(counted, "metrics-server")));
  return sizing;
}

Sizing size_extra(const Spec& spec, const ExtraDeployment& extra, const std::vector<cluster::Node>& nodes, int had,
                  bool one_per_host) {
  constexpr int usual = 2;
  const Count counted = count(spec, nodes);
  const int domains = static_cast<int>(counted.domains.size());
  const std::string title = fmt::format("Deployment {}/{}", extra.ns, extra.name);
  Sizing sizing;
  sizing.min_replicas = extra.replicas.value_or(std::max(had, spec.level == "none" ? 1 : std::min(usual, domains)));
  if (domains == 0)
    sizing.refusal = unsafe(fmt::format("extra_deployments names {}, and no registered node can run it (not {}).",
                                        title, few(counted.excluded)));
  else if (one_per_host && sizing.min_replicas > domains)
    sizing.refusal = unsafe(fmt::format(
        "extra_deployments asks for {} replicas of {}, which take ports of their hosts, but {} at most can be on "
        "different nodes: {}.",
        sizing.min_replicas, title, domains, eligible_words(counted, "it")));
  return sizing;
}

Sizing size_local_path(const Spec& spec, const std::vector<cluster::Node>& carriers, int eligible) {
  constexpr int usual = 2;
  const int domains = static_cast<int>(count(spec, carriers).domains.size());
  const auto& wished = spec.local_path_provisioner_replicas;
  const bool idle = spec.level == "none" || eligible < 2;
  Sizing sizing;
  sizing.min_replicas = wished.value_or(idle ? 0 : std::min(usual, domains));
  if (wished && *wished > domains)
    sizing.refusal = unsafe(
        fmt::format("local_path_provisioner_replicas is {}, but {} {} at most can be on different nodes that carry the "
                    "helper, of {} that can run local-path-provisioner.",
                    *wished, domains, domains == 1 ? "replica" : "replicas", eligible));
  return sizing;
}

Sizing size_traefik(const Spec& spec, const std::vector<cluster::Node>& nodes, int given, int wished) {
  constexpr int usual = 2;
  const Count counted = count(spec, nodes);
  const int domains = static_cast<int>(counted.domains.size());
  Sizing sizing;
  if (domains == 0) {
    sizing.refusal = unsafe(fmt::format("No registered node can run traefik (not {}).", few(counted.excluded)));
    return sizing;
  }
  const int by_level = std::max(given, spec.level == "none" ? 1 : std::min(usual, domains));
  sizing.min_replicas = spec.traefik_replicas.value_or(wished > 0 ? wished : by_level);
  if (sizing.min_replicas > domains)
    sizing.warnings.push_back(fmt::format("traefik is to have {} replicas, so some share a node: {}.",
                                          sizing.min_replicas, eligible_words(counted, "traefik")));
  return sizing;
}

}  // namespace core_ha::ha

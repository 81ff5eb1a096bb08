// SPDX-License-Identifier: GPL-3.0-or-later
//
// Strategy custom. k3s sets back what its manifests declare at every start of a server, so what they declare can only
// be changed where k3s leaves the manifest alone: a file NAME.yaml.skip beside it, on every server. Nothing is deleted
// by that, NodeHosts go on being fed, and the staged file goes on being rewritten with each release. So everything that
// it ships is ours from then on: we apply the staged objects whole, with the user's changes in them, and a new release
// is followed by the next run on a server that has it.
//
// The way back needs care, for a field goes with its last holder, and what we took by force has no other: dropped, the
// image or the tolerations would be gone, not k3s's. So k3s's values are applied first, whole, and then only our mark
// is taken off the fields (Action::disown). From then on the object is as k3s would apply it, whether the `.skip` files
// go a moment later or at the next run; nothing waits for k3s and nothing rolls when it comes.
#include "ha/strategies/shipped.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <regex>
#include <utility>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "cluster/nodes.h"
#include "cluster/staged.h"
#include "ha/placement/words.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/own_coredns.h"
#include "ha/strategies/rivals.h"
#include "kube/client.h"

namespace core_ha::ha {

namespace {

const Json* in_manifest(const Json& objects, const kube::ObjectRef& ref) {
  const auto it =
      std::find_if(objects.begin(), objects.end(), [&](const Json& object) { return kube::ref_of(object) == ref; });
  return it == objects.end() ? nullptr : &*it;
}

const Json* staged(const cluster::Snapshot& snapshot, const kube::ObjectRef& ref) {
  for (const auto& objects : snapshot.manifests)
    if (const Json* object = in_manifest(objects, ref)) return object;
  return nullptr;
}

const cluster::FieldPath node_hosts{"f:data", "f:NodeHosts"};

/// What pods mount of it must be there. k3s adds it, and takes over what it changes; but not to a ConfigMap that is
/// not there, and where it did not ship CoreDNS when we did, and does now, nobody else has it yet.
void keep_node_hosts(const Planner& planner, Json& config) {
  if (cluster::value_at(config, node_hosts) != nullptr) return;
  const Json* live = planner.live(coredns_config);
  if (live == nullptr) {
    config["data"]["NodeHosts"] = node_hosts_of(planner.snapshot);
    return;
  }
  const Json* lines = cluster::value_at(*live, node_hosts);
  if (lines == nullptr) return;
  if (cluster::owners_of(*live, node_hosts) == std::vector<std::string>{std::string(kube::field_manager)})
    config["data"]["NodeHosts"] = *lines;
}

/// Of a component under strategy custom; refuses what cannot stand in for k3s's objects.
void check_own_manifest(Planner& planner, const char* key, const Component& component, const Json& own) {
  const Json& theirs = planner.snapshot.manifests.value(std::string(component.manifest), Json::array());
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto ref = kube::ref_of(own[i]);
    if (in_manifest(theirs, ref) == nullptr) {
      std::vector<std::string> names;
      for (const auto& object : theirs)
        names.push_back(kube::to_string(kube::ref_of(object)));
      planner.refuse(ExitStatus::usage,
                     fmt::format("{}[{}] is {}, which stands for nothing in {}.yaml; allowed are {}.", key, i,
                                 kube::to_string(ref), component.manifest, fmt::join(names, ", ")));
    } else if (const Json* live = planner.live(ref); live != nullptr && ref == component.deployment) {
      const Json selector = own[i]["spec"].value("selector", Json());
      if (selector != (*live)["spec"]["selector"])
        planner.refuse(ExitStatus::usage,
                       fmt::format("{}[{}].spec.selector is {}; a Deployment's selector cannot be changed, and here it "
                                   "is {}.",
                                   key, i, selector.dump(), (*live)["spec"]["selector"].dump()));
    }
  }
}

/// k3s's manifests that it leaves alone on the node: as was told, or else as the node says.
std::set<std::string> left_alone_on(const Planner& planner, const Json& node) {
  const auto told = planner.told_aside.find(node["metadata"].value("name", ""));
  return told == planner.told_aside.end() ? aside_marks(node) : told->second;
}

/// What is to be given back must be known.
void refuse_unknown(Planner& planner, const Component& component) {
  const Json* deployment = planner.live(component.deployment);
  if (deployment == nullptr || !is_taken_over(*deployment) || refuse_to_leave_none(planner, component)) return;
  if (!shipped(planner, component.deployment).is_null()) return;
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("{} is ours by strategy custom, and what k3s ships in its place is not known here: run "
                             "this on a server, or name the directory of {}.yaml (--manifests).",
                             kube::to_string(component.deployment), component.manifest));
}

void refuse_unproven(Planner& planner, std::string_view name, std::vector<std::string> servers) {
  planner.refuse(ExitStatus::unsafe,
                 fmt::format("Strategy custom needs a file {}.yaml.skip beside k3s's manifest on every server, and it "
                             "is not known to be on {}. The role puts it there.",
                             name, few(std::move(servers))));
}

}  // namespace

bool refuse_to_leave_none(Planner& planner, const Component& component) {
  const Json* deployment = planner.live(component.deployment);
  const auto servers = cluster::disabled_on(planner.snapshot, component.addon);
  if (deployment == nullptr || !is_taken_over(*deployment) || servers.empty() || is_custom(planner.spec, component))
    return false;
  planner.refuse(
      ExitStatus::unsafe,
      fmt::format("{} is ours by strategy custom, and k3s ships none, for it was started with --disable {} on {}: "
                  "without ours there would be none. Have k3s ship its own again first.",
                  kube::to_string(component.deployment), component.addon, few(servers)));
  return true;
}

std::set<std::string> aside_marks(const Json& node) {
  return cluster::names_in(
      node["metadata"].value("annotations", Json::object()).value(set_aside_annotation, std::string()));
}

Json aside_annotation(const std::set<std::string>& names) {
  return names.empty() ? Json() : Json(fmt::format("{}", fmt::join(names, ",")));
}

void plan_aside_mark(Planner& planner, const Json& node, const std::set<std::string>& names) {
  if (names == aside_marks(node)) return;
  const std::string name = node["metadata"]["name"];
  planner.add({.id = "set-aside-" + name,
               .action = Action::patch,
               .object = {"v1", "Node", "", name},
               .reason = names.empty() ? "no manifest of k3s's is to be left alone there"
                                       : fmt::format("k3s leaves {} alone there", fmt::join(names, ", ")),
               .body = {{"metadata", {{"annotations", {{set_aside_annotation, aside_annotation(names)}}}}}},
               .uid = node["metadata"].value("uid", "")});
}

std::set<std::string> wanted_aside(const Spec& spec) {
  std::set<std::string> names;
  for (const auto& component : {coredns_component, metrics_server})
    if (is_custom(spec, component)) names.emplace(component.manifest);
  return names;
}

bool is_custom(const Spec& spec, const Component& component) {
  return component.wished != nullptr && spec.*component.wished == "custom";
}

std::vector<std::string> aside_on(const Planner& planner, const Component& component) {
  std::vector<std::string> servers;
  for (const auto& node : planner.snapshot.nodes)
    if (left_alone_on(planner, node).contains(std::string(component.manifest)))
      servers.push_back(node["metadata"]["name"]);
  return servers;
}

bool is_aside_everywhere(const Planner& planner, const Component& component) {
  const auto there = aside_on(planner, component);
  const auto judged = cluster::judge_nodes(planner.snapshot, Json::object());
  return !there.empty() && std::all_of(judged.begin(), judged.end(), [&](const cluster::Node& node) {
    return !node.server || std::find(there.begin(), there.end(), node.name) != there.end();
  });
}

bool mends(const Planner& planner, const Component& component) {
  const Json* deployment = planner.live(component.deployment);
  return deployment != nullptr && planner.snapshot.manifests.contains(std::string(component.manifest)) &&
         cluster::disabled_on(planner.snapshot, component.addon).empty() &&
         foreign_addon(*deployment, component).empty() && rival_words(planner, component).empty();
}

void plan_set_aside(Planner& planner) {
  const auto wanted = wanted_aside(planner.spec);
  std::map<std::string, std::vector<std::string>> unproven;
  std::map<std::string, std::vector<std::string>> unwanted;
  const auto judged = cluster::judge_nodes(planner.snapshot, Json::object());
  for (std::size_t i = 0; i < judged.size(); ++i) {
    const Json& node = planner.snapshot.nodes[i];
    const std::string& name = judged[i].name;
    const auto there = left_alone_on(planner, node);
    std::set<std::string> now;
    std::set_intersection(there.begin(), there.end(), wanted.begin(), wanted.end(), std::inserter(now, now.end()));
    plan_aside_mark(planner, node, now);
    const bool gone = judged[i].silent_for && *judged[i].silent_for > planner.spec.unreachable_counts_for;
    for (const auto& manifest : wanted)
      if (judged[i].server && !gone && !there.contains(manifest)) unproven[manifest].push_back(name);
    if (!planner.told_aside.contains(name)) continue;
    for (const auto& manifest : there)
      if (!wanted.contains(manifest)) unwanted[manifest].push_back(name);
  }
  for (const auto& [manifest, servers] : unproven)
    refuse_unproven(planner, manifest, servers);
  for (const auto& manifest : wanted)
    if (!planner.snapshot.manifests.contains(manifest))
      planner.refuse(ExitStatus::unsafe,
                     fmt::format("Strategy custom builds on {}.yaml as k3s stages it, and it is not there: run this on "
                                 "a server, or name the directory (--manifests).",
                                 manifest));
  for (const auto& component : {coredns_component, metrics_server}) {
    refuse_unknown(planner, component);
    if (std::string words = rival_warning(planner, component); !words.empty()) planner.warn(std::move(words));
    const auto servers = unwanted.find(std::string(component.manifest));
    const Json* deployment = planner.live(component.deployment);
    if (servers == unwanted.end() || deployment == nullptr || is_taken_over(*deployment)) continue;
    planner.warn(
        fmt::format("{}.yaml.skip keeps k3s from applying its manifest on {}, and no strategy wants that: "
                    "{} will not follow the next release. Remove the file.",
                    component.manifest, few(servers->second), component.title));
  }
}

Json shipped(const Planner& planner, const kube::ObjectRef& ref) {
  if (const Json* object = staged(planner.snapshot, ref)) {
    Json whole = *object;
    if (ref == coredns_config) keep_node_hosts(planner, whole);
    return whole;
  }
  const Json* live = planner.live(ref);
  return live == nullptr ? Json() : cluster::whole_applied_manifest(*live).value_or(Json());
}

Json to_be(const Planner& planner, const kube::ObjectRef& ref) {
  Json theirs = shipped(planner, ref);
  for (const auto* own : {&planner.spec.coredns_manifest, &planner.spec.metrics_server_manifest})
    if (const Json* object = in_manifest(*own, ref)) {
      const Json* lines = ref == coredns_config ? cluster::value_at(theirs, node_hosts) : nullptr;
      return lines == nullptr ? *object : cluster::overlay({{"data", {{"NodeHosts", *lines}}}}, *object);
    }
  return theirs;
}

void check_own_manifests(Planner& planner) {
  if (is_custom(planner.spec, coredns_component))
    check_own_manifest(planner, "coredns_manifest", coredns_component, planner.spec.coredns_manifest);
  if (is_custom(planner.spec, metrics_server))
    check_own_manifest(planner, "metrics_server_manifest", metrics_server, planner.spec.metrics_server_manifest);
}

bool is_taken_over(const Json& object) {
  return cluster::applied_fields(object, kube::field_manager).contains({"f:spec", "f:selector"});
}

bool is_shipped(const Json& deployment) {
  return is_taken_over(deployment) || cluster::applied_manifest(deployment).has_value();
}

Json pods_base(const Planner& planner, const Component& component, const Json& live) {
  const bool custom = is_custom(planner.spec, component);
  const Json theirs = custom ? to_be(planner, component.deployment) : shipped(planner, component.deployment);
  if (theirs.is_null() || (!custom && !is_taken_over(live))) return live;
  return cluster::overlay(cluster::without_applied(live, kube::field_manager), theirs);
}

HandBack hand_back(const Planner& planner, const Json& live, const Json& wish) {
  return hand_back_to(shipped(planner, kube::ref_of(live)), live, wish);
}

HandBack hand_back_to(const Json& theirs, const Json& live, const Json& wish) {
  HandBack back{.body = wish};
  const auto wished = cluster::fields_in(wish);
  auto kept = wished;
  for (const auto& path : cluster::applied_fields(live, kube::field_manager)) {
    if (wished.contains(path) || cluster::value_at(theirs, path) == nullptr) continue;
    if (cluster::owners_of(live, path).size() == 1) kept.insert(path);
  }
  if (kept == wished) return back;
  back.disowns = true;
  std::set<cluster::FieldPath> returned;
  std::set_difference(kept.begin(), kept.end(), wished.begin(), wished.end(), std::inserter(returned, returned.end()));
  back.body = cluster::overlay(cluster::body_from_fields(theirs, returned), wish);
  return back;
}

Json head_of(const Json& object) {
  Json head = {{"apiVersion", object["apiVersion"]}, {"kind", object["kind"]}, {"metadata", Json::object()}};
  for (const char* key : {"name", "namespace"})
    if (object["metadata"].contains(key)) head["metadata"][key] = object["metadata"][key];
  return head;
}

void plan_set(Planner& planner, const std::string& id, const Json& wish, const std::string& reason) {
  plan_set_to(planner, id, shipped(planner, kube::ref_of(wish)), wish, reason);
}

void plan_set_to(Planner& planner, const std::string& id, const Json& theirs, const Json& wish,
                 const std::string& reason) {
  const Json* live = planner.live(kube::ref_of(wish));
  const HandBack back = live == nullptr ? HandBack{wish} : hand_back_to(theirs, *live, wish);
  if (back.disowns) planner.set_aside(kube::ref_of(wish));  // these are k3s's own values
  planner.ensure(id, back.body, back.disowns ? "as k3s ships it" : reason);
  if (back.disowns) planner.disown(id + "-back", wish);
}

void plan_mended(Planner& planner, const std::string& id, const Json& theirs, const Json& wish,
                 const std::string& reason) {
  planner.apply(id, cluster::overlay(theirs, wish), reason);
  planner.stays_done();
  planner.disown(id + "-back", wish);
  planner.stays_done();
}

std::vector<Json> shipped_coredns_objects(const cluster::Snapshot& snapshot) {
  std::vector<Json> objects;
  for (const auto& object : snapshot.manifests.value(cluster::coredns_manifest, Json::array()))
    if (kube::ref_of(object) != coredns_deployment && kube::ref_of(object) != coredns_service)
      objects.push_back(object);
  return objects;
}

void plan_coredns_objects(Planner& planner) {
  const bool custom = is_custom(planner.spec, coredns_component);
  for (const auto& object : shipped_coredns_objects(planner.snapshot)) {
    const auto ref = kube::ref_of(object);
    const Json* live = planner.live(ref);
    const std::string id = fmt::format("coredns-{}", kube::resource_of(ref.kind));
    if (!custom) {
      if (live != nullptr && !cluster::applied_fields(*live, kube::field_manager).empty())
        plan_set(planner, id, head_of(object), "no field of ours is left");
      if (live == nullptr && planner.reads(ref.kind) && mends(planner, coredns_component))
        plan_mended(planner, id, shipped(planner, ref), head_of(object));
      continue;
    }
    if (!planner.reads(ref.kind)) {
      planner.warn(fmt::format("{} is new in this release's coredns.yaml, and is not followed.", kube::to_string(ref)));
      continue;
    }
    Json body = to_be(planner, ref);
    if (ref == coredns_config && planner.spec.coredns_lameduck) {
      const auto corefile = with_lameduck(body["data"].value("Corefile", ""), *planner.spec.coredns_lameduck);
      if (!corefile)
        planner.refuse(ExitStatus::unsafe,
                       "coredns_lameduck is set, and the Corefile has no line `health` to give it to.");
      else
        body["data"]["Corefile"] = *corefile;
    }
    planner.set_aside(ref);
    const std::string reason = "as this release ships it, with what is wished";
    if (live == nullptr)  // also one that says nothing but its name
      planner.apply(id, body, reason);
    else
      planner.ensure(id, body, reason);
  }
}

std::optional<std::string> with_lameduck(const std::string& corefile, int seconds) {
  static const std::regex bare(R"((^|\n)([ \t]*)health[ \t]*(?=\n))");
  if (!std::regex_search(corefile, bare)) return std::nullopt;
  return std::regex_replace(corefile, bare, fmt::format("$1$2health {{\n$2    lameduck {}s\n$2}}", seconds),
                            std::regex_constants::format_first_only);
}

}  // namespace core_ha::ha

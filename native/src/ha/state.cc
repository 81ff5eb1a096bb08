// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/state.h"

#include <fmt/format.h>

#include <charconv>

#include "ha/turn.h"

namespace core_ha::ha {

namespace {

/// Of the keys that keep the charts' hashes.
const std::string chart_prefix = "chart-";

Json state_body(const State& state) {
  Json body = apply_body(state_object);
  body["metadata"]["labels"] = own_labels("state");
  body["data"] = {{"spec", state.spec}, {"revision", std::to_string(state.revision)}};
  for (const auto& [name, hash] : state.charts)
    body["data"][chart_prefix + name] = hash;
  return body;
}

std::map<std::string, std::string> kept_charts(const cluster::Snapshot& snapshot) {
  const Json* object = cluster::find_named(snapshot.configmaps, state_object.name);
  const auto kept = object == nullptr ? std::nullopt : read_state(*object);
  return kept ? kept->charts : std::map<std::string, std::string>{};
}

}  // namespace

bool all_packaged(const Spec& spec) {
  return spec.coredns_strategy == "packaged" && spec.metrics_server_strategy == "packaged" &&
         spec.local_path_provisioner_strategy == "packaged" && spec.traefik_strategy == "packaged" &&
         spec.extra_deployments.empty();
}

std::optional<State> read_state(const Json& config_map) {
  const Json labels = config_map["metadata"].value("labels", Json::object());
  if (labels.value("app.kubernetes.io/managed-by", "") != "k3s-core-ha") return std::nullopt;
  const Json data = config_map.value("data", Json::object());
  const std::string text = data.value("revision", "");
  State state{.spec = data.value("spec", "")};
  for (const auto& [key, value] : data.items())
    if (key.starts_with(chart_prefix) && value.is_string())
      state.charts[key.substr(chart_prefix.size())] = value.get<std::string>();
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), state.revision);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || state.revision < 1) return std::nullopt;
  return state;
}

void plan_state(Planner& planner, std::optional<std::int64_t> revision,
                const std::map<std::string, std::string>& charts) {
  const Json* live = planner.live(state_object);
  const auto kept = live == nullptr ? std::nullopt : read_state(*live);
  State wish{.revision = kept ? kept->revision : 0, .spec = to_json(planner.spec).dump(), .charts = charts};
  const bool same = kept && kept->spec == wish.spec;
  if (revision && kept && (*revision < kept->revision || (*revision == kept->revision && !same))) {
    planner.refuse(
        ExitStatus::conflict,
        fmt::format("This wish is of revision {}, and the cluster's is of revision {}{}: nothing is written.",
                    *revision, kept->revision, same ? "" : " and another one"));
    return;
  }
  if (all_packaged(planner.spec) && live == nullptr) return;
  if (revision)
    wish.revision = *revision;
  else if (!same)
    ++wish.revision;
  planner.set_revision(wish.revision);
  if (planner.ensure("wish", state_body(wish), fmt::format("the wish is kept, as revision {}", wish.revision)))
    planner.only_as_observed();
}

void plan_settled(Planner& planner, const std::map<std::string, std::string>& charts) {
  planner.ensure("wish-settled",
                 state_body({.revision = planner.revision(), .spec = to_json(planner.spec).dump(), .charts = charts}),
                 "nothing of ours is about a chart any more that k3s-core-ha had to do with");
}

std::set<std::string> charts_of(const Spec& spec) {
  const bool all = all_packaged(spec);  // then no wish is kept that would tell
  std::set<std::string> charts;
  if (all || spec.coredns_strategy == "helm") charts.insert("coredns-ha");
  if (all || spec.metrics_server_strategy == "helm") charts.insert("metrics-server-ha");
  if (all || spec.local_path_provisioner_strategy == "helm") charts.insert("local-path-provisioner-ha");
  if (all || spec.traefik_strategy == "helm") charts.insert("traefik");
  return charts;
}

std::set<std::string> charts_of(const cluster::Snapshot& snapshot) {
  std::set<std::string> charts;
  for (const auto& [name, hash] : kept_charts(snapshot))
    charts.insert(name);
  return charts;
}

bool keeps_wish(const Planner& planner) {
  const Json* object = planner.live(state_object);
  const auto kept = object == nullptr ? std::nullopt : read_state(*object);
  return kept && kept->spec == to_json(planner.spec).dump();
}

std::optional<std::string> kept_mark(const cluster::Snapshot& snapshot, const std::string& chart) {
  const auto charts = kept_charts(snapshot);
  const auto mark = charts.find(chart);
  return mark == charts.end() ? std::nullopt : std::optional(mark->second);
}

void plan_no_state(Planner& planner) {
  for (const auto& node : planner.snapshot.nodes) {
    Json marks = Json::object();
    if (node["metadata"].value("annotations", Json::object()).contains(reconciles_annotation))
      marks["annotations"] = {{reconciles_annotation, nullptr}};
    if (node["metadata"].value("labels", Json::object()).contains(cluster::carries_label))
      marks["labels"] = {{cluster::carries_label, nullptr}};
    if (marks.empty()) continue;
    const std::string name = node["metadata"].value("name", "");
    planner.add({.id = "unmark-" + name,
                 .action = Action::patch,
                 .object = {"v1", "Node", "", name},
                 .reason = "nothing of ours runs there any more",
                 .body = {{"metadata", marks}},
                 .uid = node["metadata"].value("uid", "")});
  }
  planner.remove_own("wish-gone", state_object, "everything is as k3s ships it");
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is known of k3s's helm-controller, from its sources (k3s-io/helm-controller v0.17.9, pkg/controllers/chart):
// a change of a HelmChart or HelmChartConfig replaces the chart's job `helm-install-NAME`, whose pods' template carries
// the hash of what it was made for; values come in the order HelmChart's valuesContent and values, then those of the
// HelmChartConfig, and later ones win. Under failurePolicy retry a release that failed ends its job well, and
// helm-controller makes the next one (klipper-helm#140); only a deployed release with the label of the configuration
// is done.
#include "cluster/helm.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/yaml.h"
#include "cluster/k3s.h"
#include "cluster/nodes.h"
#include "kube/object_ref.h"

namespace core_ha::cluster {

namespace {

constexpr const char* hash_key = "helmcharts.helm.cattle.io/configHash";

bool has_condition(const Json& job, const char* type) {
  for (const auto& condition : job.value("status", Json::object()).value("conditions", Json::array()))
    if (condition.value("type", "") == type && condition.value("status", "") == "True") return true;
  return false;
}

/// What helm-controller tells the job's container in that variable; empty: nothing.
std::string variable_of(const Json& job, std::string_view name) {
  const Json::json_pointer containers("/spec/template/spec/containers");
  if (!job.contains(containers)) return {};
  for (const auto& container : job.at(containers))
    for (const auto& variable : container.value("env", Json::array()))
      if (variable.value("name", "") == name) return variable.value("value", "");
  return {};
}

Json labels_of(const Json& release) {
  return release["metadata"].value("labels", Json::object());
}

int revision_of(const Json& release) {
  const std::string text = labels_of(release).value("version", "");
  int revision = 0;
  std::from_chars(text.data(), text.data() + text.size(), revision);
  return revision;
}

void collect_both(const Json& one, const Json& other, const std::string& path, std::vector<std::string>& out) {
  if (one.is_object() && other.is_object()) {
    for (const auto& [key, value] : one.items())
      if (other.contains(key))
        collect_both(value, other[key], path.empty() ? key : fmt::format("{}.{}", path, key), out);
  } else if (one != other) {
    out.push_back(path);
  }
}

}  // namespace

std::string config_hash(const Json& job) {
  return job.value(Json::json_pointer("/spec/template/metadata/annotations"), Json::object()).value(hash_key, "");
}

bool is_complete(const Json& job) {
  return has_condition(job, "Complete");
}

kube::Read release_secrets(const std::string& ns, const std::string& labels) {
  return {.path = kube::rest_path({"v1", "Secret", ns, ""}),
          .list = true,
          .label_selector = "owner=helm," + labels,
          .accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"};
}

kube::Read release_secrets_of(const Json& job) {
  return release_secrets(job["metadata"].value("namespace", ""), "name=" + variable_of(job, "NAME"));
}

std::string release_label(const Json& job) {
  const std::string hash = variable_of(job, "CONFIG_HASH");
  return hash.empty() ? "" : fmt::format("{}={}", hash_key, hash);
}

bool is_deployed(const Json& job, const Json& releases) {
  const std::string label = release_label(job);
  return label.empty() || std::any_of(releases.begin(), releases.end(), [&](const Json& release) {
           return fmt::format("{}={}", hash_key, labels_of(release).value(hash_key, "")) == label;
         });
}

bool is_in_force(const Json& job, const Json& releases) {
  const auto latest = std::max_element(releases.begin(), releases.end(), [](const Json& one, const Json& other) {
    return revision_of(one) < revision_of(other);
  });
  return latest != releases.end() && labels_of(*latest).value("status", "") == "deployed" &&
         !release_label(job).empty() && is_deployed(job, Json::array({*latest}));
}

bool has_failed(const Json& job) {
  return has_condition(job, "Failed");
}

const Json* config_schema(const Snapshot& snapshot, const char* field) {
  const Json* crd = find_named(snapshot.customresourcedefinitions, "helmchartconfigs.helm.cattle.io", "");
  if (crd == nullptr) return nullptr;
  for (const auto& version : crd->at("spec").at("versions")) {
    if (version.value("name", "") != "v1") continue;
    const Json::json_pointer at("/schema/openAPIV3Schema/properties/spec/properties");
    if (!version.contains(at) || !version.at(at).contains(field)) return nullptr;
    return &version.at(at).at(field);
  }
  return nullptr;
}

bool helm_is_off(const Snapshot& snapshot) {
  bool told = false;
  for (const auto& node : snapshot.nodes) {
    const auto args = node_args(node);
    if (!args || !is_server(node)) continue;
    const auto values = flag_values(*args, "--disable-helm-controller");
    if (values.empty() || values.back() == "false") return false;
    told = true;
  }
  return told;
}

Json merge_values(Json base, const Json& over) {
  if (!over.is_object()) return over;
  if (!base.is_object()) base = Json::object();
  for (const auto& [key, value] : over.items()) {
    if (value.is_null())
      base.erase(key);
    else if (value.is_object())
      base[key] = merge_values(base.contains(key) ? base[key] : Json(), value);
    else
      base[key] = value;
  }
  return base;
}

std::vector<std::string> set_by_both(const Json& one, const Json& other) {
  std::vector<std::string> paths;
  collect_both(one, other, {}, paths);
  return paths;
}

Result<Json> values_in(const Json& object) {
  const Json spec = object.value("spec", Json::object());
  Json values = Json::object();
  if (const std::string text = spec.value("valuesContent", ""); !text.empty()) {
    const auto content = parse_yaml(text);
    if (!content || !(content->is_object() || content->is_null()))
      return Error{ExitStatus::unsafe,
                   fmt::format("spec.valuesContent of {} cannot be read: {}", kube::to_string(kube::ref_of(object)),
                               content ? "it is no mapping." : content.error().message)};
    if (content->is_object()) values = merge_values(std::move(values), *content);
  }
  if (const Json more = spec.value("values", Json()); more.is_object()) values = merge_values(std::move(values), more);
  return values;
}

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/snapshot.h"

namespace core_ha::cluster {

inline constexpr const char* helm_api = "helm.cattle.io/v1";

/// The configuration that a chart's job was made for, as helm-controller marks it; empty: none is marked.
std::string config_hash(const Json& job);

bool is_complete(const Json& job);
bool has_failed(const Json& job);

/// What the server's schema says of a field of a HelmChartConfig's spec; null: it knows no such field.
const Json* config_schema(const Snapshot& snapshot, const char* field);

/// Whether every server that tells its arguments was started with --disable-helm-controller, and one does.
bool helm_is_off(const Snapshot& snapshot);

/// `over` merged into `base` as Helm merges values: maps key by key, anything else replaces, and null takes the key
/// away.
Json merge_values(Json base, const Json& over);

/// The paths (`deployment.replicas`) of the values that both set, to different values.
std::vector<std::string> set_by_both(const Json& one, const Json& other);

/// The values of a HelmChart or HelmChartConfig, `valuesContent` and then `values`; an error (exit 4) where the text is
/// no mapping in YAML.
Result<Json> values_in(const Json& object);

}  // namespace core_ha::cluster

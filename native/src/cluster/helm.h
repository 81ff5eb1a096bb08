// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "kube/client.h"

namespace core_ha::cluster {

inline constexpr const char* helm_api = "helm.cattle.io/v1";

/// The configuration that a chart's job was made for, as helm-controller marks it; empty: none is marked.
std::string config_hash(const Json& job);

bool has_failed(const Json& job);

/// helm's releases, by their Secrets' labels: what is in a Secret is not asked for. `labels`: more of them to select
/// by.
kube::Read release_secrets(const std::string& ns, const std::string& labels);

/// Of the job's chart, however they stand.
kube::Read release_secrets_of(const Json& job);

/// The label by which the release of the job's configuration is known; empty: helm-controller gives it none yet.
std::string release_label(const Json& job);

/// Whether the job is at its end. One that could not apply the chart may end well all the same, and the next is made.
bool is_complete(const Json& job);
/// And whether its release is among those that are deployed.
bool is_deployed(const Json& job, const Json& releases);
/// Whether the latest of the chart's releases is the job's, and deployed: then the job, at its end or not, changes
/// nothing. helm-controller asks no more either.
bool is_in_force(const Json& job, const Json& releases);

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

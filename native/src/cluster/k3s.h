// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cluster/managed_fields.h"
#include "cluster/snapshot.h"

namespace core_ha::cluster {

/// Annotation in which k3s remembers what it applied, and kubectl's for the same.
inline constexpr const char* applied_annotation = "objectset.rio.cattle.io/applied";
inline constexpr const char* kubectl_annotation = "kubectl.kubernetes.io/last-applied-configuration";

/// The AddOn, that is the file among its manifests, by which k3s applied the object last; empty: none.
std::string addon_of(const Json& object);

/// What k3s does with a field that somebody else sets.
enum class Durability {
  durable,   ///< not in its manifest, or there with the very value: left alone at restarts and upgrades
  contested  ///< in its manifest with another value: set back at the next start of any server
};

/// The manifest that k3s last applied to this object, from the annotation that its deploy controller leaves there
/// (gzip in base64, or plain JSON); nothing when it manages the object not, or the annotation is not readable.
std::optional<Json> applied_manifest(const Json& object);

/// The same where it is whole: the annotation cuts long strings off, so nothing where one may be.
std::optional<Json> whole_applied_manifest(const Json& object);

/// Judged by the release at hand, that is by its own annotation, never by a table of ours.
Durability durability(const std::optional<Json>& manifest, const FieldPath& path, const Json& wish);

/// The arguments that k3s was started with on this node (annotation k3s.io/node-args); nothing on other nodes.
std::optional<std::vector<std::string>> node_args(const Json& node);

/// The value of a flag in any of its spellings, for each time that it is given; `true` where it stands alone.
std::vector<std::string> flag_values(const std::vector<std::string>& args, std::string_view flag);

/// What servers were told by this flag, several values with commas between; empty: nothing, or k3s's own default.
std::string told_by(const Snapshot& snapshot, std::string_view flag);

/// The image as k3s has it pulled: from the registry that servers were told of, if they were.
std::string pulled_as(const Snapshot& snapshot, std::string_view image);

/// The servers that were started with `--disable NAME`.
std::vector<std::string> disabled_on(const Snapshot& snapshot, std::string_view name);

/// Whether every server that says how it was started was started so.
bool disabled_everywhere(const Snapshot& snapshot, std::string_view name);

/// Whether Services are served by kube-proxy in its usual mode, which predictions rest on. Nothing when it cannot be
/// told from the nodes: servers started with --disable-agent have none.
std::optional<bool> kube_proxy_serves(const Snapshot& snapshot);

/// Empties what k3s's node annotations carry that may be secret (tokens, datastore endpoints).
void redact_node(Json& node);

}  // namespace core_ha::cluster

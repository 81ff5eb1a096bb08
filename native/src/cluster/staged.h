// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace core_ha::cluster {

/// Where a server of k3s has its manifests, unless it was started with another data directory.
inline constexpr const char* usual_manifests = "/var/lib/rancher/k3s/server/manifests";

/// The manifests that may be set aside, by their files' names without `.yaml`.
inline constexpr const char* coredns_manifest = "coredns";
inline constexpr const char* metrics_server_manifest = "metrics-server-deployment";

/// Names with commas between them, as options and annotations give them.
std::set<std::string> names_in(std::string_view text);

/// k3s's own manifests as staged in `directory`, as a snapshot has them: those that may be set aside. One that is not
/// there, or cannot be read, is left out.
Json read_staged(const std::filesystem::path& directory);

/// Files of somebody's among k3s's manifests in `directory` that get into the way of those that may be set aside, as a
/// snapshot has them. Either k3s takes one for the same AddOn, for that is a file's name up to its first dot, and
/// prunes what the other applied; or it declares an object of theirs, too (`staged` is what read_staged gave).
Json read_rivals(const std::filesystem::path& directory, const Json& staged);

/// The manifests that this server leaves alone, for a file NAME.yaml.skip beside them or in `directory` itself.
std::set<std::string> set_aside_in(const std::filesystem::path& directory);

/// Puts a `.skip` of ours beside each manifest of `names`, and takes ours away from the others. Whoever else put one
/// there keeps it. True when a file changed; an error (exit 1) names the file.
Result<bool> set_aside(const std::filesystem::path& directory, const std::set<std::string>& names);

}  // namespace core_ha::cluster

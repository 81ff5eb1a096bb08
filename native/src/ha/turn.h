// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace core_ha::ha {

/// Annotation of a Node: a timer there runs `reconcile`, of the helper's version that it names. It is the proof that
/// the server takes its turn, and goes with the way back to what k3s ships.
inline constexpr std::string_view reconciles_annotation = "k3s-core-ha/reconciles";

/// Label of a Node: it has the helper at helper_path, of the version that it names. Pods of ours that need it run
/// there.
inline constexpr const char* carries_label = "k3s-core-ha/carries";

/// Whether the Node says both, and of this version.
bool reconciles(const Json& node, std::string_view version);

/// The one server whose turn it is to reconcile: of those that say that they do, the first by name that is Ready.
/// Empty: none. Several that see the cluster differently for a moment do no harm: each change is for what was observed.
std::string whose_turn(const Json& nodes);

}  // namespace core_ha::ha

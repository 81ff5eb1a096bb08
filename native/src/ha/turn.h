// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace core_ha::ha {

/// Annotation of a Node: a timer there runs `reconcile`, of the helper's version that it names. It is the proof that
/// the server takes its turn, and goes with the way back to what k3s ships.
inline constexpr std::string_view reconciles_annotation = "k3s-core-ha/reconciles";

/// Whether the Node says so, and that it carries the helper, both of this version.
bool reconciles(const Json& node, std::string_view version);

/// The one server whose turn it is to reconcile: of those that say that they do, the first by name that is Ready.
/// Empty: none. Several that see the cluster differently for a moment do no harm: each change is for what was observed.
std::string whose_turn(const Json& nodes);

}  // namespace core_ha::ha

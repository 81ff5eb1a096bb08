// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "ha/planner.h"
#include "ha/strategies/component.h"

namespace core_ha::ha {

/// The AddOn, that is the file of somebody's among k3s's manifests, by which k3s applied an object of the component's
/// last; empty: its own, or none.
std::string foreign_addon(const Json& object, const Component& component);

/// Whether such a file and k3s's own manifest, or strategy custom, fight over the component: which file, over what, and
/// what ends it, in a sentence. Empty: none does. One that k3s applies in its own manifest's place, which is disabled
/// or set aside everywhere, is taken for k3s's.
std::string rival_words(const Planner& planner, const Component& component);

/// What is to be known of such a file where strategy custom takes over what it brought: a sentence, or empty.
std::string rival_warning(const Planner& planner, const Component& component);

}  // namespace core_ha::ha

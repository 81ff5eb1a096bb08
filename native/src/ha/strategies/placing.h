// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "ha/placement/zones.h"
#include "ha/spec.h"

namespace core_ha::ha {

/// Narrows the pods to nodes that meet the expressions, too, whatever their spec asks for already: each of its terms
/// alone is enough for the scheduler.
void narrow_nodes(Json& pod_spec, const Json& expressions);
/// To those that `node_affinity` asks for.
void narrow_nodes(Json& pod_spec, const Spec& spec);

/// A packaged Deployment's pod spec with `node_affinity` in place of what we have required there: by it nodes are
/// judged, and templates derived.
Json wished_pod_spec(const Json& deployment, const Spec& spec);

/// The spread over hosts as far as it can be had, of pods of one template: an entry of topologySpreadConstraints.
Json host_spread(const Json& label_selector);

/// The same over zones.
Json zone_spread(const Spec& spec, const Json& label_selector);

/// A component that stays as k3s ships it does not keep the wish: a sentence.
std::string affinity_left_out(const std::string& title);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "ha/placement/zones.h"
#include "ha/spec.h"
#include "ha/strategies/coredns_view.h"

namespace core_ha::ha {

/// How long a CoreDNS pod goes on answering after its endpoint is taken away: kube-proxies learn of it within a second
/// or two, and a resolver's retry to the same address comes after five.
inline constexpr int pre_stop_seconds = 8;

/// Time enough for preStop and what comes after it, in seconds; more, where somebody else gives more.
int coredns_grace_period(const CoreDns& coredns);

/// The pod's container that answers queries.
Json& coredns_container(Json& pod_spec);

/// Our whole set for the packaged Deployment: durable fields only, never `replicas`. `zones`: where its pods can run.
Json coredns_overlay(const CoreDns& coredns, const Spec& spec, const Zones& zones, int minor);

}  // namespace core_ha::ha

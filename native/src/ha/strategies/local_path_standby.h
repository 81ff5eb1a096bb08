// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "base/json.h"
#include "ha/placement/zones.h"
#include "ha/spec.h"

namespace core_ha::ha {

/// The command that the container runs, for `lead` to run it; null where it is the image's own, which nobody can read.
Json command_of(const Json& container);

/// Our whole set for the Deployment behind the Lease, derived from the packaged one.
Json local_path_standby_body(const Json& packaged, const Spec& spec, const Zones& zones, int replicas);

/// What its pods need of the API: the Lease, and to see whether a packaged pod may run.
Json local_path_role_body();

/// That, for the service account of the packaged one's pods.
Json local_path_role_binding_body(const Json& packaged);

/// Our set for the packaged Deployment while it is set aside.
Json local_path_aside_body();

/// Whether it is set aside, so that none of its pods can be scheduled.
bool is_unschedulable(const Json& packaged);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "kube/object_ref.h"
#include "lead/elector.h"
#include "lead/lease_client.h"

namespace core_ha::lead {

struct LeadOptions {
  kube::ObjectRef lease;
  std::string identity;         ///< nobody else's
  Timing timing;                ///< checked
  std::string while_none = {};  ///< label selector: while a pod of the namespace that it selects may run, we do not
  std::vector<std::string> program;
};

/// An identity that is this run's alone: the name, and random digits, as Kubernetes' own controllers have it.
Result<std::string> unique_identity(const std::string& name);

/// Runs the program while we hold the Lease, and again whenever we get it back after it was lost; until the program
/// ends by itself, cannot be started, or a signal falls when it is not there. Gives the exit status: the program's own,
/// as a shell gives it, or 126 or 127 of one that could not be started, 130 when none ran, 7 when a process is left
/// that we may not end (then the Lease is not released).
int run_while_leading(const LeadOptions& options, const Connect& connect);

}  // namespace core_ha::lead

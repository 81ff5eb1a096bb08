// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"

namespace core_ha::report {

/// The budget of a cluster for people: a table of its nodes, and what is not known.
std::string budget_text(const Json& budget);

/// A fail-over profile for people: its drop-ins, and what they come to.
std::string profile_text(const Json& profile);

}  // namespace core_ha::report

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "act/act.h"
#include "base/json.h"
#include "ha/plan.h"

namespace core_ha::report {

/// Where a plan's words come from; a saved snapshot has no server to ask.
enum class Source { cluster, snapshot };

/// The result of a plan that was not carried out; with `components`, how they stand.
Json result(const ha::Plan& plan, Source source);

/// The result of a plan and of what became of it.
Json result(const ha::Plan& plan, const act::Outcome& outcome);

/// The same for people: the level, a table of the steps, what changes in which object, warnings, predictions.
std::string text(const Json& result);

}  // namespace core_ha::report

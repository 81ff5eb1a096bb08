// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace core_ha::ha {

struct Spec;

/// What is wrong with the `…_chart` of a component, as the rest of a sentence that begins with the key's name; nothing:
/// it is right.
std::optional<std::string> fault_of_chart(const Json& chart);

/// The same of the values of these charts.
std::optional<std::string> fault_of_coredns_values(const Json& values);
std::optional<std::string> fault_of_metrics_server_values(const Json& values);
std::optional<std::string> fault_of_local_path_values(const Json& values);

/// A sentence where what is said of charts does not fit with another key of the wish; nothing: it does.
std::optional<std::string> fault_of_own_charts(const Spec& spec);

}  // namespace core_ha::ha

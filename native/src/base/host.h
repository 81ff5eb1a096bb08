// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

namespace core_ha {

/// This machine's name, as k3s gives it to the machine's Node unless told otherwise; empty where it has none.
std::string host_name();

}  // namespace core_ha

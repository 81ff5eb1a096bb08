// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string_view>

namespace core_ha::ha {

/// Whether Kubernetes takes this for the key of a label: `disk`, `example.org/disk`.
bool is_label_key(std::string_view text);

/// Whether it takes this for a label's value; the empty one is one.
bool is_label_value(std::string_view text);

}  // namespace core_ha::ha

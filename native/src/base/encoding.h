// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace core_ha {

/// Base64 with padding, white space between allowed; nothing when it is not valid.
std::optional<std::string> decode_base64(std::string_view text);

/// Percent-encodes everything but unreserved characters: for query values.
std::string encode_query(std::string_view text);

/// Overwrites and empties every string in the document.
void wipe_strings(Json& document);

}  // namespace core_ha

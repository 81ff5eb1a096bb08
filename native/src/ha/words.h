// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"

namespace core_ha::ha {

/// A value of a document as a sentence names what was found: `"x"`, `a mapping`; not longer than a sentence bears.
std::string found_words(const Json& value);

/// A JSON pointer as sentences name a place: `/deployment/replicas` as `.deployment.replicas`.
std::string dotted(std::string pointer);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace core_ha {

/// Reads one YAML (or JSON) document. Plain scalars get their type by YAML 1.2's core schema: `yes` and `on` are
/// strings. A key written twice, several documents or broken text are errors (exit 2) with the line.
Result<Json> parse_yaml(const std::string& text);

/// The same of any number of documents, as an array.
Result<Json> parse_yaml_documents(const std::string& text);

/// The document as block YAML that any reader takes for the same values.
std::string to_yaml(const Json& document);

}  // namespace core_ha

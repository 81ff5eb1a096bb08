// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace core_ha {

/// A whole file, `-` not special; the error (exit 2) is "FILE: why" and reads on after a noun. At most 256 MiB.
Result<std::string> read_file(const std::filesystem::path& file);

/// All of standard input, bounded alike.
Result<std::string> read_stdin();

/// Puts a file of that content (mode 0644) in the place of `file`, whole or not at all; readers never see a part.
Result<void> replace_file(const std::filesystem::path& file, std::string_view content);

}  // namespace core_ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ha/spec.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own name
class App;
}

namespace core_ha::cli {

/// What the verbs that plan are told of the wish.
struct WishOptions {
  std::string file;       ///< the spec; `-` for stdin, empty: the defaults
  bool packaged = false;  ///< every component as k3s ships it
  std::vector<std::string> carriers;
};

/// Adds `--spec`, `--packaged` and `--carrier`.
void add_wish(CLI::App& verb, WishOptions& options);

/// The wish, or what is wrong with it.
Result<ha::Spec> read_wish(const WishOptions& options);

}  // namespace core_ha::cli

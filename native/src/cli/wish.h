// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ha/plan.h"
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
  std::vector<std::string> set_aside;  ///< `NODE=NAME,NAME`
  std::string manifests;               ///< the directory of k3s's own

  /// What these say of nodes; each of `set_aside` was checked when it was read.
  ha::OnNodes on_nodes() const;
};

/// Adds `--spec`, `--packaged`, `--carrier`, `--set-aside` and `--manifests`.
void add_wish(CLI::App& verb, WishOptions& options);

/// Adds `--manifests`, by default where a server has them.
void add_manifests(CLI::App& verb, std::string& directory);

/// The wish, or what is wrong with it.
Result<ha::Spec> read_wish(const WishOptions& options);

}  // namespace core_ha::cli

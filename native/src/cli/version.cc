// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/version.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/verbs.h"

namespace core_ha::cli {

void add_version(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("version", "The helper's version");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha version\n"
      "  k3s-core-ha version -o json");
  context.on_run(*verb, [] {
    return Outcome(Json{{"name", "k3s-core-ha"}, {"version", version}}, fmt::format("k3s-core-ha {}", version));
  });
}

}  // namespace core_ha::cli

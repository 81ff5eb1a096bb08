// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/wish.h"

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace core_ha::cli {

void add_wish(CLI::App& verb, WishOptions& options) {
  CLI::Option* const spec =
      verb.add_option("--spec", options.file, "the wish, YAML or JSON; - reads standard input (default: the defaults)")
          ->type_name("FILE");
  verb.add_flag("--packaged", options.packaged, "the wish: every component as k3s ships it")->excludes(spec);
  verb.add_option("--carrier", options.carriers,
                  "a node that has this helper in its place, so that pods there can use it; a label remembers it")
      ->type_name("NODE");
}

Result<ha::Spec> read_wish(const WishOptions& options) {
  if (options.packaged) return ha::packaged_spec();
  auto document = read_document(options.file);
  if (!document) return document.error();
  return ha::parse_spec(*document);
}

}  // namespace core_ha::cli

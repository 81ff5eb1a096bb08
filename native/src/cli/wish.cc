// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/wish.h"

#include <CLI/CLI.hpp>
#include <set>
#include <string_view>

#include "cli/context.h"
#include "cluster/staged.h"

namespace core_ha::cli {

namespace {

/// What is said of the node.
std::set<std::string> names_of(const std::string& word) {
  return cluster::names_in(std::string_view(word).substr(word.find('=') + 1));
}

std::string fault_of_set_aside(const std::string& word) {
  if (word.find('=') == std::string::npos || word.starts_with('='))
    return "is " + word + "; allowed is NODE=NAME,…, or NODE= where none is";
  for (const auto& name : names_of(word))
    if (name != cluster::coredns_manifest && name != cluster::metrics_server_manifest)
      return "names " + name + "; allowed are " + cluster::coredns_manifest + ", " + cluster::metrics_server_manifest;
  return {};
}

}  // namespace

void add_wish(CLI::App& verb, WishOptions& options) {
  CLI::Option* const spec =
      verb.add_option("--spec", options.file, "the wish, YAML or JSON; - reads standard input (default: the defaults)")
          ->type_name("FILE");
  verb.add_flag("--packaged", options.packaged, "the wish: every component as k3s ships it")->excludes(spec);
  verb.add_option("--carrier", options.carriers,
                  "a node that has this helper in its place, so that pods there can use it; a label remembers it")
      ->type_name("NODE");
  verb.add_option("--set-aside", options.set_aside,
                  "a server's Node, and beside which of k3s's manifests there a .skip lies: coredns, "
                  "metrics-server-deployment; an annotation remembers it")
      ->type_name("NODE=NAME,…")
      ->delimiter('\0')
      ->check([](const std::string& word) { return fault_of_set_aside(word); });
  add_manifests(verb, options.manifests);
}

void add_manifests(CLI::App& verb, std::string& directory) {
  verb.add_option("--manifests", directory, "the directory of k3s's own manifests, which strategy custom builds on")
      ->type_name("DIR")
      ->default_str(cluster::usual_manifests);
  directory = cluster::usual_manifests;
}

ha::OnNodes WishOptions::on_nodes() const {
  ha::OnNodes on_nodes{.carriers = carriers};
  for (const auto& word : set_aside) {
    on_nodes.set_aside[word.substr(0, word.find('='))].merge(names_of(word));
  }
  return on_nodes;
}

Result<ha::Spec> read_wish(const WishOptions& options) {
  if (options.packaged) return ha::packaged_spec();
  auto document = read_document(options.file);
  if (!document) return document.error();
  return ha::parse_spec(*document);
}

}  // namespace core_ha::cli

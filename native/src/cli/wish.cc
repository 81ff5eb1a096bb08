// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/wish.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "cli/context.h"
#include "cluster/staged.h"

namespace core_ha::cli {

namespace {

/// `server-1=a,b` as server-1 and a, b.
std::pair<std::string, std::vector<std::string>> split(const std::string& word) {
  const auto equals = word.find('=');
  std::vector<std::string> names;
  for (std::size_t at = equals; at < word.size();) {
    const std::size_t end = std::min(word.find(',', at + 1), word.size());
    if (end > at + 1) names.push_back(word.substr(at + 1, end - at - 1));
    at = end;
  }
  return {word.substr(0, equals), names};
}

std::string fault_of_set_aside(const std::string& word) {
  if (word.find('=') == std::string::npos || word.starts_with("="))
    return "is " + word + "; allowed is NODE=NAME,…, or NODE= where none is";
  for (const auto& name : split(word).second)
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
    const auto [node, names] = split(word);
    on_nodes.set_aside[node].insert(names.begin(), names.end());
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

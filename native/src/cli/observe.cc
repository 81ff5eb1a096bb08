// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/observe.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/verbs.h"
#include "cli/wish.h"
#include "cluster/staged.h"
#include "cluster/usage.h"

namespace core_ha::cli {
namespace {

Outcome observe(Context& context, const std::string& manifests) {
  auto client = context.connect();
  if (!client) return client.error();
  auto snapshot = cluster::observe(**client, true);
  if (!snapshot) return snapshot.error();
  if (auto read = cluster::observe_all_usage(**client, *snapshot); !read) return read.error();
  if (auto read = cluster::observe_leases(**client, *snapshot); !read) return read.error();
  snapshot->manifests = cluster::read_staged(manifests);
  Json document = cluster::to_json(*snapshot);
  // A snapshot is for machines and for files: its text is the same JSON, indented.
  std::string text = document.dump(1, ' ', false, Json::error_handler_t::replace);
  return {std::move(document), std::move(text)};
}

}  // namespace

void add_observe(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("observe", "Read the cluster once and print it as a snapshot (JSON)");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha observe > snapshot.json            secrets are left out\n"
      "  k3s-core-ha plan --snapshot snapshot.json      what would be done there");
  const auto manifests = std::make_shared<std::string>();
  add_manifests(*verb, *manifests);
  context.on_run(*verb, [&context, manifests] { return observe(context, *manifests); });
}

}  // namespace core_ha::cli

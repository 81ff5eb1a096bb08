// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/observe.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/verbs.h"
#include "cli/wish.h"
#include "cluster/staged.h"
#include "cluster/usage.h"
#include "ha/state.h"
#include "ha/strategies/absent.h"

namespace core_ha::cli {
namespace {

Outcome observe(Context& context, const WishOptions& options) {
  auto spec = read_wish(options);
  if (!spec) return spec.error();
  auto client = context.connect();
  if (!client) return client.error();
  auto snapshot =
      cluster::observe(**client, {ha::refs_of(spec->extra_deployments), ha::charts_of(ha::packaged_spec())});
  if (!snapshot) return snapshot.error();
  if (auto read = cluster::observe_all_usage(**client, *snapshot); !read) return read.error();
  if (auto read = cluster::observe_leases(**client, *snapshot); !read) return read.error();
  snapshot->manifests = cluster::read_staged(options.manifests);
  snapshot->rivals = cluster::read_rivals(options.manifests, snapshot->manifests);
  ha::stage_own(*snapshot);
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
  const auto options = std::make_shared<WishOptions>();
  verb->add_option("--spec", options->file, "a wish, whose extra_deployments are read, too; - reads standard input")
      ->type_name("FILE");
  add_manifests(*verb, options->manifests);
  context.on_run(*verb, [&context, options] { return observe(context, *options); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/version.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/host.h"
#include "cli/verbs.h"

namespace core_ha::cli {
namespace {

/// Our version; and the server's where one was named, which also tells whether it answers.
Outcome tell_version(Context& context) {
  Outcome outcome(Json{{"name", "k3s-core-ha"}, {"version", version}, {"host", host_name()}},
                  fmt::format("k3s-core-ha {}", version));
  if (context.options.kubeconfig.empty() && context.options.wait_api == 0) return outcome;
  auto client = context.connect();
  if (!client) {
    outcome.error = client.error();
    return outcome;
  }
  auto server = (*client)->get("/version");
  if (!server) {
    outcome.error = server.error().as_error();
    return outcome;
  }
  const std::string git_version = server->value("gitVersion", "");
  outcome.result["server"] = {{"gitVersion", git_version}};
  outcome.text += fmt::format("\nserver {}", git_version);
  return outcome;
}

}  // namespace

void add_version(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("version", "The helper's version, and the server's where one is named");
  verb->footer(
      "Examples:\n"
      "  k3s-core-ha version\n"
      "  k3s-core-ha --kubeconfig /etc/rancher/k3s/k3s.yaml version -o json   does the API answer?");
  context.on_run(*verb, [&context] { return tell_version(context); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "base/interrupt.h"
#include "base/log.h"
#include "cli/context.h"
#include "cli/verbs.h"

namespace {

constexpr const char* footer = R"(Examples:
  k3s-core-ha plan                                   what would be done, and why
  k3s-core-ha apply --dry-run                        the same, asked of the server
  echo '{"coredns_min_replicas": 3}' | k3s-core-ha apply --spec -
  k3s-core-ha --wait-api 120 apply -o json           wait for the API after a restart of k3s
  k3s-core-ha VERB --help                            options and examples of a verb

Exit status:
    0  done, or nothing to do
    1  internal error
    2  bad command line or spec
    3  the API was not reached, or refused us
    4  refused as unsafe, or contested by k3s
    5  another owner holds what we were asked to change
    6  failed, and went back
    7  failed, and could not go back
    8  below the bar: SLA missed, or findings
  130  interrupted)";

void add_global_options(CLI::App& app, core_ha::cli::GlobalOptions& options) {
  app.add_option("--kubeconfig", options.kubeconfig,
                 "kubeconfig file (default: $KUBECONFIG, /etc/rancher/k3s/k3s.yaml, ~/.kube/config)")
      ->type_name("FILE");
  app.add_option("--context", options.context, "context of the kubeconfig (default: its current-context)")
      ->type_name("NAME");
  app.add_option("--server", options.servers,
                 "URL of an API server, in the place of the kubeconfig's; give several control-plane nodes, each with "
                 "its own --server, and one that fails is passed over")
      ->type_name("URL")
      ->allow_extra_args(false);
  app.add_option("--wait-api", options.wait_api, "wait so long, visibly, until /readyz answers (default: 0)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0, 3600));
  app.add_option("--timeout", options.timeout, "give up after so long in all (default: no limit but each wait's own)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0, 86400));
  app.add_option("-o,--output", options.output, "text or json; of plan also manifests")
      ->check(CLI::IsMember({"text", "json", "manifests"}));
  app.add_flag("-v,--verbose", options.verbosity, "say more on stderr; twice for each request");
}

/// Asked of the raw words: after a usage error the options may not have been read yet.
bool wants_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-ojson" || word == "-o=json" || word == "--output=json") return true;
    if ((word == "-o" || word == "--output") && i + 1 < argc && std::string_view(argv[i + 1]) == "json") return true;
  }
  return false;
}

int report_usage(const std::string& message, bool json) {
  const core_ha::Error error{core_ha::ExitStatus::usage, message + " (see --help)"};
  if (json) std::puts(core_ha::cli::to_json_text(core_ha::Json::object(), error).c_str());
  core_ha::log::error(error.message);
  return static_cast<int>(error.status);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Makes the components that k3s ships as single replicas survive the loss of a node.", "k3s-core-ha"};
  core_ha::cli::Context context;
  add_global_options(app, context.options);
  app.footer(footer);
  app.require_subcommand(0, 1);  // none is told below, after a word that is no verb
  app.fallthrough();             // global options may stand before or after the verb
  core_ha::cli::add_observe(app, context);
  core_ha::cli::add_plan(app, context);
  core_ha::cli::add_apply(app, context);
  core_ha::cli::add_probe(app, context);
  core_ha::cli::add_lead(app, context);
  core_ha::cli::add_rebalance(app, context);
  core_ha::cli::add_reconcile(app, context);
  core_ha::cli::add_budget(app, context);
  core_ha::cli::add_version(app, context);
  // Taken away before the rest is read: CLI11 would take a word like [a,b] for a list.
  char** const end = argv + argc;
  char** const mark = std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
  if (mark != end) context.program.assign(mark + 1, end);
  argc = static_cast<int>(mark - argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return report_usage(error.what(), wants_json(argc, argv));
  }
  if (app.get_subcommands().empty()) return report_usage("A verb is required", wants_json(argc, argv));
  if (context.options.output == "manifests" && !app.got_subcommand("plan"))
    return report_usage("-o manifests is for plan alone", false);
  if (mark != end && !app.got_subcommand("lead")) return report_usage("A program after -- is for lead alone", false);
  core_ha::catch_interrupts();
  try {
    return static_cast<int>(context.run());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "k3s-core-ha: internal error: %s\n", error.what());
    return static_cast<int>(core_ha::ExitStatus::internal);
  }
}

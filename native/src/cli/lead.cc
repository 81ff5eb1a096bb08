// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/host.h"
#include "cli/verbs.h"
#include "lead/lead.h"

namespace core_ha::cli {
namespace {

using std::chrono::milliseconds;

constexpr const char* lead_footer =
    R"(  k3s-core-ha lead --name LEASE --namespace NAMESPACE [OPTIONS] -- PROGRAM [ARGUMENT...]

PROGRAM runs only while the Lease is held: never beside another one's. When the Lease is lost, PROGRAM is sent
SIGTERM at the renew deadline, and is killed, with all that it started, before the Lease has run out; then we are a
candidate again. When PROGRAM ends by itself, what it left is killed, the Lease released, and PROGRAM's exit status is
ours. SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on; a candidate ends by the first four.

In a pod without a kubeconfig the pod's service account is used; it needs get, create and update on leases, and list
on pods for --while-none. That is for a program that others may still run without the Lease: it is looked for before the
Lease is taken, not while it is held, so nobody may start one then. Processes
that PROGRAM has others start (a container engine, systemd) are none of ours, and one that waits in the kernel, as for a
disk, cannot be killed by anybody.

Exit status: PROGRAM's own (128 + the signal that ended it), 126 or 127 when it cannot be started, 130 when a signal
came while it did not run, 7 when a process of it is left that we may not end; those of k3s-core-ha before the election.

Examples:
  k3s-core-ha lead --namespace kube-system --name backup -- /usr/local/bin/backup --loop
  k3s-core-ha lead --namespace kube-system --name local-path-provisioner -- local-path-provisioner start
  k3s-core-ha lead --namespace default --name quick --lease-duration 6s --renew-deadline 4s --retry-period 1s \
      -- ./serve)";

struct LeadArguments {
  std::string name;
  std::string ns;
  std::string identity;
  std::string while_none;
  std::string lease_duration = "15s";
  std::string renew_deadline = "10s";
  std::string retry_period = "2s";
};

/// `15s`, `700ms`, `1.5s`, `2m`; seconds without a unit.
std::optional<milliseconds> parse_duration(std::string_view text) {
  const std::string number(text.substr(0, text.find_first_not_of("0123456789.")));
  const std::string_view unit = text.substr(number.size());
  char* end = nullptr;
  const double count = std::strtod(number.c_str(), &end);
  double factor = 0;
  if (unit.empty() || unit == "s") factor = 1000;
  if (unit == "ms") factor = 1;
  if (unit == "m") factor = 60000;
  if (*end != '\0' || factor == 0 || count <= 0 || count * factor > 86400000) return std::nullopt;
  return milliseconds(std::llround(count * factor));
}

std::string check_duration(const std::string& text) {
  if (parse_duration(text)) return "";
  return fmt::format("\"{}\" is no time such as 15s or 700ms, above 0 and at most a day", text);
}

/// A name that can stand in a path; the server is more exact.
std::string check_name(const std::string& text) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-.";
  if (!text.empty() && text.size() <= 253 && text.find_first_not_of(allowed) == std::string::npos) return "";
  return fmt::format("\"{}\" is no name of a Kubernetes object: lower-case letters, digits, - and . only", text);
}

Outcome lead(const Context& context, const LeadArguments& arguments) {
  if (context.program.empty()) return Error{ExitStatus::usage, "lead needs a program to run, after --"};
  const core_ha::lead::Timing timing{.lease_duration = *parse_duration(arguments.lease_duration),
                                     .renew_deadline = *parse_duration(arguments.renew_deadline),
                                     .retry_period = *parse_duration(arguments.retry_period)};
  if (auto checked = core_ha::lead::check(timing); !checked) return checked.error();
  if (context.options.timeout > 0 || context.options.wait_api > 0)
    return Error{ExitStatus::usage, "--timeout and --wait-api are not for lead: a candidate waits for its turn"};
  auto identity = core_ha::lead::unique_identity(arguments.identity.empty() ? host_name() : arguments.identity);
  if (!identity) return identity.error();

  // Time for several tries: of the servers behind one address some may be dead.
  const auto share = [&](int of) { return std::max(timing.request_timeout() / of, milliseconds(500)); };
  const http::Options http{.connect_timeout = share(4), .request_timeout = share(2)};
  // What the kubeconfig or the command line has wrong is said now, not by a candidate that tries for ever.
  if (auto client = context.connect(http); !client) return client.error();
  const auto connect = [&](int failures) -> Result<std::unique_ptr<kube::Client>> {
    auto client = context.connect(http, static_cast<size_t>(failures));
    if (!client) return client.error();
    return std::unique_ptr<kube::Client>(std::move(*client));
  };
  Outcome outcome;
  outcome.passed_on = core_ha::lead::run_while_leading({.lease = core_ha::lead::lease_ref(arguments.ns, arguments.name),
                                                        .identity = std::move(*identity),
                                                        .timing = timing,
                                                        .while_none = arguments.while_none,
                                                        .program = context.program},
                                                       connect);
  return outcome;
}

}  // namespace

void add_lead(CLI::App& app, Context& context) {
  CLI::App* const verb = app.add_subcommand("lead", "Run a program only while a Lease is held, so that one is active");
  verb->footer(lead_footer);
  const auto arguments = std::make_shared<LeadArguments>();
  const CLI::Validator name(check_name, "");
  const CLI::Validator duration(check_duration, "");
  verb->add_option("--name", arguments->name, "the Lease")->type_name("LEASE")->required()->check(name);
  verb->add_option("--namespace", arguments->ns, "its namespace")->type_name("NAMESPACE")->required()->check(name);
  verb->add_option("--identity", arguments->identity,
                   "our name in it, to which random digits are added (default: the host's name)")
      ->type_name("ID");
  verb->add_option("--while-none", arguments->while_none,
                   "begin only while no pod of the namespace that this label selector selects may run")
      ->type_name("SELECTOR");
  verb->add_option("--lease-duration", arguments->lease_duration,
                   "how long others wait for a holder that is not heard of; whole seconds")
      ->type_name("TIME")
      ->check(duration)
      ->capture_default_str();
  verb->add_option("--renew-deadline", arguments->renew_deadline, "how long a holder tries to renew before it gives up")
      ->type_name("TIME")
      ->check(duration)
      ->capture_default_str();
  verb->add_option("--retry-period", arguments->retry_period, "the time between two tries")
      ->type_name("TIME")
      ->check(duration)
      ->capture_default_str();
  context.on_run(*verb, [&context, arguments] { return lead(context, *arguments); });
}

}  // namespace core_ha::cli

// SPDX-License-Identifier: GPL-3.0-or-later
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "cli/verbs.h"
#include "drill/dns_message.h"
#include "drill/probe_report.h"
#include "drill/prober.h"

namespace core_ha::cli {
namespace {

using namespace drill;

constexpr const char* footer =
    R"(A query is lost when no response came within --timeout of its planned time of sending. SERVFAIL, REFUSED, NXDOMAIN
and ICMP refusals are counted apart, and so is what this machine could not send. Queries are sent at their planned
times, whether or not earlier ones were answered: from a fresh source port each at --rate, and from each of
--fixed-ports clients, which keep theirs, at --fixed-rate (by default they share another --rate among them).

With -o json each second is a line of JSON, and the last line is {"summary": ...}. SIGINT or SIGTERM ends the probe:
it sends no more, waits for what is under way, and sums up as at its proper end, with exit status 0.

Examples:
  k3s-core-ha probe                                       ask this node's nameserver for a minute
  k3s-core-ha probe --server 10.43.0.10 --fixed-ports 12  also from 12 source ports that stay the same
  k3s-core-ha probe --duration 0 --record probe.jsonl     until SIGTERM, keeping each query's result
  k3s-core-ha probe --summarize probe.jsonl --fault-at 1767225600.5
  k3s-core-ha probe --max-lost 0                          exit status 8 when anything was lost)";

struct Arguments {
  std::string server;
  std::string resolv_conf;
  std::string name;
  std::string type = "A";
  double rate = 100;
  double duration = 60;
  int fixed_ports = 0;
  std::optional<double> fixed_rate;
  double timeout = 2;
  std::string record;
  std::string summarize;
  std::optional<double> fault_at;
  std::optional<std::int64_t> max_lost;
};

/// In text, a line on stderr that stays where it is on a terminal; in JSON, a line on stdout.
void show(const Tick& tick, bool json) {
  const Json line = to_json(tick);
  if (json) {
    std::fputs((line.dump() + "\n").c_str(), stdout);
    std::fflush(stdout);
    return;
  }
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  const std::string text = fmt::format("{:6.0f} s  {:5} sent {:5} answered {:5} waiting {:5} lost {:5} failed",
                                       line.value("t", 0.0), line.value("sent", 0), line.value("answered", 0),
                                       line.value("waiting", 0), line.value("lost", 0), line.value("failed", 0));
  std::fputs((terminal ? "\r\033[K" + text : text + "\n").c_str(), stderr);
}

Outcome judged(const Arguments& arguments, const ProbeSummary& summary, Json description) {
  const Json result = summary.to_json(std::move(description));
  Outcome outcome({{"summary", result}}, to_text(result));
  if (arguments.max_lost && summary.lost() > *arguments.max_lost) {
    outcome.error = Error{ExitStatus::below_bar,
                          fmt::format("{} queries were lost; at most {} may be.", summary.lost(), *arguments.max_lost)};
  }
  return outcome;
}

Outcome summarize(const Arguments& arguments) {
  Result<Summarized> read = summarize_record(arguments.summarize, arguments.fault_at);
  if (!read) return read.error();
  return judged(arguments, read->summary, std::move(read->description));
}

Result<ProbeOptions> options_of(const Arguments& arguments) {
  ResolvConf found;
  if (arguments.server.empty()) {
    auto read = read_resolv_conf(arguments.resolv_conf.empty() ? "/etc/resolv.conf" : arguments.resolv_conf);
    if (!read) return read.error();
    found = std::move(*read);
  } else {
    const auto server = parse_endpoint(arguments.server);
    if (!server) return server.error();
    found.server = *server;
  }
  ProbeOptions options{.server = found.server, .name = arguments.name};
  if (options.name.empty()) options.name = "kubernetes.default.svc." + found.cluster_domain;
  options.type = dns_type(arguments.type).value_or(0);
  options.rate = arguments.rate;
  options.duration_s = arguments.duration;
  options.fixed_ports = arguments.fixed_ports;
  if (arguments.fixed_ports > 0)
    options.fixed_rate = arguments.fixed_rate.value_or(arguments.rate / arguments.fixed_ports);
  options.timeout_s = arguments.timeout;
  options.stop_fd = interrupt_fd();
  return options;
}

Outcome probe(const Arguments& arguments, bool json) {
  if (!arguments.summarize.empty()) return summarize(arguments);
  Result<ProbeOptions> options = options_of(arguments);
  if (!options) return options.error();

  std::optional<RecordWriter> record;
  if (!arguments.record.empty()) {
    Result<RecordWriter> created = RecordWriter::create(arguments.record);
    if (!created) return created.error();
    record.emplace(std::move(*created));
  }

  std::optional<ProbeSummary> summary;
  ProbeObserver observer;
  observer.on_start = [&](double epoch) {
    std::optional<std::int64_t> fault;
    if (arguments.fault_at) fault = std::llround((*arguments.fault_at - epoch) * 1e9);
    summary.emplace(options->fixed_ports, fault);
    if (record) record->begin(describe(*options, epoch));
  };
  observer.on_record = [&](const QueryRecord& query) {
    summary->add(query);
    if (record) record->add(query);
  };
  observer.on_late = [&](int client, std::int64_t latency_ns) {
    summary->add_late(client, latency_ns);
    if (record) record->add_late(client, latency_ns);
  };
  observer.on_tick = [json](const Tick& tick) { show(tick, json); };

  const Result<ProbeRun> run = run_probe(*options, observer);
  if (!json && isatty(STDERR_FILENO) == 1) std::fputs("\n", stderr);
  if (!run) return run.error();
  Json description = describe(*options, run->start_epoch);
  description["duration_s"] = std::round(static_cast<double>(run->length_ns) / 1e6) / 1e3;
  description["stopped"] = run->stopped;
  description["malformed"] = run->malformed;
  description["socket_errors"] = run->socket_errors;
  if (arguments.fault_at) description["fault_at"] = *arguments.fault_at;

  Outcome outcome = judged(arguments, *summary, std::move(description));
  if (record && !record->finish()) {
    outcome.error = Error{ExitStatus::internal, fmt::format("{} could not be written whole.", arguments.record)};
  } else if (summary->planned() > 0 && summary->sent() == 0) {
    outcome.error =
        Error{ExitStatus::internal, fmt::format("Not one query could be sent: {}.", run->socket_errors.begin()->first)};
  }
  return outcome;
}

std::string check_type(const std::string& name) {
  return dns_type(name) ? "" : fmt::format("\"{}\" is not a record type known here", name);
}

}  // namespace

void add_probe(CLI::App& app, Context& context) {
  CLI::App* const verb =
      app.add_subcommand("probe", "Ask a DNS server at a steady rate, and tell what a client would have seen");
  verb->footer(footer);
  const auto arguments = std::make_shared<Arguments>();
  CLI::Option* const server =
      verb->add_option("--server", arguments->server, "the server's address, port 53 by default")
          ->type_name("ADDRESS[:PORT]");
  verb->add_option("--from-resolv-conf", arguments->resolv_conf,
                   "take the first nameserver and the cluster's domain of this file (default: /etc/resolv.conf)")
      ->type_name("FILE")
      ->excludes(server);
  verb->add_option("--name", arguments->name, "the name to ask for (default: kubernetes.default.svc.DOMAIN)")
      ->type_name("NAME");
  verb->add_option("--type", arguments->type, "A, AAAA, SRV, PTR, TXT, NS, SOA or CNAME")
      ->type_name("TYPE")
      ->check(CLI::Validator(check_type, ""))
      ->capture_default_str();
  verb->add_option("--rate", arguments->rate, "queries a second from fresh source ports, in all")
      ->type_name("N")
      ->check(CLI::Range(0.0, 20000.0))
      ->capture_default_str();
  verb->add_option("--duration", arguments->duration, "seconds; 0: until a signal")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 604800.0))
      ->capture_default_str();
  verb->add_option("--fixed-ports", arguments->fixed_ports, "clients that keep their source port")
      ->type_name("N")
      ->check(CLI::Range(0, 10000))
      ->capture_default_str();
  verb->add_option("--fixed-rate", arguments->fixed_rate,
                   "queries a second of each of these (default: --rate shared among them)")
      ->type_name("N")
      ->check(CLI::Range(0.0, 1000.0));
  verb->add_option("--timeout", arguments->timeout, "seconds after which a query is lost")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 60.0))
      ->capture_default_str();
  CLI::Option* const record =
      verb->add_option("--record", arguments->record, "write each query's result here, a line of JSON each")
          ->type_name("FILE");
  verb->add_option("--summarize", arguments->summarize, "send nothing: sum up a record, from an earlier --record")
      ->type_name("FILE")
      ->excludes(record);
  verb->add_option("--fault-at", arguments->fault_at,
                   "when the fault was, in seconds since the epoch: also give the share of losses from it on")
      ->type_name("EPOCH");
  verb->add_option("--max-lost", arguments->max_lost, "exit status 8 when more are lost")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  context.on_run(*verb, [arguments, &context] { return probe(*arguments, context.json()); });
}

}  // namespace core_ha::cli

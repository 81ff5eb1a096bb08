// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/context.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdio>

#include "base/file.h"
#include "base/log.h"
#include "base/yaml.h"
#include "kube/kubeconfig.h"

namespace core_ha::cli {
namespace {

/// False when stdout is closed or full: then the result is lost, and the exit status must say so.
bool print(const std::string& text) {
  if (text.empty()) return true;
  std::string line = text;
  if (line.back() != '\n') line += '\n';
  return std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
}

}  // namespace

std::string to_json_text(Json result, const std::optional<Error>& error) {
  if (error) {
    result["error"] = {
        {"exit", static_cast<int>(error->status)}, {"name", to_string(error->status)}, {"message", error->message}};
  }
  // Texts of other programs are in it: what is no UTF-8 is replaced, not thrown over.
  return result.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::unique_ptr<kube::ApiClient>> Context::connect(const http::Options& http, size_t turn) const {
  auto connection = kube::load_kubeconfig(kube::default_search(options.kubeconfig, options.context));
  if (!connection) return connection.error();
  if (!options.servers.empty()) {
    if (auto used = kube::use_servers(*connection, options.servers); !used) return used.error();
  }
  log::detail(fmt::format("kubeconfig {}, context {}, server {}", connection->source, connection->context,
                          fmt::join(connection->servers, ", ")));
  auto& servers = connection->servers;
  std::rotate(servers.begin(), servers.begin() + static_cast<std::ptrdiff_t>(turn % servers.size()), servers.end());
  return kube::ApiClient::open(std::move(*connection), http, deadline_);
}

Result<std::unique_ptr<kube::Client>> Context::connect() {
  auto client = connect(http::Options{});
  if (!client) return client.error();
  if (options.wait_api > 0) {
    if (auto ready = (*client)->wait_until_ready(std::chrono::seconds(options.wait_api)); !ready) return ready.error();
  }
  return std::unique_ptr<kube::Client>(std::move(*client));
}

void Context::on_run(CLI::App& verb, std::function<Outcome()> run) {
  verb.callback([this, run = std::move(run)] { run_ = run; });
}

ExitStatus Context::run() {
  log::set_verbosity(options.verbosity);
  if (options.timeout > 0) deadline_ = Deadline::after(std::chrono::seconds(options.timeout));
  const Outcome outcome = run_();
  if (outcome.passed_on) return static_cast<ExitStatus>(*outcome.passed_on);
  const bool printed = print(json() ? to_json_text(outcome.result, outcome.error) : outcome.text);
  if (outcome.error) log::error(outcome.error->message);
  if (outcome.error) return outcome.error->status;
  if (!printed) {
    log::error("the result could not be written to standard output");
    return ExitStatus::internal;
  }
  return ExitStatus::done;
}

Result<Json> read_document(const std::string& file) {
  if (file.empty()) return Json::object();
  auto content = file == "-" ? read_stdin() : read_file(file);
  if (!content) return content.error();
  // JSON first: a saved snapshot of a large cluster is JSON, and a YAML reader takes its time over it.
  Json document = Json::parse(*content, nullptr, false);
  if (!document.is_discarded()) return document;
  auto yaml = parse_yaml(*content);
  if (!yaml)
    return Error{yaml.error().status,
                 fmt::format("{} {}", file == "-" ? "standard input" : file, yaml.error().message)};
  return yaml;
}

}  // namespace core_ha::cli

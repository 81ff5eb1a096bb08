// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/json.h"
#include "base/result.h"
#include "kube/api_client.h"
#include "kube/client.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own name
class App;
}

namespace core_ha::cli {

/// What every verb understands.
struct GlobalOptions {
  std::string kubeconfig;
  std::string context;
  std::vector<std::string> servers;  ///< in the place of the kubeconfig's one
  int wait_api = 0;                  ///< seconds
  int timeout = 0;                   ///< seconds for the whole run; 0: none
  std::string output = "text";
  int verbosity = 0;
};

/// What a verb has to say. With `-o json` the result goes to stdout, with the error inside it; else the text does.
struct Outcome {
  Json result = Json::object();
  std::string text = {};
  std::optional<Error> error = {};    ///< also decides the exit status
  std::optional<int> passed_on = {};  ///< another program's exit status, to be ours; then nothing is printed

  Outcome() = default;
  Outcome(Json result_, std::string text_) : result(std::move(result_)), text(std::move(text_)) {}
  /// Failed, with nothing but the error to tell.
  Outcome(Error error_) : error(std::move(error_)) {}
};

/// Shared by the verbs of one run.
class Context {
 public:
  GlobalOptions options;
  std::vector<std::string> program;  ///< what stood after `--`: a program and its arguments, word by word

  bool json() const { return options.output == "json"; }
  /// The run's deadline (`--timeout`).
  Deadline deadline() const { return deadline_; }

  /// A client for the chosen kubeconfig and context; with `--wait-api`, once /readyz answers.
  Result<std::unique_ptr<kube::Client>> connect();
  /// The same with times of its own, without that wait; of several servers that one is asked first whose turn it is.
  Result<std::unique_ptr<kube::ApiClient>> connect(const http::Options& http, size_t turn = 0) const;

  /// Registers what the verb does; main runs it after the command line was read.
  void on_run(CLI::App& verb, std::function<Outcome()> run);

  /// Runs the chosen verb, prints its outcome and gives the exit status.
  ExitStatus run();

 private:
  Deadline deadline_;
  std::function<Outcome()> run_;
};

/// The one line of JSON that a verb prints with `-o json`; an error becomes its `error`.
std::string to_json_text(Json result, const std::optional<Error>& error);

/// A spec from a file, `-` for stdin, or {} when none was named; YAML or JSON.
Result<Json> read_document(const std::string& file);

}  // namespace core_ha::cli

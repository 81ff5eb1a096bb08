// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/result.h"
#include "drill/prober.h"

namespace core_ha::drill {

/// What a summary says of the probe beside what was counted; also the first line of a record.
Json describe(const ProbeOptions& options, double start_epoch);

/// The live line of one second.
Json to_json(const Tick& tick);

/// Both tallies of a probe, and its summary.
class ProbeSummary {
 public:
  ProbeSummary(int fixed_ports, std::optional<std::int64_t> fault_ns);

  void add(const QueryRecord& record);
  void add_late(int client, std::int64_t latency_ns);

  std::int64_t lost() const { return fresh_.of(Ending::lost) + fixed_.of(Ending::lost); }
  std::int64_t sent() const { return fresh_.sent() + fixed_.sent(); }
  std::int64_t planned() const { return fresh_.planned() + fixed_.planned(); }

  /// `description`: of describe(), with what else is known of the run.
  Json to_json(Json description) const;

 private:
  int fixed_ports_;
  Tally fresh_;
  Tally fixed_;
};

/// A summary as a person reads it.
std::string to_text(const Json& summary);

/// Every query's end, a line of JSON each, for a summary that is only possible later (`since_fault`, once the time of
/// the fault is known). The first line describes the probe.
class RecordWriter {
 public:
  static Result<RecordWriter> create(const std::string& file);
  void begin(const Json& description);
  void add(const QueryRecord& record);
  void add_late(int client, std::int64_t latency_ns);
  /// False when not everything could be written.
  bool finish();

 private:
  explicit RecordWriter(std::ofstream out) : out_(std::move(out)) {}
  std::ofstream out_;
};

/// The summary of a record file. `fault_epoch`: wall-clock seconds of the fault.
struct Summarized {
  ProbeSummary summary;
  Json description;
};
Result<Summarized> summarize_record(const std::string& file, std::optional<double> fault_epoch);

}  // namespace core_ha::drill

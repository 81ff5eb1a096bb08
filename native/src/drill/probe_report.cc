// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/probe_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>

namespace core_ha::drill {
namespace {

constexpr int record_version = 1;

double rounded_ms(double value) {
  return std::round(value * 1e3) / 1e3;
}

std::string rfc3339(double epoch) {
  const double whole = std::floor(epoch);
  const auto time = static_cast<std::time_t>(whole);
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", utc, static_cast<int>((epoch - whole) * 1e3));
}

Json counts(const Tick::Counts& counts) {
  return {{"planned", counts.planned},
          {"sent", counts.sent},
          {"answered", counts.answered},
          {"lost", counts.lost},
          {"failed", counts.failed}};
}

std::string line_of(const Json& part) {
  const auto number = [&](const char* key) { return part.value(key, std::int64_t{0}); };
  std::string line =
      fmt::format("{} planned, {} answered, {} lost", number("planned"), number("answered"), number("lost"));
  if (number("late") > 0) {
    line += fmt::format(" ({} answered late, after up to {:.1f} s)", number("late"), part.value("latest_s", 0.0));
  }
  for (const char* key : {"servfail", "refused", "nxdomain", "other", "icmp"}) {
    if (number(key) > 0) line += fmt::format(", {} {}", number(key), key);
  }
  if (number("errors") > 0) line += fmt::format(", {} not sent", number("errors"));
  const double silence = part.value("longest_silence_s", 0.0);
  line += silence > 0 ? fmt::format("; longest silence {:.2f} s", silence) : "; no silence";
  if (silence > 0 && !part.value("longest_silence_ended", true)) line += ", to the end";
  const Json& latency = part.at("latency_ms");
  line += fmt::format("; {:.2f} / {:.2f} / {:.2f} ms (median, 99 %, most)", latency.value("p50", 0.0),
                      latency.value("p99", 0.0), latency.value("max", 0.0));
  if (const auto since = part.find("since_fault"); since != part.end()) {
    line += since->value("lost", 0) == 0
                ? "; none lost since the fault"
                : fmt::format("; {} of {} ({:.1f} %) lost from the fault on, the last {:.1f} s after it",
                              since->value("lost", 0), since->value("queries", 0), 100 * since->value("share", 0.0),
                              since->value("last_lost_after_s", 0.0));
  }
  return line;
}

}  // namespace

Json describe(const ProbeOptions& options, double start_epoch) {
  return {{"server", options.server.to_string()},
          {"name", options.name},
          {"rate", options.rate},
          {"fixed_ports", options.fixed_ports},
          {"fixed_rate", rounded_ms(options.fixed_rate)},
          {"timeout_s", options.timeout_s},
          {"start", rounded_ms(start_epoch)},
          {"start_time", rfc3339(start_epoch)}};
}

Json to_json(const Tick& tick) {
  const Tick::Counts& a = tick.fresh;
  const Tick::Counts& b = tick.fixed;
  Json out = counts({.planned = a.planned + b.planned,
                     .sent = a.sent + b.sent,
                     .answered = a.answered + b.answered,
                     .lost = a.lost + b.lost,
                     .failed = a.failed + b.failed});
  out["waiting"] = tick.waiting;
  out["t"] = rounded_ms(static_cast<double>(tick.t_ns) / 1e9);
  out["fresh"] = counts(a);
  out["fixed"] = counts(b);
  return out;
}

ProbeSummary::ProbeSummary(int fixed_ports, std::optional<std::int64_t> fault_ns)
    : fixed_ports_(fixed_ports), fresh_(1, fault_ns), fixed_(fixed_ports, fault_ns) {}

void ProbeSummary::add(const QueryRecord& record) {
  if (record.client == 0) {
    fresh_.add(record);
    return;
  }
  QueryRecord of_fixed = record;
  --of_fixed.client;
  fixed_.add(of_fixed);
}

void ProbeSummary::add_late(int client, std::int64_t latency_ns) {
  (client == 0 ? fresh_ : fixed_).add_late(latency_ns);
}

Json ProbeSummary::to_json(Json description) const {
  const double start = description.value("start", 0.0);
  description["fresh"] = fresh_.summary(start);
  description["fixed"] = fixed_.summary(start);
  description["fixed"]["clients"] = fixed_ports_;
  return description;
}

std::string to_text(const Json& summary) {
  std::string text = fmt::format("{} asked for {}, from {} on\n", summary.value("server", ""),
                                 summary.value("name", ""), summary.value("start_time", ""));
  text += "fresh ports: " + line_of(summary.at("fresh")) + "\n";
  const Json& fixed = summary.at("fixed");
  if (const int clients = fixed.value("clients", 0); clients > 0) {
    text += fmt::format("{} fixed ports: {}; {} with a loss\n", clients, line_of(fixed),
                        fixed.value("clients_with_loss", 0));
  }
  if (const auto errors = summary.find("socket_errors"); errors != summary.end() && !errors->empty()) {
    text += "not sent because of";
    for (const auto& [name, count] : errors->items())
      text += fmt::format(" {} ({})", name, count.get<std::int64_t>());
    text += '\n';
  }
  return text;
}

Result<RecordWriter> RecordWriter::create(const std::string& file) {
  std::ofstream out(file, std::ios::trunc);
  if (!out) return Error{ExitStatus::usage, fmt::format("{} cannot be written: {}.", file, std::strerror(errno))};
  return RecordWriter(std::move(out));
}

void RecordWriter::begin(const Json& description) {
  Json head = description;
  head["record"] = record_version;
  out_ << head.dump() << '\n';
}

// Formatted by hand: thousands of these are written a second.
void RecordWriter::add(const QueryRecord& record) {
  out_ << fmt::format(R"({{"c":{},"t":{:.6f},"lag_ms":{:.3f},"ms":{:.3f},"r":"{}"}})", record.client,
                      static_cast<double>(record.planned_ns) / 1e9, static_cast<double>(record.lag_ns) / 1e6,
                      static_cast<double>(record.latency_ns) / 1e6, to_string(record.ending))
       << '\n';
}

void RecordWriter::add_late(int client, std::int64_t latency_ns) {
  out_ << fmt::format(R"({{"c":{},"late_ms":{:.3f}}})", client, static_cast<double>(latency_ns) / 1e6) << '\n';
}

bool RecordWriter::finish() {
  out_.flush();
  return out_.good();
}

Result<Summarized> summarize_record(const std::string& file, std::optional<double> fault_epoch) {
  std::ifstream in(file);
  if (!in) return Error{ExitStatus::usage, fmt::format("{} cannot be read: {}.", file, std::strerror(errno))};
  const auto nanoseconds = [](double value, double unit) { return std::llround(value * unit); };
  std::optional<Summarized> result;
  std::int64_t number = 0;
  try {
    for (std::string text; std::getline(in, text);) {
      ++number;
      Json line = Json::parse(text);
      if (!result) {
        if (line.value("record", 0) != record_version) break;
        line.erase("record");
        std::optional<std::int64_t> fault;
        if (fault_epoch) fault = nanoseconds(*fault_epoch - line.at("start").get<double>(), 1e9);
        const int fixed_ports = line.at("fixed_ports").get<int>();
        result.emplace(Summarized{.summary = ProbeSummary(fixed_ports, fault), .description = std::move(line)});
        if (fault_epoch) result->description["fault_at"] = *fault_epoch;
        continue;
      }
      const int client = line.at("c").get<int>();
      if (const auto late = line.find("late_ms"); late != line.end()) {
        result->summary.add_late(client, nanoseconds(late->get<double>(), 1e6));
        continue;
      }
      const std::optional<Ending> ending = ending_of(line.at("r").get<std::string>());
      if (!ending) return Error{ExitStatus::usage, fmt::format("{}, line {}: an unknown result.", file, number)};
      result->summary.add({.client = client,
                           .planned_ns = nanoseconds(line.at("t").get<double>(), 1e9),
                           .lag_ns = nanoseconds(line.at("lag_ms").get<double>(), 1e6),
                           .latency_ns = nanoseconds(line.at("ms").get<double>(), 1e6),
                           .ending = *ending});
    }
  } catch (const Json::exception&) {
    return Error{ExitStatus::usage, fmt::format("{}, line {}: not a line of a probe's record.", file, number)};
  } catch (const std::out_of_range&) {
    return Error{ExitStatus::usage, fmt::format("{}, line {}: an unknown client.", file, number)};
  }
  if (!result) return Error{ExitStatus::usage, fmt::format("{} is not the record of a probe.", file)};
  return std::move(*result);
}

}  // namespace core_ha::drill

// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/probe_report.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace core_ha::drill {
namespace {

const std::string record_file = "probe_report_test.tmp";

ProbeOptions options() {
  return {.server = *parse_endpoint("10.43.0.10"), .name = "a.b", .rate = 10, .fixed_ports = 2, .fixed_rate = 5};
}

/// Ten fresh queries, of which the fourth and the sixth are lost; one query from each fixed port.
std::vector<QueryRecord> queries() {
  std::vector<QueryRecord> all;
  for (int i = 0; i < 10; ++i) {
    const bool lost = i == 3 || i == 5;
    all.push_back({.planned_ns = i * 100'000'000LL,
                   .lag_ns = 50'000,
                   .latency_ns = lost ? 0 : 400'000,
                   .ending = lost ? Ending::lost : Ending::answered});
  }
  all.push_back({.client = 1, .planned_ns = 950'000'000, .ending = Ending::icmp});
  all.push_back({.client = 2, .planned_ns = 960'000'000, .latency_ns = 300'000, .ending = Ending::answered});
  return all;
}

void write_record() {
  Result<RecordWriter> writer = RecordWriter::create(record_file);
  REQUIRE(writer);
  writer->begin(describe(options(), 1000));
  for (const QueryRecord& query : queries())
    writer->add(query);
  writer->add_late(0, 2'500'000'000);
  REQUIRE(writer->finish());
}

std::string refusal_of(const std::string& content) {
  std::ofstream(record_file) << content;
  const Result<Summarized> read = summarize_record(record_file, std::nullopt);
  std::remove(record_file.c_str());
  REQUIRE_FALSE(read);
  CHECK(read.error().status == ExitStatus::usage);
  return read.error().message;
}

TEST_SUITE("drill: probe report") {
  TEST_CASE("a summary from a record is the summary of the run, and more once the fault is known") {
    ProbeSummary live(2, 250'000'000);
    for (const QueryRecord& query : queries())
      live.add(query);
    live.add_late(0, 2'500'000'000);
    Json expected = live.to_json(describe(options(), 1000));
    expected["fault_at"] = 1000.25;

    write_record();
    const Result<Summarized> read = summarize_record(record_file, 1000.25);
    std::remove(record_file.c_str());
    REQUIRE(read);
    CHECK(read->summary.to_json(read->description) == expected);
    CHECK(expected["fresh"]["since_fault"]["share"] == doctest::Approx(2.0 / 3).epsilon(0.001));
    CHECK(expected["fresh"]["last_lost_at"] == 1000.5);
    CHECK(expected["fixed"]["icmp"] == 1);
    CHECK(expected["fixed"]["clients"] == 2);
    CHECK(expected["start_time"] == "1970-01-01T00:16:40.000Z");
  }

  TEST_CASE("a file that is no record is refused, with the line") {
    CHECK(refusal_of("").find("not the record") != std::string::npos);
    CHECK(refusal_of("{}\n").find("not the record") != std::string::npos);
    const std::string head = R"({"record":1,"start":1000,"fixed_ports":1})"
                             "\n";
    CHECK(refusal_of(head + "{\"c\":0").find("line 2") != std::string::npos);
    CHECK(refusal_of(head + R"({"c":7,"t":0,"lag_ms":0,"ms":0,"r":"lost"})").find("unknown client") !=
          std::string::npos);
    CHECK(refusal_of(head + R"({"c":0,"t":0,"lag_ms":0,"ms":0,"r":"odd"})").find("unknown result") !=
          std::string::npos);
  }

  TEST_CASE("in words: losses, silence and the share since the fault") {
    ProbeSummary summary(0, 250'000'000);
    for (QueryRecord query : queries()) {
      if (query.client == 0) summary.add(query);
    }
    const std::string text = to_text(summary.to_json(describe(options(), 1000)));
    CHECK(text.find("10 planned, 8 answered, 2 lost; longest silence 0.10 s") != std::string::npos);
    CHECK(text.find("2 of 3 (66.7 %) lost from the fault on, the last 0.2 s after it") != std::string::npos);
    CHECK(text.find("fixed") == std::string::npos);
  }
}

}  // namespace
}  // namespace core_ha::drill

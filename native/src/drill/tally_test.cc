// SPDX-License-Identifier: GPL-3.0-or-later
#include "drill/tally.h"

#include <doctest/doctest.h>

#include <optional>
#include <string_view>

namespace core_ha::drill {
namespace {

constexpr std::int64_t ms = 1'000'000;

/// One query every 100 ms from one client, ending as the letters say: a(nswered), l(ost), s(ervfail), n(xdomain),
/// i(cmp), e(rror).
void feed(Tally& tally, std::string_view letters, int client = 0) {
  std::int64_t planned = 0;
  for (const char letter : letters) {
    QueryRecord record{.client = client, .planned_ns = planned};
    switch (letter) {
      case 'a': record.ending = Ending::answered; break;
      case 'l': record.ending = Ending::lost; break;
      case 's': record.ending = Ending::servfail; break;
      case 'n': record.ending = Ending::nxdomain; break;
      case 'i': record.ending = Ending::icmp; break;
      default: record.ending = Ending::error; break;
    }
    if (record.ending == Ending::answered) record.latency_ns = 1 * ms;
    tally.add(record);
    planned += 100 * ms;
  }
}

Json summary_of(std::string_view letters, std::optional<std::int64_t> fault_ns = std::nullopt) {
  Tally tally(1, fault_ns);
  feed(tally, letters);
  return tally.summary(1000);
}

TEST_SUITE("drill: tally") {
  TEST_CASE("every ending is counted apart, and they add up to what was planned") {
    const Json summary = summary_of("aalsniea");
    CHECK(summary["planned"] == 8);
    CHECK(summary["sent"] == 7);
    CHECK(summary["answered"] == 3);
    CHECK(summary["lost"] == 1);
    CHECK(summary["servfail"] == 1);
    CHECK(summary["nxdomain"] == 1);
    CHECK(summary["icmp"] == 1);
    CHECK(summary["errors"] == 1);
    CHECK(summary["refused"] == 0);
  }

  TEST_CASE("nothing lost: no silence, no times") {
    const Json summary = summary_of("aaaa");
    CHECK(summary["longest_silence_s"] == 0);
    CHECK(summary["first_lost_at"].is_null());
    CHECK(summary["last_lost_at"].is_null());
    CHECK_FALSE(summary.contains("since_fault"));
    CHECK(summary["latency_ms"]["p50"] == 1.0);
  }

  TEST_CASE("a silence lasts from the first query without a usable response to the next answered one") {
    CHECK(summary_of("aalaa")["longest_silence_s"] == 0.1);
    CHECK(summary_of("aallaala")["longest_silence_s"] == 0.2);
    CHECK(summary_of("alsia")["longest_silence_s"] == 0.3);
    CHECK(summary_of("alnla")["longest_silence_s"] == 0.1);
    // What was never sent neither makes a silence nor ends one.
    CHECK(summary_of("aeea")["longest_silence_s"] == 0);
    CHECK(summary_of("alela")["longest_silence_s"] == 0.3);
  }

  TEST_CASE("a silence to the end of the probe is told as such") {
    const Json summary = summary_of("aalalll");
    CHECK(summary["longest_silence_s"] == 0.2);
    CHECK(summary["longest_silence_ended"] == false);
    CHECK(summary["longest_silence_at"] == 1000.4);
    CHECK(summary_of("lllaal")["longest_silence_ended"] == true);
  }

  TEST_CASE("silences are each client's own") {
    Tally tally(3, std::nullopt);
    for (std::int64_t i = 0; i < 20; ++i) {
      for (int client = 0; client < 3; ++client) {
        const bool lost = client == 1 && i >= 5 && i < 15;
        tally.add({.client = client,
                   .planned_ns = i * 100 * ms,
                   .latency_ns = ms,
                   .ending = lost ? Ending::lost : Ending::answered});
      }
    }
    const Json summary = tally.summary(0);
    CHECK(summary["longest_silence_s"] == 1.0);
    CHECK(summary["clients_with_loss"] == 1);
    CHECK(summary["lost"] == 10);
  }

  TEST_CASE("losses have the wall clock's times") {
    const Json summary = summary_of("alaala");
    CHECK(summary["first_lost_at"] == 1000.1);
    CHECK(summary["last_lost_at"] == 1000.4);
  }

  TEST_CASE("the share of losses is taken from the fault to the last lost query") {
    // The fault is at 0.3 s: l a l a l is 3 of 5; what was lost before it and what was answered after it do not count.
    const Json since = summary_of("alalalalaaaaaaaa", 250 * ms)["since_fault"];
    CHECK(since["queries"] == 5);
    CHECK(since["lost"] == 3);
    CHECK(since["share"] == 0.6);
    CHECK(since["last_lost_after_s"] == 0.45);
  }

  TEST_CASE("no loss since the fault") {
    const Json since = summary_of("laaaa", 250 * ms)["since_fault"];
    CHECK(since["lost"] == 0);
    CHECK(since["share"] == 0);
    CHECK(since["last_lost_after_s"].is_null());
  }

  TEST_CASE("late answers stay lost, and are noted") {
    Tally tally(1, std::nullopt);
    feed(tally, "all");
    tally.add_late(2500 * ms);
    const Json summary = tally.summary(0);
    CHECK(summary["lost"] == 2);
    CHECK(summary["late"] == 1);
    CHECK(summary["latest_s"] == 2.5);
  }

  TEST_CASE("endings have names, both ways") {
    for (int i = 0; i < endings; ++i)
      CHECK(ending_of(to_string(static_cast<Ending>(i))) == static_cast<Ending>(i));
    CHECK_FALSE(ending_of("vanished"));
  }
}

}  // namespace
}  // namespace core_ha::drill

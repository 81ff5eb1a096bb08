// SPDX-License-Identifier: GPL-3.0-or-later
//
// Against a server in this process. The machine may be busy: what is checked is what must hold however late things
// run, so the bounds on time are wide, and the counts exact.
#include "drill/prober.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "drill/fake_dns_testing.h"

namespace core_ha::drill {
namespace {

using namespace std::chrono_literals;

struct Seen {
  ProbeRun run;
  std::vector<QueryRecord> records;
  std::vector<Tick> ticks;
  std::vector<std::int64_t> late;
  std::chrono::nanoseconds processor_time{};  ///< that the thread which probes took, for itself and in the kernel

  int of(Ending ending) const {
    int count = 0;
    for (const QueryRecord& record : records)
      count += record.ending == ending ? 1 : 0;
    return count;
  }
};

std::chrono::nanoseconds processor_time_of_thread() {
  rusage usage{};
  REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
  return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

Seen probe(const ProbeOptions& options) {
  Seen seen;
  const auto before = processor_time_of_thread();
  ProbeObserver observer;
  observer.on_record = [&](const QueryRecord& record) { seen.records.push_back(record); };
  observer.on_tick = [&](const Tick& tick) { seen.ticks.push_back(tick); };
  observer.on_late = [&](int, std::int64_t latency) { seen.late.push_back(latency); };
  Result<ProbeRun> run = run_probe(options, observer);
  REQUIRE(run);
  seen.run = *run;
  seen.processor_time = processor_time_of_thread() - before;
  return seen;
}

ProbeOptions options_for(const Endpoint& server) {
  return {.server = server, .name = "kubernetes.default.svc.cluster.local.", .rate = 100, .duration_s = 0.5};
}

TEST_SUITE("drill: prober") {
  TEST_CASE("1,000 queries a second, planned without drift and all answered") {
    const FakeDns server;
    ProbeOptions options = options_for(server.endpoint());
    options.rate = 1000;
    options.duration_s = 3;
    const Seen seen = probe(options);
    REQUIRE(seen.records.size() == 3000);
    CHECK(seen.of(Ending::answered) == 3000);
    CHECK(server.received() == 3000);
    CHECK(seen.run.socket_errors.empty());
    for (std::size_t i = 0; i < seen.records.size(); ++i) {
      REQUIRE(seen.records[i].planned_ns == static_cast<std::int64_t>(i) * 1'000'000);
    }
    // What was sent last was sent when planned, however late some before it were: within 1 % of the time.
    std::int64_t least_lag = seen.records.back().lag_ns;
    for (auto record = seen.records.end() - 100; record != seen.records.end(); ++record) {
      least_lag = std::min(least_lag, record->lag_ns);
    }
    CHECK(least_lag < 30'000'000);
    // One core does it, with more than half of it to spare.
    CHECK(seen.processor_time < 1500ms);
  }

  TEST_CASE("each fresh query has a port of its own, each fixed client keeps one") {
    std::map<std::uint16_t, int> ports;
    {
      const FakeDns server([&](int, std::uint16_t port) {
        ++ports[port];
        return FakeAction{};
      });
      ProbeOptions options = options_for(server.endpoint());
      options.fixed_ports = 4;
      options.fixed_rate = 20;
      const Seen seen = probe(options);
      CHECK(seen.of(Ending::answered) == 50 + 4 * 10);
      std::map<int, int> by_client;
      for (const QueryRecord& record : seen.records)
        ++by_client[record.client];
      CHECK(by_client == std::map<int, int>{{0, 50}, {1, 10}, {2, 10}, {3, 10}, {4, 10}});
    }
    CHECK(ports.size() == 54);
    int repeated = 0;
    for (const auto& [port, queries] : ports)
      repeated += queries == 10 ? 1 : 0;
    CHECK(repeated == 4);
  }

  TEST_CASE("what is not answered is lost, and held up nothing") {
    const FakeDns server(
        [](int n, std::uint16_t) { return n % 5 == 0 ? FakeAction{.rcode = std::nullopt} : FakeAction{}; });
    ProbeOptions options = options_for(server.endpoint());
    options.timeout_s = 0.5;
    options.fixed_ports = 1;
    options.fixed_rate = 100;
    const Seen seen = probe(options);
    REQUIRE(seen.records.size() == 100);
    CHECK(seen.of(Ending::lost) == 20);
    CHECK(seen.of(Ending::answered) == 80);
    CHECK(std::is_sorted(seen.records.begin(), seen.records.end(),
                         [](const auto& a, const auto& b) { return a.planned_ns < b.planned_ns; }));
  }

  TEST_CASE("response codes are told apart") {
    const FakeDns server([](int n, std::uint16_t) {
      constexpr std::array codes = {Rcode::no_error, Rcode::serv_fail, Rcode::refused, Rcode::nx_domain,
                                    Rcode::not_imp};
      return FakeAction{.rcode = codes[n % codes.size()]};
    });
    const Seen seen = probe(options_for(server.endpoint()));
    for (const Ending ending : {Ending::answered, Ending::servfail, Ending::refused, Ending::nxdomain, Ending::other}) {
      CAPTURE(to_string(ending));
      CHECK(seen.of(ending) == 10);
    }
  }

  TEST_CASE("ICMP refusals are no losses, from fresh and from fixed ports") {
    ProbeOptions options = options_for(closed_port());
    options.fixed_ports = 2;
    options.fixed_rate = 50;
    const Seen seen = probe(options);
    CHECK(seen.records.size() == 100);
    CHECK(seen.of(Ending::icmp) == 100);
    CHECK(seen.run.socket_errors.empty());
  }

  TEST_CASE("a late answer leaves its query lost, and is told") {
    const FakeDns server([](int n, std::uint16_t) { return FakeAction{.delay = n == 3 ? 1500ms : 0ms}; });
    ProbeOptions options = options_for(server.endpoint());
    options.rate = 10;
    options.duration_s = 2.5;
    options.timeout_s = 1;
    const Seen seen = probe(options);
    REQUIRE(seen.records.size() == 25);
    CHECK(seen.records[3].ending == Ending::lost);
    REQUIRE_FALSE(seen.late.empty());
    CHECK(*std::max_element(seen.late.begin(), seen.late.end()) > 1'400'000'000);
  }

  TEST_CASE("ticks add up to the whole") {
    const FakeDns server;
    ProbeOptions options = options_for(server.endpoint());
    options.duration_s = 1.5;
    const Seen seen = probe(options);
    REQUIRE(seen.ticks.size() >= 2);
    std::int64_t planned = 0;
    std::int64_t answered = 0;
    for (const Tick& tick : seen.ticks) {
      planned += tick.fresh.planned;
      answered += tick.fresh.answered;
    }
    CHECK(planned == 150);
    CHECK(answered == 150);
    CHECK(seen.ticks.back().waiting == 0);
    CHECK(seen.ticks.front().t_ns >= 1'000'000'000);
  }

  TEST_CASE("a stop ends it early, and what is under way is still waited for") {
    std::array<int, 2> ends{};
    REQUIRE(pipe(ends.data()) == 0);
    const FakeDns server([](int, std::uint16_t) { return FakeAction{.delay = 200ms}; });
    ProbeOptions options = options_for(server.endpoint());
    options.duration_s = 0;
    options.stop_fd = ends[0];
    std::thread stopper([&] {
      while (server.received() < 20)
        std::this_thread::sleep_for(5ms);
      REQUIRE(write(ends[1], "x", 1) == 1);
    });
    const Seen seen = probe(options);
    stopper.join();
    close(ends[0]);
    close(ends[1]);
    CHECK(seen.run.stopped);
    CHECK(seen.records.size() >= 20);
    CHECK(seen.of(Ending::answered) == static_cast<int>(seen.records.size()));
  }

  TEST_CASE("what cannot be sent is an error of this machine, not a loss") {
    // To broadcast needs a socket option that a probe does not set.
    ProbeOptions options = options_for(*parse_endpoint("255.255.255.255:53"));
    const Seen seen = probe(options);
    CHECK(seen.of(Ending::error) == 50);
    REQUIRE(seen.run.socket_errors.size() == 1);
    CHECK(seen.run.socket_errors.begin()->second == 50);
  }

  TEST_CASE("nothing to send, or a name that is none, is bad usage") {
    const FakeDns server;
    ProbeOptions options = options_for(server.endpoint());
    options.rate = 0;
    CHECK(run_probe(options, {}).error().status == ExitStatus::usage);
    options = options_for(server.endpoint());
    options.name = "a..b";
    CHECK(run_probe(options, {}).error().status == ExitStatus::usage);
  }
}

}  // namespace
}  // namespace core_ha::drill

// SPDX-License-Identifier: GPL-3.0-or-later
//
// Rules of client-go's tools/leaderelection/leaderelection.go, and where we are stricter than it.
#include "lead/elector.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kube/fake_client_testing.h"

using namespace std::chrono_literals;
using core_ha::Json;
using core_ha::kube::ApiResult;
using core_ha::kube::testing::lost_answer;
using core_ha::kube::testing::status_error;
using core_ha::lead::BootTime;
using core_ha::lead::Elector;
using core_ha::lead::Moment;
using core_ha::lead::Next;
using core_ha::lead::Order;
using core_ha::lead::Program;
using core_ha::lead::Timing;
using std::chrono::milliseconds;

namespace {

const auto lease = core_ha::lead::lease_ref("kube-system", "gate");
const Json::json_pointer transitions("/spec/leaseTransitions");

Json held_by(const std::string& holder, int version, int seconds = 15) {
  return {{"metadata", {{"name", "gate"}, {"uid", "u"}, {"resourceVersion", std::to_string(version)}}},
          {"spec",
           {{"holderIdentity", holder},
            {"leaseDurationSeconds", seconds},
            {"renewTime", "2026-08-20T12:00:" + std::to_string(10 + version) + ".000000Z"},
            {"acquireTime", "2026-08-20T12:00:00.000000Z"},
            {"leaseTransitions", 4}}}};
}

/// An elector, and a clock that its test moves. A retry comes after 2.4 s, the longest pause there is.
struct Bench {
  Elector elector;
  milliseconds time{1000s};

  explicit Bench(Timing timing = {})
      : elector(lease, "us_1", timing, [](milliseconds, milliseconds most) { return most; }) {}

  BootTime now() const { return BootTime(time); }
  Next next() { return elector.next({now(), core_ha::lead::WallTime(std::chrono::seconds(1786000000) + time)}); }
  void answer(const ApiResult<Json>& answer) { elector.answered(now(), answer); }
  /// The order that is due now, which must be of that kind.
  Order order(Order::Kind kind) {
    auto next = this->next();
    REQUIRE(next.order);
    CHECK(next.order->kind == kind);
    return *next.order;
  }
  /// Answers the replacement that is due as a server does that takes it.
  void stored(int version) {
    Json body = order(Order::Kind::replace).body;
    body["metadata"]["resourceVersion"] = std::to_string(version);
    answer(body);
  }
  void lead() {
    order(Order::Kind::read);
    answer(held_by("", 1));
    stored(2);
    REQUIRE(elector.leading());
  }
  std::string news() {
    std::string all;
    for (const std::string& sentence : elector.take_news())
      all += sentence + "\n";
    return all;
  }
};

}  // namespace

TEST_CASE("lead: times that would let two be active, or one lose for nothing, are refused in a sentence") {
  using core_ha::lead::check;
  CHECK(check({}));
  CHECK(check({1s, 700ms, 150ms}));
  for (const Timing& wrong : {Timing{10s, 10s, 2s}, Timing{15s, 2400ms, 2s}, Timing{1500ms, 700ms, 150ms},
                              Timing{0s, 10s, 2s}, Timing{15s, 10s, 0s}, Timing{2s, 10s, 2s}}) {
    const auto checked = check(wrong);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().status == core_ha::ExitStatus::usage);
  }
  CHECK(check({10s, 10s, 2s}).error().message ==
        "the lease duration (10 s) must be longer than the renew deadline (10 s): in between the program comes to its "
        "end");
}

TEST_CASE("lead: an absent Lease is created, and that is a term") {
  Bench bench;
  const auto look = bench.order(Order::Kind::read);
  CHECK(look.until - bench.now() == 5s);  // half the renew deadline, as resourcelock.NewFromKubeconfig has it
  CHECK_FALSE(bench.next().order);        // one at a time
  bench.answer(status_error(404, "NotFound"));
  const Order create = bench.order(Order::Kind::create);
  CHECK(create.takes);
  CHECK(create.body["spec"]["holderIdentity"] == "us_1");
  CHECK(create.body["spec"]["leaseDurationSeconds"] == 15);
  CHECK(create.body["spec"]["leaseTransitions"] == 0);
  CHECK(create.body["spec"]["renewTime"] == create.body["spec"]["acquireTime"]);
  CHECK(bench.next().program == Program::none);
  bench.answer(create.body);
  CHECK(bench.next().program == Program::run);
  CHECK(bench.news() == "leading kube-system/gate\n");
}

TEST_CASE("lead: one that is created by another first is read at once") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.answer(status_error(404, "NotFound"));
  bench.order(Order::Kind::create);
  bench.answer(status_error(409, "AlreadyExists"));
  bench.order(Order::Kind::read);
  bench.answer(held_by("other", 1));
  CHECK_FALSE(bench.next().order);
  CHECK(bench.news() == "waiting for kube-system/gate, held by other\n");
}

TEST_CASE("lead: a released Lease is taken at once, for the version that was read") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.answer(held_by("", 7));
  const Order take = bench.order(Order::Kind::replace);
  CHECK(take.body["metadata"]["resourceVersion"] == "7");
  CHECK(take.body["metadata"]["uid"] == "u");
  CHECK(take.body.at(transitions) == 5);
  CHECK(take.body["spec"]["acquireTime"] == take.body["spec"]["renewTime"]);
}

TEST_CASE("lead: a held one is taken when it has stood still for its duration by our own clock, and then at once") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.time += 400ms;  // the answer took its time: what was read may be as new as now
  bench.answer(held_by("other", 1, 6));
  const auto seen = bench.now();
  for (int i = 0; i < 2; ++i) {
    CHECK_FALSE(bench.next().order);
    CHECK(bench.next().wake == bench.now() + 2400ms);
    bench.time += 2400ms;
    bench.order(Order::Kind::read);
    bench.answer(held_by("other", 1, 6));
  }
  CHECK(bench.next().wake == seen + 6s);  // not at the next retry, which would be 1.2 s later
  bench.time += 1199ms;
  CHECK_FALSE(bench.next().order);
  bench.time += 1ms;
  CHECK(bench.order(Order::Kind::replace).body["spec"]["holderIdentity"] == "us_1");
}

TEST_CASE("lead: a renewal is seen whatever its times say; a change of labels is none") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.answer(held_by("other", 1));
  bench.time += 14s;
  bench.order(Order::Kind::read);
  SUBCASE("renewed, by a clock that is a year behind") {
    Json renewed = held_by("other", 2);
    renewed["spec"]["renewTime"] = "2025-08-20T12:00:00.000000Z";
    bench.answer(renewed);
    bench.time += 14999ms;
    CHECK(bench.order(Order::Kind::read).kind == Order::Kind::read);
  }
  SUBCASE("labelled") {
    Json labelled = held_by("other", 1);
    labelled["metadata"]["resourceVersion"] = "2";
    labelled["metadata"]["labels"] = {{"a", "b"}};
    bench.answer(labelled);
    bench.time += 1s;
    CHECK(bench.order(Order::Kind::replace).body["metadata"]["resourceVersion"] == "2");
  }
}

TEST_CASE("lead: a Lease that is gone stays its last holder's for its time, since that one need not know") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.answer(held_by("other", 1));
  bench.time += 3s;
  bench.order(Order::Kind::read);
  bench.answer(status_error(404, "NotFound"));
  CHECK_FALSE(bench.next().order);
  bench.time += 11999ms;
  CHECK(bench.order(Order::Kind::read).kind == Order::Kind::read);
  bench.answer(status_error(404, "NotFound"));
  bench.time += 1ms;
  bench.order(Order::Kind::create);
}

TEST_CASE("lead: the Lease is renewed each retry period, counted from before the request was sent") {
  Bench bench;
  bench.lead();
  const auto acquired = bench.now();
  CHECK(bench.next().wake == acquired + 2s);
  CHECK(bench.next().switch_at == acquired + 13750ms);
  bench.time += 2s;
  const auto sent = bench.now();
  const Order renewal = bench.order(Order::Kind::replace);
  CHECK_FALSE(renewal.takes);
  CHECK(renewal.body["metadata"]["resourceVersion"] == "2");
  CHECK(renewal.body.at(transitions) == 5);
  CHECK(renewal.body["spec"]["acquireTime"] != renewal.body["spec"]["renewTime"]);
  bench.time += 3s;  // the answer is slow
  CHECK(bench.next().switch_at == acquired + 13750ms);
  bench.answer(renewal.body);
  const Next next = bench.next();
  CHECK(next.switch_at == sent + 13750ms);
  CHECK(next.order);  // it is due already
}

TEST_CASE(
    "lead: without a renewal the program is told to end at the renew deadline, and killed before the Lease ends") {
  Bench bench;
  bench.lead();
  const auto acquired = bench.now();
  bench.time += 2s;
  bench.order(Order::Kind::replace);
  bench.time += 5s;
  bench.answer(lost_answer(true));
  const Order look = bench.order(Order::Kind::read);  // it may have been stored
  CHECK(look.until == acquired + 10s);
  CHECK(bench.next().wake == acquired + 10s);
  bench.time += 2999ms;
  CHECK(bench.next().program == Program::run);
  bench.time += 1ms;
  CHECK(bench.next().program == Program::terminate);
  CHECK(bench.next().wake == acquired + 12500ms);
  CHECK(bench.news().find("lost kube-system/gate: not renewed for 10 s") != std::string::npos);
  bench.answer(held_by("us_1", 3));  // too late: there is one way only
  CHECK(bench.next().program == Program::terminate);
  bench.time += 2500ms;
  CHECK(bench.next().program == Program::kill);
  CHECK(bench.next().switch_at == acquired + 13750ms);

  SUBCASE("then we are a candidate, and take again what is still ours") {
    bench.elector.program_gone();
    bench.order(Order::Kind::read);
    bench.answer(held_by("us_1", 3));
    const Order take = bench.order(Order::Kind::replace);
    CHECK(take.body.at(transitions) == 4);
    CHECK(take.body["spec"]["acquireTime"] == "2026-08-20T12:00:00.000000Z");
  }
  SUBCASE("or go, when told to") {
    bench.elector.leave();
    CHECK_FALSE(bench.next().finished);
    bench.elector.program_gone();
    CHECK(bench.next().finished);
  }
}

TEST_CASE("lead: thawed after the deadline, the first thing decided is the program's end, whatever answer lies there") {
  Bench bench;
  bench.lead();
  bench.time += 2s;
  const Order renewal = bench.order(Order::Kind::replace);
  bench.time += 600s;
  bench.answer(renewal.body);
  CHECK(bench.next().program == Program::kill);
  CHECK_FALSE(bench.next().order);
}

TEST_CASE("lead: a write by others is looked at: still ours is renewed, anything else is the end at once") {
  Bench bench;
  bench.lead();
  bench.time += 2s;
  bench.order(Order::Kind::replace);
  bench.answer(status_error(409, "Conflict"));
  bench.order(Order::Kind::read);
  SUBCASE("labelled") {
    bench.answer(held_by("us_1", 9));
    CHECK(bench.order(Order::Kind::replace).body["metadata"]["resourceVersion"] == "9");
    CHECK(bench.next().program == Program::run);
  }
  SUBCASE("held by another") {
    bench.answer(held_by("other", 9));
    CHECK(bench.next().program == Program::kill);
    CHECK(bench.news().find("lost kube-system/gate: held by other") != std::string::npos);
    bench.elector.program_gone();
    bench.order(Order::Kind::read);
    bench.answer(held_by("other", 9));
    bench.time += 14999ms;  // of which it may have had all: it was seen when we looked
    CHECK(bench.order(Order::Kind::read).kind == Order::Kind::read);
  }
  SUBCASE("deleted") {
    bench.answer(status_error(404, "NotFound"));
    CHECK(bench.next().program == Program::kill);
  }
}

TEST_CASE("lead: an API in trouble only takes time, and is told of once") {
  Bench bench;
  bench.lead();
  bench.news();
  for (int i = 0; i < 4; ++i) {
    bench.time += 2s;
    REQUIRE(bench.next().order);
    bench.answer(status_error(503, "ServiceUnavailable", "starting"));
  }
  CHECK(bench.next().program == Program::run);
  CHECK(bench.news() == "starting; trying again\n");
  bench.time += 1s;
  CHECK(bench.next().program == Program::run);
}

TEST_CASE("lead: when the program is gone the Lease is released, for the version we know") {
  Bench bench;
  bench.lead();
  bench.elector.program_gone();
  const Order release = bench.order(Order::Kind::replace);
  CHECK(release.body["spec"]["holderIdentity"] == "");
  CHECK(release.body["spec"]["leaseDurationSeconds"] == 1);
  CHECK(release.body["metadata"]["resourceVersion"] == "2");
  CHECK(bench.next().program == Program::none);
  SUBCASE("done") {
    bench.answer(release.body);
    CHECK(bench.next().finished);
  }
  SUBCASE("somebody wrote to it: look, and release it then") {
    bench.answer(status_error(409, "Conflict"));
    bench.order(Order::Kind::read);
    bench.answer(held_by("us_1", 5));
    CHECK(bench.order(Order::Kind::replace).body["metadata"]["resourceVersion"] == "5");
  }
  SUBCASE("another's is left alone") {
    bench.answer(status_error(409, "Conflict"));
    bench.order(Order::Kind::read);
    bench.answer(held_by("other", 5));
    CHECK(bench.next().finished);
  }
  SUBCASE("not for ever") {
    bench.answer(lost_answer(false));
    CHECK(bench.next().finished);
  }
}

TEST_CASE("lead: a renewal under way is heard out before the release") {
  Bench bench;
  bench.lead();
  bench.time += 2s;
  const Order renewal = bench.order(Order::Kind::replace);
  bench.elector.program_gone();
  CHECK_FALSE(bench.next().order);
  Json stored = renewal.body;
  stored["metadata"]["resourceVersion"] = "3";
  bench.answer(stored);
  CHECK(bench.order(Order::Kind::replace).body["metadata"]["resourceVersion"] == "3");
}

TEST_CASE("lead: told to go") {
  Bench bench;
  SUBCASE("a candidate goes") {
    bench.order(Order::Kind::read);
    bench.elector.leave();
    CHECK(bench.next().finished);
  }
  SUBCASE("one that is about to take the Lease releases it first") {
    bench.order(Order::Kind::read);
    bench.answer(held_by("", 1));
    const Order take = bench.order(Order::Kind::replace);
    bench.elector.leave();
    CHECK_FALSE(bench.next().finished);
    bench.answer(take.body);
    CHECK(bench.next().program == Program::none);
  }
  SUBCASE("a leader's program decides for itself, unless nobody is left to watch us") {
    bench.lead();
    bench.elector.leave();
    CHECK(bench.next().program == Program::run);
    bench.elector.abort();
    CHECK(bench.next().program == Program::kill);
    bench.elector.program_gone();
    CHECK(bench.order(Order::Kind::replace).body["spec"]["holderIdentity"] == "");
  }
}

TEST_CASE("lead: an acquisition whose answer took until the renew deadline is no term") {
  Bench bench;
  bench.order(Order::Kind::read);
  bench.answer(held_by("", 1));
  const Order take = bench.order(Order::Kind::replace);
  bench.time += 10s;
  bench.answer(take.body);
  CHECK(bench.next().program == Program::none);
}

namespace {

/// Candidates in simulated trouble: they freeze, are cut off from the server, their requests take long, arrive after
/// they were given up or lose their answers, their clocks disagree, and their programs need time to die.
class Simulation {
 public:
  explicit Simulation(unsigned seed) : random_(seed) {
    for (Candidate& candidate : candidates_)
      restart(candidate);
  }

  std::int64_t steps = 0, active_steps = 0, overlaps = 0, switched = 0;
  std::set<std::string> leaders;

  void run(milliseconds span) {
    for (const milliseconds end = time_ + span; time_ < end; time_ += milliseconds(100), ++steps) {
      for (Flight& flight : flights_)
        if (time_ >= flight.arrives && !flight.arrived) arrive(flight);
      int active = 0;
      for (Candidate& candidate : candidates_) {
        pass(candidate);
        active += candidate.program != Program::none ? 1 : 0;
      }
      active_steps += active > 0 ? 1 : 0;
      overlaps += active > 1 ? 1 : 0;
      std::erase_if(flights_, [&](const Flight& flight) { return flight.arrived && time_ > flight.answers + 20s; });
    }
  }

 private:
  struct Candidate {
    std::unique_ptr<Elector> elector = {};
    std::string identity = {};
    milliseconds clock_offset{0}, frozen_until{0}, cut_off_until{0};
    std::optional<int> request = {};
    BootTime until, wake;
    Program program = Program::none;  ///< what it was told last, until it is dead
    milliseconds dies{milliseconds::max()}, switch_at{milliseconds::max()};
  };
  struct Flight {
    int number;
    Candidate* from;
    Order order;
    milliseconds arrives, answers;
    bool arrived = false;
    std::optional<ApiResult<Json>> answer = {};
  };

  bool one_in(unsigned n) { return random_() % n == 0; }
  milliseconds some(milliseconds least, milliseconds most) {
    return milliseconds(std::uniform_int_distribution<std::int64_t>(least.count(), most.count())(random_));
  }

  void restart(Candidate& c) {
    c.identity = "c" + std::to_string(++born_);
    c.clock_offset = some(1s, 1000h);
    c.elector = std::make_unique<Elector>(lease, c.identity, Timing{},
                                          [this](milliseconds least, milliseconds most) { return some(least, most); });
    c.request.reset();
    c.wake = BootTime();
    c.program = Program::none;
    c.dies = c.switch_at = milliseconds::max();
  }

  void arrive(Flight& flight) {
    flight.arrived = true;
    if (time_ < flight.from->cut_off_until) return;
    const Order& order = flight.order;
    flight.answer = order.kind == Order::Kind::read     ? server_.get_object(lease)
                    : order.kind == Order::Kind::create ? server_.create(lease, order.body)
                                                        : server_.replace(lease, order.body);
    server_.calls.clear();
    if (one_in(50)) flight.answer.reset();
  }

  void pass(Candidate& c) {
    if (one_in(500)) c.frozen_until = time_ + some(1s, 60s);
    if (one_in(500)) c.cut_off_until = time_ + some(1s, 60s);
    if (time_ >= c.switch_at) {  // by the kernel, frozen or not
      ++switched;
      restart(c);
    }
    if (time_ < c.frozen_until) return;
    const BootTime now(time_ + c.clock_offset);
    if (time_ >= c.dies) {
      c.program = Program::none;
      c.dies = c.switch_at = milliseconds::max();
      c.elector->program_gone();
      c.wake = now;
    }
    hear(c, now);
    if (now >= c.wake) decide(c, now);
  }

  void hear(Candidate& c, BootTime now) {
    if (!c.request) return;
    const auto flight =
        std::find_if(flights_.begin(), flights_.end(), [&](const Flight& f) { return f.number == *c.request; });
    const bool here =
        flight != flights_.end() && flight->answer && time_ >= flight->answers && time_ >= c.cut_off_until;
    if (!here && now < c.until) return;
    c.request.reset();
    c.elector->answered(now, here ? *flight->answer : ApiResult<Json>(lost_answer(true)));
    c.wake = now;
  }

  void decide(Candidate& c, BootTime now) {
    Next next = c.elector->next({now, core_ha::lead::WallTime(std::chrono::years(56) + time_)});
    c.elector->take_news();
    c.wake = next.wake;
    if (next.order) {
      const milliseconds there = one_in(20) ? some(0ms, 12s) : some(0ms, 200ms);
      const milliseconds back = one_in(20) ? some(0ms, 12s) : some(0ms, 200ms);
      c.request = ++numbered_;
      c.until = next.order->until;
      flights_.push_back({numbered_, &c, std::move(*next.order), time_ + there, time_ + there + back});
    }
    if (c.program == Program::none && next.program != Program::run) return;
    if (next.program == Program::run) leaders.insert(c.identity);
    if (next.program == Program::terminate && c.program == Program::run && one_in(2)) c.dies = time_ + some(100ms, 9s);
    if (next.program == Program::kill) c.dies = std::min(c.dies, time_ + some(50ms, 1200ms));
    c.program = next.program;
    c.switch_at = std::chrono::floor<milliseconds>(next.switch_at.time_since_epoch()) - c.clock_offset;
  }

  std::mt19937 random_;
  milliseconds time_{0};
  int born_ = 0, numbered_ = 0;
  std::vector<Candidate> candidates_{3};
  std::vector<Flight> flights_;
  core_ha::kube::testing::FakeClient server_;
};

}  // namespace

TEST_CASE("lead: in five simulated hours of trouble no two are active, and somebody mostly is") {
  Simulation simulation(20260820);
  simulation.run(5h);
  CHECK(simulation.overlaps == 0);
  CHECK(simulation.leaders.size() > 20);
  CHECK(simulation.switched > 20);
  INFO(simulation.active_steps, " of ", simulation.steps, " steps with a leader");
  CHECK(simulation.active_steps * 10 > simulation.steps * 4);
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/failover/profile.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace core_ha;
using namespace core_ha::ha;

namespace {

FailoverTimers timers(const FailoverWish& wish) {
  auto made = failover_timers(wish);
  REQUIRE(made);
  return *made;
}

}  // namespace

TEST_CASE("failover: the default profile needs no file") {
  const DropIns files = drop_ins(timers({}));
  CHECK(files.config.empty());
  CHECK(files.kubelet.empty());
  CHECK(files.unit.empty());
  CHECK(to_json(timers({})) == Json::object());
}

TEST_CASE("failover: each profile is one that its own rule lets pass") {
  for (const auto& profile : failover_profiles()) {
    CAPTURE(profile);
    CHECK(failover_timers({.profile = profile}));
  }
  CHECK(nodes_first(timers({.profile = "fast"})));
  CHECK_FALSE(nodes_first(timers({.profile = "edge"})));
  CHECK_FALSE(nodes_first(timers({})));
}

TEST_CASE("failover: drop-ins append to what k3s's other files say") {
  const DropIns files = drop_ins(timers({.profile = "fast"}));
  CHECK(files.config.find("\nkube-apiserver-arg+:\n  - default-not-ready-toleration-seconds=30\n"
                          "  - default-unreachable-toleration-seconds=30\n"
                          "kube-controller-manager-arg+:\n  - node-monitor-grace-period=20s\n"
                          "  - node-monitor-period=1s\n") != std::string::npos);
  CHECK(files.kubelet.ends_with("kind: KubeletConfiguration\nnodeLeaseDurationSeconds: 16\n"));
  CHECK(files.unit.ends_with(
      "[Service]\nEnvironment=HTTP2_READ_IDLE_TIMEOUT_SECONDS=5\nEnvironment=HTTP2_PING_TIMEOUT_SECONDS=3\n"));
}

TEST_CASE("failover: a number of the user's own takes the profile's place, and brings no other file") {
  const FailoverTimers patient = timers({.toleration_seconds = 60});
  CHECK(to_json(patient) == Json{{"toleration_seconds", 60}});
  CHECK(drop_ins(patient).kubelet.empty());
  CHECK(drop_ins(patient).unit.empty());
  const FailoverTimers mixed = timers({.profile = "fast", .grace_period = 30, .connection_timeout = 12});
  CHECK(mixed.grace_period == 30);
  CHECK(mixed.lease_duration == 16);
  CHECK(*mixed.read_idle + *mixed.ping == 12);
  const FailoverTimers usual = timers({.connection_timeout = 45});
  CHECK(usual.read_idle == usual_read_idle);
  CHECK(usual.ping == usual_ping);
}

TEST_CASE("failover: what cannot be is refused with the numbers") {
  struct Row {
    const char* what;
    FailoverWish wish;
    ExitStatus status;
    std::vector<const char*> says;
  };
  const std::vector<Row> rows{
      {"no such profile",
       {.profile = "faster"},
       ExitStatus::usage,
       {"failover_profile is faster", "one of default, fast, edge"}},
      {"out of range",
       {.grace_period = 9},
       ExitStatus::usage,
       {"failover_grace_period is 9", "from 10 to 3600 (seconds)"}},
      {"no time for a renewal",
       {.lease_duration = 601},
       ExitStatus::usage,
       {"failover_lease_duration is 601", "from 4 to 600"}},
      {"a short grace period alone",
       {.grace_period = 20},
       ExitStatus::unsafe,
       {"failover_grace_period is 20 s", "silent for 61 s", "every 11 s", "after 45 s", "Allow 61 s"}},
      {"shorter than before, where silent connections go soon",
       {.profile = "fast", .grace_period = 12},
       ExitStatus::unsafe,
       {"failover_grace_period is 12 s", "silent for 18 s"}},
      {"renewals that come too seldom",
       {.lease_duration = 400},
       ExitStatus::unsafe,
       {"failover_lease_duration is 400"}},
      {"connections that are kept too long",
       {.profile = "fast", .connection_timeout = 45},
       ExitStatus::unsafe,
       {"after 45 s (failover_connection_timeout)"}},
      {"an etcd that elects its leader writes nothing for a while",
       {.grace_period = 12, .lease_duration = 4, .connection_timeout = 3},
       ExitStatus::unsafe,
       {"silent for 14 s"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const auto refused = failover_timers(row.wish);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().status == row.status);
    CAPTURE(refused.error().message);
    for (const char* words : row.says)
      CHECK(refused.error().message.find(words) != std::string::npos);
  }
}

TEST_CASE("failover: what Kubernetes does by itself, and what is more patient, is not refused") {
  CHECK(failover_timers({.grace_period = 50}));
  CHECK(failover_timers({.lease_duration = 20}));
  CHECK(failover_timers({.grace_period = 3600}));
}

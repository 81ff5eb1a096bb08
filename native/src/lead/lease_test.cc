// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/lease.h"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using core_ha::Json;
using core_ha::lead::Claim;
using core_ha::lead::Lease;
using core_ha::lead::WallTime;

namespace {

const WallTime noon = std::chrono::sys_days(std::chrono::year(2026) / 8 / 20) + 12h;
const Claim claim{.identity = "us_1", .duration = 15s};

}  // namespace

TEST_CASE("lease: times are written as the API's MicroTime, six digits always") {
  CHECK(core_ha::lead::micro_time(noon) == "2026-08-20T12:00:00.000000Z");
  CHECK(core_ha::lead::micro_time(noon + 61s + 42us) == "2026-08-20T12:01:01.000042Z");
}

TEST_CASE("lease: fields that are not there, or are of another kind, are empty") {
  for (const char* text : {"null", "{}", R"({"spec": null})", R"({"spec": {"holderIdentity": null}})",
                           R"({"spec": {"holderIdentity": 3, "leaseDurationSeconds": "15"}})",
                           R"({"spec": {"leaseDurationSeconds": -3}})"}) {
    const Lease lease(Json::parse(text));
    CHECK(lease.holder().empty());
    CHECK(lease.duration() == 0s);
  }
}

TEST_CASE("lease: what is written keeps what is not ours, and the conditions under which it may be stored") {
  const Lease lease(Json{{"metadata",
                          {{"name", "gate"},
                           {"uid", "u"},
                           {"resourceVersion", "7"},
                           {"labels", {{"a", "b"}}},
                           {"managedFields", Json::array()}}},
                         {"spec",
                          {{"holderIdentity", "other"},
                           {"leaseTransitions", 4},
                           {"strategy", "OldestEmulationVersion"},
                           {"acquireTime", "2026-08-20T11:00:00.000000Z"}}}});
  const Json taken = lease.taken(claim, noon);
  CHECK(taken["metadata"] == Json{{"name", "gate"}, {"uid", "u"}, {"resourceVersion", "7"}, {"labels", {{"a", "b"}}}});
  CHECK(taken["spec"] == Json{{"holderIdentity", "us_1"},
                              {"leaseTransitions", 5},
                              {"strategy", "OldestEmulationVersion"},
                              {"leaseDurationSeconds", 15},
                              {"acquireTime", "2026-08-20T12:00:00.000000Z"},
                              {"renewTime", "2026-08-20T12:00:00.000000Z"}});
  const Json renewed = Lease(taken).renewed(claim, noon + 2s);
  CHECK(renewed["spec"]["acquireTime"] == "2026-08-20T12:00:00.000000Z");
  CHECK(renewed["spec"]["renewTime"] == "2026-08-20T12:00:02.000000Z");
  CHECK(renewed["spec"]["leaseTransitions"] == 5);
  CHECK(Lease(renewed).taken(claim, noon + 3s)["spec"]["leaseTransitions"] == 5);
  const Json released = Lease(renewed).released(noon + 4s);
  CHECK(released["spec"]["holderIdentity"] == "");
  CHECK(released["spec"]["leaseDurationSeconds"] == 1);
  CHECK(released["spec"]["leaseTransitions"] == 5);
}

TEST_CASE("lease: a renewal changes the record even when the wall clock stands") {
  const Json held = core_ha::lead::new_lease(core_ha::lead::lease_ref("a", "b"), claim, noon);
  CHECK(Lease(Lease(held).renewed(claim, noon)).record() != Lease(held).record());
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/lease.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace core_ha::lead {
namespace {

const Json& spec_of(const Json& object) {
  static const Json none = Json::object();
  if (!object.is_object()) return none;
  const auto spec = object.find("spec");
  return spec != object.end() && spec->is_object() ? *spec : none;
}

std::string text(const Json& map, const char* key) {
  const auto it = map.find(key);
  return it != map.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::int64_t number(const Json& map, const char* key) {
  const auto it = map.find(key);
  return it != map.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
}

/// A time of renewal that differs from the one before: others see by it that the holder lives, and a clock may stand.
std::string next_renewal(const Json& spec, WallTime now) {
  std::string time = micro_time(now);
  if (time == text(spec, "renewTime")) time = micro_time(now + std::chrono::microseconds(1));
  return time;
}

}  // namespace

std::string Lease::holder() const {
  return text(spec_of(object_), "holderIdentity");
}

std::chrono::seconds Lease::duration() const {
  return std::chrono::seconds(std::max<std::int64_t>(0, number(spec_of(object_), "leaseDurationSeconds")));
}

Json Lease::record() const {
  return spec_of(object_);
}

Json Lease::taken(const Claim& claim, WallTime now) const {
  Json object = renewed(claim, now);
  if (holder() == claim.identity) return object;
  object["spec"]["acquireTime"] = object["spec"]["renewTime"];
  object["spec"]["leaseTransitions"] = number(spec_of(object_), "leaseTransitions") + 1;
  return object;
}

Json Lease::renewed(const Claim& claim, WallTime now) const {
  Json object = object_;
  Json spec = spec_of(object_);
  spec["holderIdentity"] = claim.identity;
  spec["leaseDurationSeconds"] = claim.duration.count();
  spec["renewTime"] = next_renewal(spec, now);
  object["spec"] = std::move(spec);
  object["metadata"].erase("managedFields");
  return object;
}

Json Lease::released(WallTime now) const {
  // The server takes no duration of 0; client-go writes 1, too.
  return renewed({.identity = "", .duration = std::chrono::seconds(1)}, now);
}

kube::ObjectRef lease_ref(const std::string& ns, const std::string& name) {
  return {.api_version = "coordination.k8s.io/v1", .kind = "Lease", .ns = ns, .name = name};
}

Json new_lease(const kube::ObjectRef& ref, const Claim& claim, WallTime now) {
  const std::string time = micro_time(now);
  return {{"apiVersion", ref.api_version},
          {"kind", ref.kind},
          {"metadata", {{"name", ref.name}, {"namespace", ref.ns}}},
          {"spec",
           {{"holderIdentity", claim.identity},
            {"leaseDurationSeconds", claim.duration.count()},
            {"acquireTime", time},
            {"renewTime", time},
            {"leaseTransitions", 0}}}};
}

std::string micro_time(WallTime time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count(), clock.subseconds().count());
}

}  // namespace core_ha::lead

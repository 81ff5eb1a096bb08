// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/json.h"
#include "kube/object_ref.h"

namespace core_ha::lead {

/// The API's MicroTime.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

/// Who holds a Lease, and for how long without renewing it.
struct Claim {
  std::string identity;
  std::chrono::seconds duration{15};
};

/// A coordination.k8s.io/v1 Lease as the API server has it, read by the rules of client-go's leader election.
class Lease {
 public:
  explicit Lease(Json object) : object_(std::move(object)) {}

  /// Empty: released, or never held.
  std::string holder() const;
  /// For how long the holder may go without renewing; 0 where it does not say.
  std::chrono::seconds duration() const;
  /// What changes with every renewal, and only then: labels and annotations are anybody's.
  Json record() const;

  // What to write in its place. All of them carry the resourceVersion and the uid of what was read: where the Lease
  // has changed since, the server answers Conflict.

  /// Taken over; by its holder of before, who keeps the time of acquisition and the count of transitions.
  Json taken(const Claim& claim, WallTime now) const;
  Json renewed(const Claim& claim, WallTime now) const;
  /// Held by nobody, so that the next candidate need not wait.
  Json released(WallTime now) const;

 private:
  Json object_;
};

/// The reference of a Lease.
kube::ObjectRef lease_ref(const std::string& ns, const std::string& name);

/// The object to create where there is none.
Json new_lease(const kube::ObjectRef& ref, const Claim& claim, WallTime now);

/// `2026-08-20T12:00:00.123456Z`.
std::string micro_time(WallTime time);

}  // namespace core_ha::lead

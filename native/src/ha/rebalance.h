// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "cluster/snapshot.h"
#include "ha/plan.h"
#include "kube/object_ref.h"

namespace core_ha::ha {

/// Annotation of the kept wish: for which host a pod was moved last, and when. Written before the pod is let go, so
/// that whatever becomes of the move it is not made again at once.
inline constexpr std::string_view moved_annotation = "k3s-core-ha/moved";
/// The same of zones. Another one: a move of either kind must not make the other kind's be forgotten, or two that
/// undo each other would go on for ever.
inline constexpr std::string_view moved_zone_annotation = "k3s-core-ha/moved-zone";

/// No pod is moved for so long after any pod of the component was made or moved.
inline constexpr std::chrono::minutes cool_down{10};

/// A host or zone for which a pod was moved, and which has none all the same, is not tried again for so long: the
/// scheduler has its reasons, and a pod that is moved over and over is worse than two on one host (k8s-snap #2646).
inline constexpr std::chrono::hours try_again{24};

/// One pod to be replaced, so that the scheduler may put its replacement elsewhere: first it is let go by its
/// ReplicaSet, which makes another one, and when that serves, too, it is retired as in a swap (strategies/swap.cc).
struct Move {
  kube::ObjectRef pod;
  std::string uid;
  std::string from;                                ///< the host that it leaves
  std::string to;                                  ///< the host, or the zone, that has fewest
  std::string reason;                              ///< one sentence
  std::string_view annotation = moved_annotation;  ///< where it is noted
  std::string note;                                ///< what that is to say
  std::vector<Step> replacement = {};              ///< lets the pod go, and waits until another one serves
  std::vector<Step> retirement = {};               ///< of the pod, then
};

/// The one move that helps now, or why there is none.
struct Choice {
  std::optional<Move> move = {};
  std::string words = {};  ///< one sentence, where there is none
};

/// Chooses among CoreDNS's pods as observed. A move helps where a host has at least two pods more than another that
/// takes pods, or, unless the kept wish is content with less than level zone, a zone; it is made only while everything
/// is at rest: all replicas available, nothing rolling out, nothing made or moved for as long as `rest`.
Choice choose_move(const cluster::Snapshot& snapshot, std::chrono::seconds rest = cool_down);

}  // namespace core_ha::ha

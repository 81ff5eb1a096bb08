// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "cluster/snapshot.h"
#include "ha/planner.h"

namespace core_ha::ha {

/// The wish as it is kept in the cluster, for whoever is to bring the cluster back to it later.
inline const kube::ObjectRef state_object{"v1", "ConfigMap", "kube-system", "k3s-core-ha"};

struct State {
  std::int64_t revision = 0;  ///< counts the wishes; a run of a lower one writes nothing
  std::string spec;           ///< canonical JSON
  /// Helm charts about which something of ours may be, by name: the hash of the chart's configuration before the last
  /// change of it; empty: it had none.
  std::map<std::string, std::string> charts = {};
};

/// What a ConfigMap of ours says; nothing of an object that is not ours, or not as we write it.
std::optional<State> read_state(const Json& config_map);

/// Whether the wish is what k3s ships, in every component, and nothing else: then none is kept.
bool all_packaged(const Spec& spec);

/// Plans to keep the wish, before anything else: a run that is stopped half-way is known by it, and one of an earlier
/// wish stops. `revision`: of the wish, where the caller knows it; refused when the cluster has a later one. `charts`:
/// as State has them.
void plan_state(Planner& planner, std::optional<std::int64_t> revision,
                const std::map<std::string, std::string>& charts = {});

/// Once nothing of ours is about some charts any more: the kept wish says so, with those that are left, as its last
/// step.
void plan_settled(Planner& planner, const std::map<std::string, std::string>& charts);

/// The charts about which something of ours may be: by what is wished, and by what the cluster keeps.
std::set<std::string> charts_of(const Spec& spec);
std::set<std::string> charts_of(const cluster::Snapshot& snapshot);

/// Whether the wish that the cluster keeps is this one.
bool keeps_wish(const Planner& planner);

/// The hash that the kept wish has for the chart (State::charts); nothing: it has none.
std::optional<std::string> kept_mark(const cluster::Snapshot& snapshot, const std::string& chart);

/// Once everything is as k3s ships it: nothing is kept, and no node is marked by us.
void plan_no_state(Planner& planner);

}  // namespace core_ha::ha

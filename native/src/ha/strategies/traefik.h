// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "ha/planner.h"

namespace core_ha::ha {

inline const kube::ObjectRef traefik_chart{"helm.cattle.io/v1", "HelmChart", "kube-system", "traefik"};
inline const kube::ObjectRef traefik_config{"helm.cattle.io/v1", "HelmChartConfig", "kube-system", "traefik"};
inline const kube::ObjectRef traefik_deployment{"apps/v1", "Deployment", "kube-system", "traefik"};

/// What is to become of traefik.
struct Traefik {
  Json body = {};                        ///< our whole set for its HelmChartConfig; null: it is not looked at
  bool removes = false;                  ///< the HelmChartConfig is ours alone, and goes
  bool applies = false;                  ///< the chart is, or is being, applied anew: its job is waited for
  bool scaled = false;                   ///< somebody scaled the Deployment: the chart is to be applied once more
  bool rolls = false;                    ///< the Deployment is still on its way
  bool settles = false;                  ///< nothing of ours is left in the end, while a wish goes on being kept
  std::optional<std::string> mark = {};  ///< see State::charts
};

/// `helm`: the values by which the chart that k3s ships runs several replicas, in one HelmChartConfig beside what
/// others have in it. `packaged`: no field of ours in it. Refuses what could not be carried out.
Traefik design_traefik(Planner& planner);
void plan_traefik(Planner& planner, const Traefik& design);

/// Once the HelmChartConfig is planned to be as it was: what the chart makes of that, where it was another.
void wait_for_traefik_back(Planner& planner, const Planner& earlier);

/// How it stands, for people and programs: the strategy whose fields are there, replicas, ready, nodes.
Json traefik_stands(const Planner& planner);

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "base/json.h"
#include "ha/planner.h"
#include "ha/strategies/chart.h"

namespace core_ha::ha {

/// A Helm chart that stands in for what k3s ships of a component: the HelmChart says where it is from, and the
/// HelmChartConfig beside it has every value; both are ours whole.
struct OwnChart {
  Chart chart;
  const char* title;           ///< the component's, in sentences
  const char* strategy;        ///< the spec's key for its strategy
  std::string Spec::* wished;  ///< that strategy
  const char* component;       ///< what objects of ours say that they are for
  Json Spec::* source;         ///< where the chart is from
  const char* usual_repo;      ///< where that does not say; empty: it must say
  const char* usual_name;      ///< of the chart in the repository
  bool serves_dns = false;     ///< its job must do without cluster DNS
  const char* lone = "";       ///< selects its pods, of which there must never be two; empty: there may be
};

inline const OwnChart coredns_chart{.chart = {.name = "coredns-ha", .id = "coredns-helm"},
                                    .title = "CoreDNS",
                                    .strategy = "coredns_strategy",
                                    .wished = &Spec::coredns_strategy,
                                    .component = "coredns",
                                    .source = &Spec::coredns_chart,
                                    .usual_repo = "https://coredns.github.io/helm",
                                    .usual_name = "coredns",
                                    .serves_dns = true};
inline const OwnChart metrics_server_chart{.chart = {.name = "metrics-server-ha", .id = "metrics-server-helm"},
                                           .title = "metrics-server",
                                           .strategy = "metrics_server_strategy",
                                           .wished = &Spec::metrics_server_strategy,
                                           .component = "metrics-server",
                                           .source = &Spec::metrics_server_chart,
                                           .usual_repo = "https://kubernetes-sigs.github.io/metrics-server/",
                                           .usual_name = "metrics-server"};
inline const OwnChart local_path_chart{.chart = {.name = "local-path-provisioner-ha", .id = "local-path-helm"},
                                       .title = "local-path-provisioner",
                                       .strategy = "local_path_provisioner_strategy",
                                       .wished = &Spec::local_path_provisioner_strategy,
                                       .component = "local-path-provisioner",
                                       .source = &Spec::local_path_provisioner_chart,
                                       .usual_repo = "",  // upstream has none
                                       .usual_name = "local-path-provisioner",
                                       .lone =
                                           "app.kubernetes.io/instance=local-path-provisioner-ha,"
                                           "app.kubernetes.io/name=local-path-provisioner-ha"};

/// What is to become of such a chart.
struct ChartWay {
  Json config = {};        ///< our whole set for the HelmChartConfig
  Json chart = {};         ///< and for the HelmChart; null: none is wished
  bool there = false;      ///< something of ours is about it, or the kept wish says so
  bool remakes = false;    ///< it is removed and made anew, for what it made is gone
  bool writes = false;     ///< the chart or its configuration changes
  std::string again = {};  ///< why the chart is to be applied once more, as it is; empty: it is not
  bool rolls = false;      ///< the Deployment is still on its way
  bool resumes = false;    ///< an earlier run, on the way out, has paused it
  ChartChange change = {};
};

/// Whether the wish has the component from its chart.
bool is_wished(const Spec& spec, const OwnChart& own);

/// The chart's HelmChart where it is ours, else null.
const Json* own_chart(const cluster::Snapshot& snapshot, const OwnChart& own);

/// With these values and so many replicas. Refuses where helm-controller is not there, and what is somebody else's.
ChartWay design_own(Planner& planner, const OwnChart& own, const Json& values, int replicas);
/// Without it: what is to go.
ChartWay design_without(Planner& planner, const OwnChart& own);
/// As it was before a change.
ChartWay design_back(const Planner& planner, const Planner& earlier, const OwnChart& own);

/// Plans the chart with its configuration, and waits for what it makes; `waits`: also where nothing changes.
void plan_own(Planner& planner, const OwnChart& own, const ChartWay& way, bool waits);
/// Plans its end; whatever it serves must be taken from it before.
void plan_without(Planner& planner, const OwnChart& own);

}  // namespace core_ha::ha

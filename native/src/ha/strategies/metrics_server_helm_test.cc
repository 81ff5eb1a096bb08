// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/metrics_server_helm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan_testing.h"
#include "ha/state.h"
#include "ha/strategies/metrics_server.h"
#include "ha/way_back.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// CoreDNS as k3s ships it, so that the steps are metrics-server's.
Spec helm_metrics(Json more = Json::object()) {
  more["metrics_server_strategy"] = "helm";
  more["coredns_strategy"] = "packaged";
  if (!more.contains("metrics_server_chart")) more["metrics_server_chart"] = {{"version", "3.4.5"}};
  return wish(more);
}
const Spec shipped_metrics{.coredns_strategy = "packaged", .metrics_server_strategy = "packaged"};

SimulatedCluster metrics_with_helm(int nodes = 3) {
  SimulatedCluster cluster(nodes);
  cluster.ship_metrics_server();
  cluster.ship_helm();
  return cluster;
}

Json metrics_values_of(const SimulatedCluster& cluster) {
  const Json* config = cluster::find_named(cluster.snapshot.helmchartconfigs, "metrics-server-ha");
  REQUIRE(config != nullptr);
  return (*config)["spec"]["values"];
}

/// How many pods answer, by whether the chart made them.
int answering(const SimulatedCluster& cluster, bool charted) {
  const auto& pods = cluster.snapshot.pods;
  return static_cast<int>(std::count_if(pods.begin(), pods.end(), [&](const Json& pod) {
    const Json& labels = pod["metadata"]["labels"];
    return labels.value("k8s-app", "") == "metrics-server" && labels.contains("app.kubernetes.io/instance") == charted;
  }));
}

void check_reached(SimulatedCluster& cluster, const Spec& spec) {
  const bool helm = spec.metrics_server_strategy == "helm";
  const bool shipped = spec.metrics_server_strategy == "packaged";
  CHECK(answering(cluster, true) == (helm ? 2 : 0));
  CHECK(answering(cluster, false) == (helm ? 0 : shipped ? 1 : 2));
  CHECK(cluster.deployment(1)["spec"]["replicas"] == (helm ? 0 : shipped ? 1 : 2));
  CHECK(cluster.snapshot.poddisruptionbudgets.size() == (helm || shipped ? 0 : 1));
  if (helm || shipped) CHECK(cluster::applied_fields(cluster.deployment(1), "k3s-core-ha").empty());
  CHECK(cluster.snapshot.helmcharts.size() == (helm ? 1 : 0));
  CHECK(cluster.snapshot.helmchartconfigs.size() == (helm ? 1 : 0));
  CHECK(charts_of(cluster.snapshot).size() == (helm ? 1 : 0));
}

bool says(const std::vector<std::string>& all, const std::string& words) {
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("metrics-server helm: the chart, its values, and the packaged Deployment out of the way") {
  SimulatedCluster cluster = metrics_with_helm();
  const Plan plan = make_plan(helm_metrics(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(ids(plan) == std::vector<std::string>{"metrics-server-helm-values", "metrics-server-helm",
                                              "metrics-server-helm-chart", "metrics-server-helm-rollout",
                                              "metrics-server-set-aside"});
  reach(cluster, helm_metrics());
  check_reached(cluster, helm_metrics());
  const Json chart = cluster.snapshot.helmcharts[0]["spec"];
  CHECK(chart["repo"] == "https://kubernetes-sigs.github.io/metrics-server/");
  CHECK(chart["chart"] == "metrics-server");
  CHECK_FALSE(chart.contains("bootstrap"));
  const Json values = metrics_values_of(cluster);
  CHECK(values["replicas"] == 2);
  CHECK(values["apiService"] == Json{{"create", false}});
  CHECK(values["podLabels"] == Json{{"k8s-app", "metrics-server"}});
  CHECK(values["containerPort"] == 10250);
  CHECK(values["podDisruptionBudget"] == Json{{"enabled", true}, {"maxUnavailable", 1}});
  CHECK(values["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"] ==
        Json{{"matchLabels", {{"app.kubernetes.io/instance", "metrics-server-ha"}}}});
  const Plan next = make_plan(helm_metrics(), cluster.snapshot);
  CHECK(next.components["metrics_server"]["strategy"] == "helm");
  CHECK(next.components["metrics_server"]["replicas"] == 2);
}

TEST_CASE("metrics-server helm: arguments of k3s's, and the port that they have") {
  SimulatedCluster cluster = metrics_with_helm();
  cluster.deployment(1)["spec"]["template"]["spec"]["containers"][0]["args"] = {"--cert-dir=/tmp", "--secure-port=4443",
                                                                                "--metric-resolution=15s"};
  reach(cluster, helm_metrics());
  CHECK(metrics_values_of(cluster)["defaultArgs"] == Json{"--cert-dir=/tmp", "--metric-resolution=15s"});
  CHECK(metrics_values_of(cluster)["containerPort"] == 4443);
}

TEST_CASE("metrics-server helm: pods that keep away from the chart's are never beside them") {
  SimulatedCluster cluster = metrics_with_helm();
  reach(cluster, shipped_dns);
  const auto steps = ids(make_plan(helm_metrics(), cluster.snapshot));
  const auto at = [](const std::vector<std::string>& all, const char* id) {
    const auto found = std::find(all.begin(), all.end(), id);
    REQUIRE(found != all.end());
    return found;
  };
  CHECK(at(steps, "metrics-server-rollout") < at(steps, "metrics-server-helm"));
  reach(cluster, helm_metrics());
  const auto back = ids(make_plan(shipped_dns, cluster.snapshot));
  CHECK(at(back, "metrics-server-scaled") < at(back, "metrics-server-helm-ended"));
  CHECK(at(back, "metrics-server-helm-ended") < at(back, "metrics-server-overlay"));
}

TEST_CASE("metrics-server helm: from each strategy and to each, stopped anywhere, and taken back") {
  for (const Spec& other : {shipped_metrics, shipped_dns})
    for (const bool out : {false, true}) {
      CAPTURE(other.metrics_server_strategy);
      CAPTURE(out);
      const Spec from = out ? helm_metrics() : other;
      const Spec to = out ? other : helm_metrics();
      SimulatedCluster start = metrics_with_helm();
      reach(start, from);
      check_reached(start, from);
      stop_anywhere(start, from, to, [](SimulatedCluster& cluster, const Spec& spec) {
        reach(cluster, spec);
        check_reached(cluster, spec);
      });
    }
}

TEST_CASE("metrics-server helm: what is not k3s's, or finds no room, is left alone") {
  SimulatedCluster cluster = metrics_with_helm();
  SUBCASE("not there") {
    cluster.snapshot.deployments.erase(1);
    const Plan plan = make_plan(helm_metrics(), cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(says(plan.warnings, "nothing stands in for it"));
  }
  SUBCASE("somebody's own") {
    cluster.deployment(1)["metadata"].erase("annotations");
    const Plan plan = make_plan(helm_metrics(), cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(says(plan.warnings, "is not the one that k3s ships"));
  }
  SUBCASE("no second node takes pods now, and the chart that is there stays in the wish") {
    reach(cluster, helm_metrics());
    cluster.cordon(0);
    cluster.cordon(1);
    const Plan plan = make_plan(shipped_dns, cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(says(plan.unmet, "metrics-server is left as it is for now"));
    carry_out(cluster, plan);
    CHECK(charts_of(cluster.snapshot) == std::set<std::string>{"metrics-server-ha"});
  }
}

TEST_CASE("metrics-server helm: a wish that was kept and no more, and then the earlier one again") {
  SimulatedCluster cluster = metrics_with_helm();
  reach(cluster, helm_metrics());
  const Plan other =
      make_plan(helm_metrics({{"metrics_server_values", {{"podAnnotations", {{"a", "b"}}}}}}), cluster.snapshot);
  REQUIRE(other.steps.size() > 1);
  carry_out(cluster, other, 1);
  CHECK(ids(make_plan(helm_metrics(), cluster.snapshot)).empty());
  reach(cluster, helm_metrics());
}

TEST_CASE("metrics-server helm: one replica, of a wish for one") {
  SimulatedCluster cluster = metrics_with_helm();
  reach(cluster, helm_metrics({{"metrics_server_replicas", 1}}));
  CHECK(metrics_values_of(cluster)["replicas"] == 1);
  CHECK_FALSE(metrics_values_of(cluster).contains("podDisruptionBudget"));
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 0);
}

TEST_CASE("helm: manifests keep the charts from being deleted, and the counts at 0") {
  SimulatedCluster cluster = metrics_with_helm();
  cluster.stage();
  const Plan plan = make_plan(wish({{"coredns_strategy", "helm"},
                                    {"coredns_chart", {{"version", "1"}}},
                                    {"metrics_server_strategy", "helm"},
                                    {"metrics_server_chart", {{"version", "2"}}}}),
                              cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  int charts = 0;
  int aside = 0;
  for (const auto& object : manifests(plan)) {
    const std::string kind = object["kind"];
    if (kind.starts_with("HelmChart") &&
        object["metadata"].value("annotations", Json::object()).contains("k3s-core-ha/keep"))
      ++charts;
    if (kind == "Deployment" && object["spec"]["replicas"] == 0) ++aside;
  }
  CHECK(charts == 4);
  CHECK(aside == 2);
}

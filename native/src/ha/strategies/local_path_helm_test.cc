// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/local_path_helm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan_testing.h"
#include "ha/state.h"
#include "ha/strategies/local_path.h"
#include "ha/way_back.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// Every other component as k3s ships it, so that the steps are local-path-provisioner's.
Spec provisioner_by(const std::string& strategy, Json more = Json::object()) {
  for (const char* other : {"coredns", "metrics_server"})
    more[std::string(other) + "_strategy"] = "packaged";
  more["local_path_provisioner_strategy"] = strategy;
  if (strategy == "helm" && !more.contains("local_path_provisioner_chart"))
    more["local_path_provisioner_chart"] = {{"content", "H4sIAAAA"}};
  return wish(more);
}

Json annotated(const char* value) {
  return {{"local_path_provisioner_values", {{"podAnnotations", {{"a", value}}}}}};
}

void carry_helper(SimulatedCluster& cluster) {
  for (auto& node : cluster.snapshot.nodes)
    node["metadata"]["labels"][cluster::carries_label] = "0.1.0";
}

/// Three nodes that carry the helper, local-path-provisioner as packaged, and helm-controller.
SimulatedCluster provisioning() {
  SimulatedCluster cluster(3);
  carry_helper(cluster);
  cluster.ship_local_path();
  cluster.ship_helm();
  return cluster;
}

Json values_of_chart(const SimulatedCluster& cluster) {
  const Json* config = cluster::find_named(cluster.snapshot.helmchartconfigs, "local-path-provisioner-ha");
  REQUIRE(config != nullptr);
  return (*config)["spec"]["values"];
}

Json& chart_deployment(SimulatedCluster& cluster) {
  for (auto& deployment : cluster.snapshot.deployments)
    if (deployment["metadata"]["name"] == "local-path-provisioner-ha") return deployment;
  FAIL("the chart has no Deployment");
  return cluster.snapshot.deployments[0];
}

int provisioners(const SimulatedCluster& cluster, const char* label, const char* name) {
  const auto& pods = cluster.snapshot.pods;
  return static_cast<int>(std::count_if(
      pods.begin(), pods.end(), [&](const Json& pod) { return pod["metadata"]["labels"].value(label, "") == name; }));
}

void check_provisioner(SimulatedCluster& cluster, const Spec& spec) {
  const std::string& strategy = spec.local_path_provisioner_strategy;
  CHECK(provisioners(cluster, "app.kubernetes.io/name", "local-path-provisioner-ha") == (strategy == "helm" ? 1 : 0));
  CHECK(provisioners(cluster, "app", "local-path-provisioner") == (strategy == "packaged" ? 1 : 0));
  CHECK(provisioners(cluster, "app", "k3s-core-ha-local-path-provisioner") == (strategy == "replicas" ? 2 : 0));
  CHECK(cluster.snapshot.helmcharts.size() == (strategy == "helm" ? 1 : 0));
  CHECK(cluster.snapshot.helmchartconfigs.size() == (strategy == "helm" ? 1 : 0));
  CHECK(charts_of(cluster.snapshot).size() == (strategy == "helm" ? 1 : 0));
  CHECK(cluster.snapshot.roles.size() == (strategy == "replicas" ? 1 : 0));
  CHECK(cluster.deployment(1)["spec"]["replicas"] == (strategy == "packaged" ? 1 : 0));
  CHECK(cluster::applied_fields(cluster.deployment(1), "k3s-core-ha").empty() == (strategy == "packaged"));
  CHECK(cluster.losses == std::vector<std::string>{});
}

bool tells(const std::vector<std::string>& all, const std::string& words) {
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.find(words) != std::string::npos; });
}

}  // namespace

TEST_CASE("local-path helm: the packaged one goes, and its pod, before the chart comes; and back in reverse") {
  SimulatedCluster cluster = provisioning();
  const Plan plan = make_plan(provisioner_by("helm"), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(ids(plan) == std::vector<std::string>{"local-path-aside", "local-path-gone", "local-path-helm-values",
                                              "local-path-helm", "local-path-helm-chart", "local-path-helm-rollout"});
  REQUIRE(plan.warnings.size() == 1);
  CHECK(tells(plan.warnings, "one local-path-provisioner and no standby"));
  reach(cluster, provisioner_by("helm"));
  check_provisioner(cluster, provisioner_by("helm"));
  CHECK(cluster.snapshot.helmcharts[0]["spec"]["chartContent"] == "H4sIAAAA");
  CHECK(cluster.snapshot.helmcharts[0]["spec"]["failurePolicy"] == "retry");

  const Plan next = make_plan(provisioner_by("helm"), cluster.snapshot);
  CHECK(next.warnings.empty());
  CHECK(next.components["local_path_provisioner"]["strategy"] == "helm");
  CHECK(next.components["local_path_provisioner"]["replicas"] == 1);
  CHECK(ids(make_plan(packaged, cluster.snapshot)) ==
        std::vector<std::string>{"local-path-helm-end", "local-path-helm-ended", "local-path-helm-pods-ended",
                                 "local-path-helm-values-end", "local-path-provisioner-overlay",
                                 "local-path-provisioner-rollout", "local-path-provisioner-count",
                                 "local-path-provisioner-scaled-in", "local-path-provisioner-count-free",
                                 "unmark-server-1", "unmark-agent-1", "unmark-agent-2"});
  reach(cluster, packaged);
  check_provisioner(cluster, packaged);
  CHECK(cluster.deployment(1)["spec"] == provisioning().deployment(1)["spec"]);
}

TEST_CASE("local-path helm: values that have it make volumes as k3s does, and keep every other provisioner away") {
  SimulatedCluster cluster = provisioning();
  reach(cluster,
        provisioner_by("helm", {{"node_affinity", {{"kubernetes.io/os", "linux"}}},
                                {"local_path_provisioner_tolerations", {{{"key", "a"}, {"operator", "Exists"}}}},
                                {"local_path_provisioner_values",
                                 {{"workerThreads", 8}, {"configmap", {{"helperPod", {{"name", "h"}}}}}}}}));
  const Json values = values_of_chart(cluster);
  CHECK(values["replicaCount"] == 1);
  CHECK(values["nameOverride"] == "local-path-provisioner-ha");
  CHECK(values["fullnameOverride"] == "local-path-provisioner-ha");
  CHECK(values["storageClass"] == Json{{"create", false}, {"provisionerName", "rancher.io/local-path"}});
  CHECK(values["image"] == Json{{"repository", "rancher/local-path-provisioner"}, {"tag", "v0.0.37"}});
  CHECK(values["helperImage"] == Json{{"repository", "busybox"}, {"tag", "1.37.0"}});
  CHECK(values["nodePathMap"][0]["paths"] == Json{"/var/lib/storage"});
  CHECK(values["configmap"]["name"] == "local-path-provisioner-ha");
  CHECK(values["configmap"]["teardown"] == "#!/bin/sh\nrm -rf \"$VOL_DIR\"");
  CHECK(values["configmap"]["helperPod"]["name"] == "h");
  CHECK(values["workerThreads"] == 8);
  CHECK(values["nodeSelector"] == Json{{"kubernetes.io/os", "linux"}});
  CHECK(values["tolerations"].size() == 3);
  const Json& terms = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
  CHECK(terms["nodeSelectorTerms"] ==
        Json::array({{{"matchExpressions", Json::array({{{"key", "kubernetes.io/os"},
                                                         {"operator", "In"},
                                                         {"values", {"linux"}}}})}}}));  // nothing of what sets aside
  const Json& apart = values["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
  REQUIRE(apart.size() == 1);
  CHECK(apart[0]["topologyKey"] == "kubernetes.io/os");
  const Json chart_labels = chart_deployment(cluster)["spec"]["template"]["metadata"]["labels"];
  for (const Json& labels :
       {Json{{"app", "local-path-provisioner"}}, Json{{"app", local_path_standby.name}}, chart_labels})
    CHECK(cluster::selects(apart[0]["labelSelector"], labels));
  CHECK_FALSE(cluster::selects(apart[0]["labelSelector"], {{"app", "local-path-provisioner-ha"},
                                                           {"app.kubernetes.io/component", "selinux-node-setup"}}));
}

TEST_CASE("local-path helm: from each strategy and to each, stopped anywhere, and taken back, with never two active") {
  const Spec helm = provisioner_by("helm");
  const Spec other_values = provisioner_by("helm", annotated("b"));
  const std::vector<Spec> others{provisioner_by("packaged"), provisioner_by("replicas"), other_values};
  for (const Spec& other : others)
    for (const bool out : {false, true}) {
      CAPTURE(other.local_path_provisioner_strategy);
      CAPTURE(out);
      const Spec& from = out ? helm : other;
      const Spec& to = out ? other : helm;
      SimulatedCluster start = provisioning();
      reach(start, from);
      check_provisioner(start, from);
      CHECK(make_plan(to, start.snapshot).steps.size() > 4);
      const auto arrive = [](SimulatedCluster& cluster, const Spec& spec) {
        reach(cluster, spec);
        check_provisioner(cluster, spec);
      };
      stop_anywhere(start, from, to, arrive, carry_helper);  // the way to what k3s ships takes the marks off
    }
}

TEST_CASE("local-path helm: no change before the chart's pod is gone, and no way back but by plan after that") {
  SimulatedCluster cluster = provisioning();
  reach(cluster, provisioner_by("helm"));
  const std::vector<std::string> steps{"local-path-helm-stop", "local-path-helm-stopped", "local-path-helm-values",
                                       "local-path-helm-chart", "local-path-helm-rollout"};
  const Plan plan = make_plan(provisioner_by("helm", annotated("b")), cluster.snapshot);
  CHECK(ids(plan) == steps);
  for (const auto& step : plan.steps)
    if (step.id == "local-path-helm-stop") {
      CHECK(step.back_by_plan);
      CHECK(step.made_anew);
    }
  reach(cluster, provisioner_by("helm", annotated("b")));
  // A release's image is followed in the same way.
  cluster.deployment(1)["spec"]["template"]["spec"]["containers"][0]["image"] =
      "rancher/local-path-provisioner:v0.0.99";
  CHECK(ids(make_plan(provisioner_by("helm", annotated("b")), cluster.snapshot)) == steps);
  reach(cluster, provisioner_by("helm", annotated("b")));
  CHECK(values_of_chart(cluster)["image"]["tag"] == "v0.0.99");
}

TEST_CASE("local-path helm: while an earlier change is under way the chart is taken away and made anew") {
  SimulatedCluster cluster = provisioning();
  reach(cluster, provisioner_by("helm"));
  const Plan first = make_plan(provisioner_by("helm", annotated("b")), cluster.snapshot);
  cluster.helm_lags = true;
  carry_out(cluster, first, 4);  // up to the values
  cluster.snapshot.jobs[0]["status"] = Json::object();
  cluster.losses.clear();
  const auto steps = ids(make_plan(provisioner_by("helm", annotated("c")), cluster.snapshot));
  CHECK(std::find(steps.begin(), steps.end(), "local-path-helm-pods-ended") != steps.end());
  cluster.helm_lags = false;
  reach(cluster, provisioner_by("helm", annotated("c")));
  check_provisioner(cluster, provisioner_by("helm"));
}

TEST_CASE("local-path helm: what somebody else changed") {
  SimulatedCluster cluster = provisioning();
  reach(cluster, provisioner_by("helm"));
  const std::vector<std::string> again{"local-path-helm-stop", "local-path-helm-stopped", "local-path-helm-again",
                                       "local-path-helm-chart", "local-path-helm-rollout"};
  SUBCASE("a rollout whose new pod waits for the end of the old one") {
    chart_deployment(cluster)["status"]["replicas"] = 2;
    CHECK(ids(make_plan(provisioner_by("helm"), cluster.snapshot)) == again);
  }
  SUBCASE("the count") {
    cluster.scale_by("kubectl", 0, static_cast<int>(cluster.snapshot.deployments.size()) - 1);
    CHECK(ids(make_plan(provisioner_by("helm"), cluster.snapshot)) == again);
  }
  SUBCASE("the count, to 0, which leaves no trace of who did it") {
    chart_deployment(cluster)["spec"]["replicas"] = 0;
    chart_deployment(cluster)["metadata"]["managedFields"] = Json::array();
    cluster.settle();
    CHECK(ids(make_plan(provisioner_by("helm"), cluster.snapshot)) == again);
  }
  SUBCASE("the chart's Deployment") {
    cluster.carry_out({.action = Action::remove,
                       .object = local_path_chart.chart.deployment(),
                       .uid = chart_deployment(cluster)["metadata"]["uid"].get<std::string>()});
  }
  SUBCASE("a chart that does not take all values") {
    CHECK(make_plan(provisioner_by("helm"), cluster.snapshot).warnings.empty());
    chart_deployment(cluster)["spec"]["template"]["metadata"]["labels"].erase("app");
    CHECK(tells(make_plan(provisioner_by("helm"), cluster.snapshot).warnings, "does not take commonLabels"));
    return;
  }
  SUBCASE("the packaged count") {
    cluster.scale_by("deploy@server-1", 1, 1);  // which cannot be scheduled
  }
  carry_out(cluster, make_plan(provisioner_by("helm"), cluster.snapshot));
  reach(cluster, provisioner_by("helm"));
  check_provisioner(cluster, provisioner_by("helm"));
}

TEST_CASE("local-path helm: a pod on a node that is not ready keeps every way shut, and is told of") {
  SimulatedCluster in = provisioning();
  in.silence(2, 60);  // the packaged pod runs there
  CHECK(refusal_of(make_plan(provisioner_by("helm"), in.snapshot), ExitStatus::unsafe)
            .find("is on agent-2, which is not ready") != std::string::npos);

  SimulatedCluster standing = provisioning();
  reach(standing, provisioner_by("replicas"));
  standing.silence(2, 60);
  CHECK(refusal_of(make_plan(provisioner_by("helm"), standing.snapshot), ExitStatus::unsafe).find("is on agent-2") !=
        std::string::npos);

  SimulatedCluster cluster = provisioning();
  reach(cluster, provisioner_by("helm"));
  for (int node = 0; node < 3; ++node)
    cluster.silence(node, 60);
  const Plan still = make_plan(provisioner_by("helm"), cluster.snapshot);
  CHECK(still.steps.empty());
  CHECK(tells(still.unmet, "Once that node is off for certain, say so"));
  for (const Spec& spec : {packaged, provisioner_by("replicas"), provisioner_by("helm", annotated("b"))}) {
    CAPTURE(spec.local_path_provisioner_strategy);
    const Plan plan = make_plan(spec, cluster.snapshot);
    CHECK(ids(plan).empty());
    // With no node that takes pods the others are left alone before that is asked.
    if (spec.local_path_provisioner_strategy == "packaged") CHECK(plan.refusal);
  }
}

TEST_CASE("local-path helm: refused, or left alone") {
  SimulatedCluster cluster = provisioning();
  SUBCASE("more than one") {
    const Spec two = provisioner_by("helm", {{"local_path_provisioner_replicas", 2}});
    CHECK(
        refusal_of(make_plan(two, cluster.snapshot), ExitStatus::unsafe).find("local_path_provisioner_replicas is 2") !=
        std::string::npos);
    reach(cluster, provisioner_by("helm", {{"local_path_provisioner_replicas", 1}}));
  }
  SUBCASE("helm-controller is not there") {
    cluster.snapshot.groups.erase("helm.cattle.io/v1");
    CHECK(refusal_of(make_plan(provisioner_by("helm"), cluster.snapshot), ExitStatus::unsafe)
              .find("helm-controller is not there") != std::string::npos);
  }
  SUBCASE("an old snapshot") {
    cluster.snapshot.charts.clear();
    CHECK(refusal_of(make_plan(provisioner_by("helm"), cluster.snapshot), ExitStatus::unsafe)
              .find("without a look at Helm chart local-path-provisioner-ha") != std::string::npos);
  }
  SUBCASE("k3s's configuration cannot be read") {
    for (auto& config : cluster.snapshot.configmaps)
      if (config["metadata"]["name"] == "local-path-config") config["data"]["config.json"] = "{";
    CHECK(refusal_of(make_plan(provisioner_by("helm"), cluster.snapshot), ExitStatus::unsafe)
              .find("local-path-config has no config.json") != std::string::npos);
  }
  SUBCASE("not there") {
    cluster.snapshot.deployments.erase(1);
    const Plan plan = make_plan(provisioner_by("helm"), cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(tells(plan.warnings, "nothing stands in for it"));
  }
  SUBCASE("somebody's own") {
    cluster.deployment(1)["metadata"].erase("annotations");
    const Plan plan = make_plan(provisioner_by("helm"), cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(tells(plan.warnings, "is not the one that k3s ships"));
  }
  SUBCASE("no node takes pods now") {
    for (int node = 0; node < 3; ++node)
      cluster.cordon(node);
    const Plan plan = make_plan(provisioner_by("helm"), cluster.snapshot);
    CHECK(ids(plan).empty());
    CHECK(tells(plan.unmet, "local-path-provisioner is left as it is for now"));
  }
}

TEST_CASE("local-path helm: one that k3s was told to do without leaves nothing of the chart under another strategy") {
  SimulatedCluster cluster = provisioning();
  reach(cluster, provisioner_by("helm"));
  cluster.snapshot.deployments.erase(1);
  CHECK(make_plan(provisioner_by("helm"), cluster.snapshot).steps.empty());
  carry_out(cluster, make_plan(provisioner_by("replicas"), cluster.snapshot));
  CHECK(cluster.snapshot.helmcharts.empty());
  CHECK(cluster.snapshot.deployments.size() == 1);
  CHECK(charts_of(cluster.snapshot).empty());
}

TEST_CASE("local-path helm: manifests set the packaged one aside, and keep the chart") {
  SimulatedCluster cluster = provisioning();
  const auto objects = manifests(make_plan(provisioner_by("helm"), cluster.snapshot));
  int kept = 0;
  for (const auto& object : objects) {
    const auto ref = kube::ref_of(object);
    if (ref == local_path.deployment) CHECK(object["spec"]["replicas"] == 0);
    if (ref == local_path.deployment || ref == local_path_chart.chart.chart() || ref == local_path_chart.chart.config())
      kept += object["metadata"]["annotations"].contains(keep_annotation) ? 1 : 0;
  }
  CHECK(kept == 3);
}

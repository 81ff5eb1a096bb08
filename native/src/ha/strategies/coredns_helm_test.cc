// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/coredns_helm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/plan_testing.h"
#include "ha/rebalance.h"
#include "ha/state.h"
#include "ha/way_back.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// What is not CoreDNS's is left out, so that the steps are its own.
Spec helm(Json more = Json::object()) {
  more["coredns_strategy"] = "helm";
  if (!more.contains("coredns_chart")) more["coredns_chart"] = {{"version", "1.2.3"}};
  return wish(more);
}
const Spec daemons{.coredns_strategy = "daemonset", .coredns_daemonset_nodes = "all"};

SimulatedCluster with_helm(int nodes = 3) {
  SimulatedCluster cluster(nodes);
  cluster.stage();
  cluster.snapshot.manifests = Json::object();
  cluster.ship_helm();
  return cluster;
}

const Json* chart_of(const SimulatedCluster& cluster) {
  return cluster::find_named(cluster.snapshot.helmcharts, "coredns-ha");
}

Json config_of(const SimulatedCluster& cluster) {
  const Json* config = cluster::find_named(cluster.snapshot.helmchartconfigs, "coredns-ha");
  REQUIRE(config != nullptr);
  return *config;
}

Json values_of(const SimulatedCluster& cluster) {
  return config_of(cluster)["spec"]["values"];
}

/// The chart's pods serve, as many, and the packaged Deployment is out of the way.
void check_chart(const SimulatedCluster& cluster, int replicas) {
  const auto& snapshot = cluster.snapshot;
  CHECK(cluster.serving() == replicas);
  for (const auto& pod : snapshot.pods) {
    CHECK(pod["metadata"]["labels"].value("app.kubernetes.io/instance", "") == "coredns-ha");
    CHECK(pod["metadata"].contains("ownerReferences"));
    CHECK_FALSE(pod["metadata"]["labels"].contains(cluster::retiring_label));
  }
  CHECK(snapshot.horizontalpodautoscalers.empty());
  CHECK(snapshot.poddisruptionbudgets.empty());
  CHECK(snapshot.daemonsets.empty());
  CHECK(snapshot.deployments[0]["spec"]["replicas"] == 0);
  CHECK_FALSE(snapshot.deployments[0]["spec"].contains("paused"));
  CHECK(cluster::applied_fields(snapshot.deployments[0], "k3s-core-ha").empty());
}

void check_no_chart(const SimulatedCluster& cluster) {
  CHECK(chart_of(cluster) == nullptr);
  CHECK(cluster.snapshot.helmchartconfigs.empty());
  CHECK(cluster::find_named(cluster.snapshot.deployments, "coredns-ha") == nullptr);
  CHECK(charts_of(cluster.snapshot).empty());
}

void check_reached(const SimulatedCluster& cluster, const Spec& spec) {
  if (spec.coredns_strategy == "helm") return check_chart(cluster, 3);
  check_no_chart(cluster);
  if (spec.coredns_strategy == "daemonset") return check_daemons(cluster, 3);
  if (spec.coredns_strategy == "packaged") {
    CHECK(cluster.serving() == 1);
    CHECK(cluster.snapshot.pods.size() == 1);
    return;
  }
  check_ours(cluster, 3, spec.coredns_strategy == "autoscaling");
}

bool says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("coredns helm: the chart, its values, and the packaged Deployment out of the way") {
  SimulatedCluster cluster = with_helm();
  const Plan plan = make_plan(helm(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(plan.level.name == "node");
  const auto steps = ids(plan);
  const std::vector<std::string> first{"kube-dns-traffic", "coredns-helm-values", "coredns-helm", "coredns-helm-chart",
                                       "coredns-helm-rollout"};
  REQUIRE(steps.size() > first.size());
  CHECK(std::equal(first.begin(), first.end(), steps.begin()));
  cluster.least_serving = cluster.serving();
  reach(cluster, helm());
  check_chart(cluster, 3);
  CHECK(cluster.least_serving == 1 + 0);
  CHECK(cluster.rolled == 0);

  const Json chart = (*chart_of(cluster))["spec"];
  CHECK(chart["repo"] == "https://coredns.github.io/helm");
  CHECK(chart["chart"] == "coredns");
  CHECK(chart["version"] == "1.2.3");
  CHECK(chart["bootstrap"] == true);
  CHECK(chart["targetNamespace"] == "kube-system");
  CHECK(chart["failurePolicy"] == "retry");
  CHECK(config_of(cluster)["spec"]["failurePolicy"] == "retry");
  CHECK(config_of(cluster)["metadata"]["labels"]["k3s-core-ha/component"] == "coredns");

  const Json values = values_of(cluster);
  CHECK(values["fullnameOverride"] == "coredns-ha");
  CHECK(values["isClusterService"] == true);
  CHECK(values["k8sAppLabelOverride"] == "kube-dns");
  CHECK(values["replicaCount"] == 3);
  CHECK(values["rollingUpdate"] == Json{{"maxUnavailable", 0}, {"maxSurge", 1}});
  CHECK(values["podDisruptionBudget"] == Json{{"maxUnavailable", 1}, {"unhealthyPodEvictionPolicy", "AlwaysAllow"}});
  CHECK(values["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule");
  CHECK(values["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] ==
        Json{{"app.kubernetes.io/instance", "coredns-ha"}});
  CHECK(values["servers"][0]["plugins"][1] == Json{{"name", "health"}, {"configBlock", "lameduck 5s"}});
  CHECK(values["extraVolumes"][0]["configMap"]["name"] == "coredns");
  CHECK(values["extraVolumeMounts"][0]["mountPath"] == "/etc/coredns/k3s");

  const Plan next = make_plan(helm(), cluster.snapshot);
  CHECK(next.components["coredns"]["strategy"] == "helm");
  CHECK(next.components["coredns"]["replicas"] == 3);
}

TEST_CASE("coredns helm: from each strategy and to each, stopped anywhere, and taken back") {
  for (const Spec& other : {packaged, autoscaling, by_replicas, daemons})
    for (const bool out : {false, true}) {
      CAPTURE(other.coredns_strategy);
      CAPTURE(out);
      const Spec from = out ? helm() : other;
      const Spec to = out ? other : helm();
      SimulatedCluster start = with_helm();
      reach(start, from);
      check_reached(start, from);
      start.rolled = 0;
      stop_anywhere(start, from, to, [](SimulatedCluster& cluster, const Spec& spec) {
        reach(cluster, spec);
        check_reached(cluster, spec);
        CHECK(cluster.rolled == 0);
      });
    }
}

TEST_CASE("coredns helm: what changes, drifts or is gone is brought back by the chart") {
  SimulatedCluster cluster = with_helm();
  reach(cluster, helm());
  SUBCASE("values of the user's") {
    const Spec more =
        helm({{"coredns_values", {{"podAnnotations", {{"a", "b"}}}, {"resources", {{"limits", nullptr}}}}}});
    CHECK(ids(make_plan(more, cluster.snapshot)) ==
          std::vector<std::string>{"coredns-helm-values", "coredns-helm-chart", "coredns-helm-rollout"});
    reach(cluster, more);
    CHECK(values_of(cluster)["podAnnotations"] == Json{{"a", "b"}});
    CHECK(values_of(cluster)["resources"].contains("limits"));
    check_chart(cluster, 3);
  }
  SUBCASE("the chart's version") {
    const Spec more = helm({{"coredns_chart", {{"version", "1.2.4"}}}});
    CHECK(ids(make_plan(more, cluster.snapshot)) ==
          std::vector<std::string>{"coredns-helm", "coredns-helm-chart", "coredns-helm-rollout"});
    reach(cluster, more);
  }
  SUBCASE("the count, by kubectl scale") {
    cluster.scale_by("kubectl", 1, 1);
    CHECK(ids(make_plan(helm(), cluster.snapshot)) ==
          std::vector<std::string>{"coredns-helm-again", "coredns-helm-chart", "coredns-helm-rollout"});
    reach(cluster, helm());
    check_chart(cluster, 3);
  }
  SUBCASE("k3s's Corefile") {
    Json& config = *std::find_if(cluster.snapshot.configmaps.begin(), cluster.snapshot.configmaps.end(),
                                 [](const Json& object) { return object["metadata"]["name"] == "coredns"; });
    config["data"]["Corefile"] = ".:53 {\n  health\n  cache 30\n}\n";
    reach(cluster, helm());
    CHECK(values_of(cluster)["servers"][0]["plugins"][1] == Json{{"name", "cache"}, {"parameters", "30"}});
  }
  SUBCASE("k3s's image") {
    cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] = "reg:5000/coredns:9";
    reach(cluster, helm());
    CHECK(values_of(cluster)["image"] == Json{{"repository", "reg:5000/coredns"}, {"tag", "9"}});
  }
}

TEST_CASE("coredns helm: a job that has not run goes with its chart, or it would install that after all") {
  SimulatedCluster cluster = with_helm();
  reach(cluster, helm());
  REQUIRE(cluster.snapshot.jobs.size() == 1);
  cluster.snapshot.jobs[0].erase("status");
  const auto steps = ids(make_plan(packaged, cluster.snapshot));
  const auto end = std::find(steps.begin(), steps.end(), "coredns-helm-end");
  REQUIRE(steps.end() - end >= 4);
  CHECK(std::vector<std::string>(end, end + 4) == std::vector<std::string>{"coredns-helm-end", "coredns-helm-job-end",
                                                                           "coredns-helm-job-ended",
                                                                           "coredns-helm-ended"});
  reach(cluster, packaged);
  check_no_chart(cluster);
}

TEST_CASE("coredns helm: a chart given whole, and one of another repository") {
  SimulatedCluster cluster = with_helm();
  SUBCASE("whole") {
    reach(cluster, helm({{"coredns_chart", {{"content", "H4sIAAAA"}}}}));
    const Json chart = (*chart_of(cluster))["spec"];
    CHECK(chart["chartContent"] == "H4sIAAAA");
    CHECK_FALSE(chart.contains("repo"));
    CHECK_FALSE(chart.contains("bootstrap"));
  }
  SUBCASE("of a registry") {
    reach(cluster, helm({{"coredns_chart", {{"repo", "oci://reg.example.org/charts/"}, {"version", "1"}}}}));
    const Json chart = (*chart_of(cluster))["spec"];
    CHECK(chart["chart"] == "oci://reg.example.org/charts/coredns");
    CHECK_FALSE(chart.contains("repo"));
  }
}

TEST_CASE("coredns helm: what could not be carried out is refused before anything is changed") {
  SimulatedCluster cluster = with_helm();
  const auto refused = [&](ExitStatus status) { return refusal_of(make_plan(helm(), cluster.snapshot), status); };
  const Json head = {{"name", "coredns-ha"}, {"namespace", "kube-system"}};
  SUBCASE("not looked at") {
    cluster.snapshot.charts.clear();
    CHECK(says(refused(ExitStatus::unsafe), "without a look at Helm chart coredns-ha"));
  }
  SUBCASE("no kinds of helm-controller's") {
    cluster.snapshot.groups.erase("helm.cattle.io/v1");
    CHECK(says(refused(ExitStatus::unsafe), "the server has no helm.cattle.io/v1"));
  }
  SUBCASE("helm-controller off, also on the way back") {
    reach(cluster, helm());
    cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server", "--disable-helm-controller"])";
    CHECK(says(refused(ExitStatus::unsafe), "--disable-helm-controller"));
    CHECK(says(refusal_of(make_plan(packaged, cluster.snapshot), ExitStatus::unsafe), "can only be taken away by"));
  }
  SUBCASE("somebody else's chart") {
    cluster.snapshot.helmcharts.push_back(
        {{"apiVersion", "helm.cattle.io/v1"}, {"kind", "HelmChart"}, {"metadata", head}, {"spec", Json::object()}});
    CHECK(says(refused(ExitStatus::conflict), "HelmChart kube-system/coredns-ha is there already"));
    CHECK_FALSE(make_plan(packaged, cluster.snapshot).refusal);
  }
  SUBCASE("somebody else's configuration") {
    cluster.snapshot.helmchartconfigs.push_back({{"apiVersion", "helm.cattle.io/v1"},
                                                 {"kind", "HelmChartConfig"},
                                                 {"metadata", head},
                                                 {"spec", Json::object()}});
    CHECK(says(refused(ExitStatus::conflict), "HelmChartConfig kube-system/coredns-ha is there already"));
  }
  SUBCASE("somebody else's Deployment") {
    Json other = cluster.deployment();
    other["metadata"]["name"] = "coredns-ha";
    cluster.snapshot.deployments.push_back(other);
    CHECK(says(refused(ExitStatus::conflict), "Deployment kube-system/coredns-ha is there already"));
  }
  SUBCASE("a Corefile with more than the values have place for") {
    Json& config = *std::find_if(cluster.snapshot.configmaps.begin(), cluster.snapshot.configmaps.end(),
                                 [](const Json& object) { return object["metadata"]["name"] == "coredns"; });
    config["data"]["Corefile"] = "(a) {\n}\n";
    CHECK(says(refused(ExitStatus::unsafe), "coredns_values.servers"));
    const Json servers = Json::array({{{"zones", Json::array({{{"zone", "."}}})}, {"port", 53}}});
    CHECK_FALSE(make_plan(helm({{"coredns_values", {{"servers", servers}}}}), cluster.snapshot).refusal);
  }
}

TEST_CASE("coredns helm: what the cluster is like is in the values") {
  SimulatedCluster cluster = with_helm();
  SUBCASE("zones") {
    for (int i = 0; i < 3; ++i)
      cluster.node(i)["metadata"]["labels"]["topology.kubernetes.io/zone"] = i == 0 ? "a" : "b";
    reach(cluster, helm());
    const Json spreads = values_of(cluster)["topologySpreadConstraints"];
    REQUIRE(spreads.size() == 2);
    CHECK(spreads[1]["topologyKey"] == "topology.kubernetes.io/zone");
    CHECK(spreads[1]["whenUnsatisfiable"] == "ScheduleAnyway");
  }
  SUBCASE("a budget of somebody else's over the same pods") {
    cluster.snapshot.poddisruptionbudgets.push_back(
        {{"apiVersion", "policy/v1"},
         {"kind", "PodDisruptionBudget"},
         {"metadata", {{"name", "dns"}, {"namespace", "kube-system"}, {"uid", "x"}}},
         {"spec", {{"maxUnavailable", 1}, {"selector", {{"matchLabels", {{"k8s-app", "kube-dns"}}}}}}}});
    reach(cluster, helm());
    CHECK_FALSE(values_of(cluster).contains("podDisruptionBudget"));
  }
  SUBCASE("the user's image, resources and tolerations, and nodes") {
    cluster.node(1)["metadata"]["labels"]["disk"] = "ssd";
    cluster.node(2)["metadata"]["labels"]["disk"] = "ssd";
    const Spec spec = helm({{"coredns_image", "reg/coredns:2"},
                            {"coredns_resources", {{"limits", {{"memory", "1Gi"}}}}},
                            {"coredns_tolerations", Json::array({{{"key", "gpu"}, {"operator", "Exists"}}})},
                            {"node_affinity", {{"disk", "ssd"}}}});
    reach(cluster, spec);
    const Json values = values_of(cluster);
    CHECK(values["replicaCount"] == 2);
    CHECK(values["image"] == Json{{"repository", "reg/coredns"}, {"tag", "2"}});
    CHECK(values["resources"]["limits"]["memory"] == "1Gi");
    CHECK(values["resources"]["limits"]["cpu"].is_null());
    CHECK(values["tolerations"].back()["key"] == "gpu");
    CHECK(values["affinity"]["nodeAffinity"].dump().find("ssd") != std::string::npos);
  }
  SUBCASE("a nodeSelector of the user's values narrows the count, too") {
    cluster.node(1)["metadata"]["labels"]["dns"] = "here";
    reach(cluster, helm({{"coredns_values", {{"nodeSelector", {{"dns", "here"}}}}}}));
    CHECK(values_of(cluster)["replicaCount"] == 1);
    CHECK(values_of(cluster)["nodeSelector"] == Json{{"kubernetes.io/os", "linux"}, {"dns", "here"}});
    CHECK_FALSE(values_of(cluster).contains("podDisruptionBudget"));
  }
  SUBCASE("an old helm-controller") {
    Json& schema = cluster.snapshot.customresourcedefinitions[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                                                             ["properties"]["spec"]["properties"];
    schema.erase("values");
    schema["failurePolicy"]["enum"] = {"abort", "reinstall"};
    reach(cluster, helm());
    CHECK(config_of(cluster)["spec"]["failurePolicy"] == "abort");
    CHECK(says(config_of(cluster)["spec"]["valuesContent"], "fullnameOverride: coredns-ha"));
    CHECK((*chart_of(cluster))["spec"]["failurePolicy"] == "abort");
  }
}

TEST_CASE("coredns helm: the chart is not taken away where k3s ships nothing that would serve then") {
  SimulatedCluster cluster = with_helm();
  reach(cluster, helm());
  cluster.snapshot.deployments.erase(0);
  CHECK(
      says(refusal_of(make_plan(packaged, cluster.snapshot), ExitStatus::unsafe), "kube-system/coredns is not there"));
}

TEST_CASE("coredns helm: the packaged spread rule finds a place that a pod of the chart's made") {
  SimulatedCluster start = with_helm(4);
  start.taint(0, "gpu", "NoSchedule");
  reach(start, helm());
  check_chart(start, 3);
  const Plan plan = make_plan(packaged, start.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const auto steps = ids(plan);
  const auto at = [&](const char* id) { return std::find(steps.begin(), steps.end(), id); };
  REQUIRE(at("coredns-room") != steps.end());
  CHECK(at("free-coredns-ha") < at("coredns-room"));
  CHECK(at("coredns-room") < at("coredns-rollout"));
  for (std::size_t stop = 0; stop <= plan.steps.size(); ++stop) {
    CAPTURE(stop);
    for (const Spec& next : {packaged, helm()}) {
      SimulatedCluster cluster = start;
      carry_out(cluster, plan, stop);
      reach(cluster, next);
      check_reached(cluster, next);
      CHECK(cluster.rolled == 0);
    }
  }
}

TEST_CASE("coredns helm: pods that a way out has left to themselves are not adopted by the chart when it comes back") {
  SimulatedCluster cluster = with_helm();
  reach(cluster, helm());
  const Plan out = make_plan(packaged, cluster.snapshot);
  const auto freed = std::find_if(out.steps.begin(), out.steps.end(),
                                  [](const Step& step) { return step.id.starts_with("freed-coredns-ha-"); });
  REQUIRE(freed != out.steps.end());
  carry_out(cluster, out, static_cast<std::size_t>(freed - out.steps.begin()) + 1);
  for (const auto& step : make_plan(helm(), cluster.snapshot).steps) {
    for (const auto& pod : cluster.snapshot.pods)
      if (step.id == "quiet-" + pod["metadata"]["name"].get<std::string>())
        CHECK_FALSE(pod["metadata"].contains("ownerReferences"));
    cluster.carry_out(step);
  }
  check_chart(cluster, 3);
}

TEST_CASE("coredns helm: new pods must find room beside the old ones") {
  SimulatedCluster cluster = with_helm();
  cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["resources"] = {{"requests", {{"cpu", "1"}}}};
  for (const auto& node : cluster.snapshot.nodes)
    cluster.snapshot.usage[node["metadata"]["name"].get<std::string>()] =
        Json::array({{{"priority", 2000000000}, {"cpu", 3.5}, {"memory", 0}, {"pods", 1}}});
  const Plan plan = make_plan(helm(), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::unsafe);
  CHECK(plan.steps.empty());
}

TEST_CASE("coredns helm: a former ReplicaSet of the chart's gets no pods on the way out, and nobody is moved") {
  SimulatedCluster cluster = with_helm();
  reach(cluster, helm());
  CHECK(says(choose_move(cluster.snapshot).words, "run from a Helm chart"));
  Json former = *std::find_if(cluster.snapshot.replicasets.begin(), cluster.snapshot.replicasets.end(),
                              [](const Json& set) { return set["spec"]["replicas"] == 3; });
  former["metadata"]["name"] = "coredns-ha-former";
  former["metadata"]["uid"] = "former";
  former["spec"]["replicas"] = 0;
  cluster.snapshot.replicasets.push_back(former);
  const auto steps = ids(make_plan(packaged, cluster.snapshot));
  std::vector<std::string> freed;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(freed),
               [](const auto& id) { return id == "pause-coredns-ha" || id.starts_with("free-coredns-ha"); });
  REQUIRE(freed.size() == 4);
  CHECK(freed[0] == "pause-coredns-ha");
  CHECK(freed[1] == "free-coredns-ha-former");
  CHECK(freed[3] == "free-coredns-ha");
}

TEST_CASE("coredns helm: from strategy custom and back, with what k3s ships in the values") {
  SimulatedCluster cluster(3);
  cluster.stage();
  cluster.ship_helm();
  const auto go = [&](const Spec& spec) {
    OnNodes on_nodes;
    if (spec.coredns_strategy == "custom") on_nodes.set_aside = {{"server-1", {"coredns"}}};
    const Plan plan = make_plan(spec, cluster.snapshot, {}, on_nodes);
    REQUIRE_FALSE(plan.refusal);
    carry_out(cluster, plan);
    CHECK(cluster.losses == std::vector<std::string>{});
    CHECK(ids(make_plan(spec, cluster.snapshot, {}, on_nodes)) == std::vector<std::string>{});
  };
  const Spec custom =
      wish({{"coredns_strategy", "custom"}, {"coredns_lameduck", 9}, {"coredns_image", "own.example.org/coredns:1"}});
  const std::string image = cluster.deployment()["spec"]["template"]["spec"]["containers"][0]["image"];
  for (int turn = 0; turn < 2; ++turn) {
    go(custom);
    check_no_chart(cluster);
    go(helm());
    check_chart(cluster, 3);
    const Json values = values_of(cluster);
    CHECK(image == values["image"]["repository"].get<std::string>() + ":" + values["image"]["tag"].get<std::string>());
    CHECK(values["servers"][0]["plugins"][1]["configBlock"] == "lameduck 5s");
  }
}

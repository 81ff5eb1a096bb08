// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/traefik.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/yaml.h"
#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan_testing.h"
#include "ha/state.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// CoreDNS as k3s ships it, so that the steps are traefik's.
Spec helm_traefik(Json more = Json::object()) {
  more["traefik_strategy"] = "helm";
  more["coredns_strategy"] = "packaged";
  return wish(more);
}
/// A wish that is silent about it, though not the one for all as k3s ships it.
const Spec without{.coredns_strategy = "packaged"};

SimulatedCluster with_traefik(int nodes = 3) {
  SimulatedCluster cluster(nodes);
  cluster.ship_traefik();
  return cluster;
}

Json traefik_values_of(const SimulatedCluster& cluster) {
  REQUIRE(cluster.traefik_config() != nullptr);
  return (*cluster.traefik_config())["spec"]["values"];
}

bool says(const Plan& plan, const std::string& words) {
  return std::any_of(plan.warnings.begin(), plan.warnings.end(),
                     [&](const std::string& warning) { return warning.find(words) != std::string::npos; });
}

Json config_of(const Json& spec) {
  return {{"apiVersion", "helm.cattle.io/v1"},
          {"kind", "HelmChartConfig"},
          {"metadata", {{"name", "traefik"}, {"namespace", "kube-system"}}},
          {"spec", spec}};
}

Json& config_schema(SimulatedCluster& cluster) {
  return cluster.snapshot.customresourcedefinitions[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
                                                   ["spec"]["properties"];
}

const std::vector<std::string> all_steps{"traefik-values", "traefik-chart", "traefik-rollout"};

}  // namespace

TEST_CASE("traefik: the chart gets values, and its job and the rollout are waited for; and back") {
  SimulatedCluster cluster = with_traefik();
  const Json shipped = cluster.traefik()["spec"];
  const Plan plan = make_plan(helm_traefik(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(ids(plan) == all_steps);
  CHECK(plan.components["traefik"]["strategy"] == "packaged");
  reach(cluster, helm_traefik());

  const Json values = traefik_values_of(cluster);
  CHECK(values["deployment"]["replicas"] == 2);
  CHECK(values["deployment"]["lifecycle"]["preStop"]["sleep"]["seconds"] == 5);
  CHECK(values["podDisruptionBudget"] == Json{{"enabled", true}, {"maxUnavailable", 1}});
  CHECK(values["updateStrategy"]["rollingUpdate"] == Json{{"maxUnavailable", 0}, {"maxSurge", 1}});
  REQUIRE(values["topologySpreadConstraints"].size() == 1);
  const Json spread = values["topologySpreadConstraints"][0];
  CHECK(spread["topologyKey"] == "kubernetes.io/hostname");
  CHECK(spread["whenUnsatisfiable"] == "ScheduleAnyway");
  CHECK(spread["labelSelector"] == cluster.traefik()["spec"]["selector"]);
  CHECK_FALSE(values.contains("affinity"));
  CHECK((*cluster.traefik_config())["spec"]["failurePolicy"] == "retry");
  CHECK((*cluster.traefik_config())["metadata"]["labels"]["k3s-core-ha/component"] == "traefik");
  CHECK(cluster.traefik()["spec"]["replicas"] == 2);

  const Plan next = make_plan(without, cluster.snapshot);
  CHECK(next.components["traefik"]["strategy"] == "helm");
  CHECK(next.components["traefik"]["replicas"] == 2);
  CHECK(ids(next) == all_steps);
  for (const Spec& goal : {without, packaged}) {
    SimulatedCluster back = cluster;
    reach(back, goal);
    CHECK(back.traefik_config() == nullptr);
    CHECK(back.traefik()["spec"] == shipped);
    const Json* state = cluster::find_named(back.snapshot.configmaps, state_object.name);
    CHECK((state != nullptr) == !all_packaged(goal));
    CHECK(charts_of(back.snapshot).empty());
  }
}

TEST_CASE("traefik: stopped anywhere, the next run comes to the same end, and a failed one goes back") {
  SimulatedCluster there = with_traefik();
  reach(there, helm_traefik());
  for (const bool back : {false, true}) {
    CAPTURE(back);
    const SimulatedCluster start = back ? there : with_traefik();
    const Spec goal = back ? without : helm_traefik();
    const std::size_t points = make_plan(goal, start.snapshot).steps.size();
    for (std::size_t point = 0; point <= points; ++point) {
      CAPTURE(point);
      SimulatedCluster cluster = start;
      carry_out(cluster, make_plan(goal, cluster.snapshot), point);
      SimulatedCluster failed = cluster;
      reach(cluster, goal);
      CHECK((cluster.traefik_config() == nullptr) == back);

      const Plan way = plan_way_back(start.snapshot, failed.snapshot);
      REQUIRE_FALSE(way.refusal);
      carry_out(failed, way);
      CHECK(failed.losses == std::vector<std::string>{});
      CHECK((failed.traefik_config() == nullptr) == !back);
      CHECK(failed.traefik()["spec"] == start.snapshot.deployments[1]["spec"]);
    }
  }
}

TEST_CASE("traefik: a run that was stopped while helm-controller was at work is waited for by the next") {
  SimulatedCluster cluster = with_traefik();
  cluster.helm_lags = true;
  const Plan plan = make_plan(helm_traefik(), cluster.snapshot);
  carry_out(cluster, plan, 2);  // the wish, and the values
  SUBCASE("not taken up yet") {}
  SUBCASE("the job is at it") {
    cluster.helm_lags = false;
    cluster.settle();
    cluster.snapshot.jobs[0]["status"] = Json::object();
  }
  SUBCASE("the job has ended, and helm could not apply the chart") {
    cluster.helm_lags = false;
    cluster.settle();
    cluster.snapshot.jobs[0]["spec"]["template"]["spec"]["containers"] =
        Json::array({{{"env", Json::array({{{"name", "CONFIG_HASH"}, {"value", "B"}}})}}});
  }
  SUBCASE("the job is about to be made") {
    cluster.snapshot.jobs = Json::array();
  }
  const Plan next = make_plan(helm_traefik(), cluster.snapshot);
  CHECK(ids(next) == std::vector<std::string>{"traefik-chart", "traefik-rollout"});
  CHECK(next.steps.front().former == plan.steps[2].former);
  cluster.snapshot.jobs = Json::array();
  cluster.helm_lags = false;
  cluster.settle();
  CHECK(make_plan(helm_traefik(), cluster.snapshot).steps.empty());
}

TEST_CASE("traefik: nothing is looked at where nobody asks") {
  SimulatedCluster cluster = with_traefik();
  CHECK(charts_of(autoscaling).empty());
  CHECK(charts_of(helm_traefik()) == std::set<std::string>{"traefik"});
  CHECK(charts_of(packaged).contains("traefik"));
  cluster.snapshot.charts.clear();
  const Plan plan = make_plan(without, cluster.snapshot);
  CHECK(ids(plan).empty());
  CHECK_FALSE(plan.components.contains("traefik"));
  CHECK(refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::unsafe).find("without a look at traefik") !=
        std::string::npos);
}

TEST_CASE("traefik: counts") {
  SUBCASE("on one node, one replica and no budget") {
    SimulatedCluster cluster = with_traefik(1);
    reach(cluster, helm_traefik());
    CHECK(traefik_values_of(cluster)["deployment"]["replicas"] == 1);
    CHECK_FALSE(traefik_values_of(cluster).contains("podDisruptionBudget"));
  }
  SUBCASE("at level none, too") {
    SimulatedCluster cluster = with_traefik();
    reach(cluster, helm_traefik({{"level", "none"}}));
    CHECK(traefik_values_of(cluster)["deployment"]["replicas"] == 1);
  }
  SUBCASE("a number of the user's, in either key") {
    SimulatedCluster cluster = with_traefik();
    reach(cluster, helm_traefik({{"traefik_replicas", 3}}));
    CHECK(cluster.traefik()["spec"]["replicas"] == 3);
    reach(cluster, helm_traefik({{"traefik_values", {{"deployment", {{"replicas", 2}}}}}}));
    CHECK(cluster.traefik()["spec"]["replicas"] == 2);
    CHECK(traefik_values_of(cluster)["deployment"]["lifecycle"].contains("preStop"));
  }
  SUBCASE("more than nodes: the spread is soft, so it is a warning") {
    const Plan plan = make_plan(helm_traefik({{"traefik_replicas", 4}}), with_traefik().snapshot);
    CHECK_FALSE(plan.refusal);
    CHECK(says(plan, "traefik is to have 4 replicas, so some share a node: all 3 registered nodes can run traefik."));
  }
  SUBCASE("more than nodes that have the ports") {
    SimulatedCluster cluster = with_traefik();
    cluster.traefik()["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"] = 80;
    CHECK(refusal_of(make_plan(helm_traefik({{"traefik_replicas", 4}}), cluster.snapshot), ExitStatus::unsafe)
              .find("one replica can run on each of 3, but 4 are wished") != std::string::npos);
    carry_out(cluster, make_plan(helm_traefik(), cluster.snapshot));
    CHECK(traefik_values_of(cluster)["updateStrategy"]["rollingUpdate"] ==
          Json{{"maxUnavailable", 1}, {"maxSurge", 0}});
  }
  SUBCASE("an autoscaler's is left to it") {
    SimulatedCluster cluster = with_traefik();
    reach(cluster, helm_traefik({{"traefik_values", {{"autoscaling", {{"enabled", true}, {"maxReplicas", 5}}}}}}));
    CHECK_FALSE(traefik_values_of(cluster)["deployment"].contains("replicas"));
  }
  SUBCASE("no node") {
    CHECK(refusal_of(make_plan(helm_traefik({{"node_affinity", {{"disk", "tape"}}}}), with_traefik().snapshot),
                     ExitStatus::unsafe)
              .find("can run") != std::string::npos);
  }
}

TEST_CASE("traefik: zones and node_affinity") {
  SimulatedCluster cluster = with_traefik();
  for (int i = 0; i < 3; ++i) {
    cluster.node(i)["metadata"]["labels"]["topology.kubernetes.io/zone"] = i == 0 ? "a" : "b";
    cluster.node(i)["metadata"]["labels"]["disk"] = i == 2 ? "hdd" : "ssd";
  }
  reach(cluster, helm_traefik({{"metrics_server_strategy", "packaged"}}));
  CHECK(traefik_values_of(cluster)["topologySpreadConstraints"][1]["topologyKey"] == "topology.kubernetes.io/zone");
  for (const char* disk : {"ssd", "hdd"}) {
    const Plan plan = make_plan(helm_traefik({{"node_affinity", {{"disk", disk}}}}), cluster.snapshot);
    REQUIRE_FALSE(plan.refusal);
    carry_out(cluster, plan);
    const Json terms = traefik_values_of(
        cluster)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    CHECK(terms == Json::array({{{"matchExpressions",
                                  Json::array({{{"key", "disk"}, {"operator", "In"}, {"values", {disk}}}})}}}));
    CHECK(traefik_values_of(cluster)["deployment"]["replicas"] == (std::string(disk) == "ssd" ? 2 : 1));
  }
}

TEST_CASE("traefik: the user's values win, maps merge and lists replace") {
  SimulatedCluster cluster = with_traefik();
  const Json own = {{"topologySpreadConstraints", Json::array()},
                    {"podDisruptionBudget", {{"minAvailable", 1}}},
                    {"updateStrategy", {{"rollingUpdate", {{"maxSurge", "50%"}}}}},
                    {"deployment", {{"lifecycle", {{"preStop", {{"exec", {{"command", {"sleep", "9"}}}}}}}}}},
                    {"logs", {{"access", {{"enabled", true}}}}}};
  reach(cluster, helm_traefik({{"traefik_values", own}}));
  const Json values = traefik_values_of(cluster);
  CHECK(values["topologySpreadConstraints"] == Json::array());
  CHECK(values["podDisruptionBudget"] == Json{{"enabled", true}, {"minAvailable", 1}});
  CHECK(values["updateStrategy"]["rollingUpdate"] == Json{{"maxUnavailable", 0}, {"maxSurge", "50%"}});
  CHECK_FALSE(values["deployment"]["lifecycle"]["preStop"].contains("sleep"));
  CHECK(values["logs"]["access"]["enabled"] == true);
}

TEST_CASE("traefik: certificates that each replica would keep for itself") {
  SimulatedCluster cluster = with_traefik();
  Json document = Json::object();
  std::string where;
  SUBCASE("a volume by the wish") {
    document["traefik_values"] = {{"persistence", {{"enabled", true}}}};
    where = "the chart's persistence.enabled is true";
  }
  SUBCASE("a resolver by the wish") {
    document["traefik_values"] = {{"certificatesResolvers", {{"le", {{"acme", {{"storage", "/data/acme.json"}}}}}}}};
    where = "certificatesResolvers.le.acme is set";
  }
  SUBCASE("arguments of somebody else's") {
    cluster.apply(config_of({{"valuesContent", "additionalArguments: [--certificatesresolvers.le.acme.email=a@b.c]"}}),
                  "kubectl");
    cluster.settle();
    where = "additionalArguments sets up acme";
  }
  SUBCASE("a volume as it is") {
    cluster.traefik()["spec"]["template"]["spec"]["volumes"][0] = {{"name", "data"},
                                                                   {"persistentVolumeClaim", {{"claimName", "certs"}}}};
    where = "its pod mounts PersistentVolumeClaim certs";
  }
  SUBCASE("arguments as they are") {
    cluster.traefik()["spec"]["template"]["spec"]["containers"][0]["args"].push_back(
        "--certificatesresolvers.le.acme.tlschallenge=true");
    where = "its pod's arguments set up acme";
  }
  const std::string said = refusal_of(make_plan(helm_traefik(document), cluster.snapshot), ExitStatus::unsafe);
  CHECK(said.find("2 replicas of traefik would each order certificates") == 0);
  CHECK(said.find(where) != std::string::npos);
  document["traefik_replicas"] = 1;
  CHECK_FALSE(make_plan(helm_traefik(document), cluster.snapshot).refusal);
}

TEST_CASE("traefik: Helm is off, or there is no traefik") {
  SimulatedCluster cluster = with_traefik();
  std::string said;
  SUBCASE("no such group") {
    cluster.snapshot.groups.erase("helm.cattle.io/v1");
    said = "the server has no helm.cattle.io/v1";
  }
  SUBCASE("switched off on every server") {
    cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server","--disable-helm-controller"])";
    said = "every server was started with --disable-helm-controller";
  }
  SUBCASE("disabled") {
    cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server","--disable","traefik"])";
    cluster.snapshot.helmcharts = Json::array();
    said = "k3s was started with --disable traefik on server-1";
  }
  SUBCASE("gone") {
    cluster.snapshot.helmcharts = Json::array();
    said = "HelmChart kube-system/traefik is not there: was traefik removed?";
  }
  SUBCASE("not installed yet") {
    cluster.snapshot.deployments.erase(1);
    said = "Deployment kube-system/traefik is not there: has Job kube-system/helm-install-traefik come to its end?";
  }
  CHECK(refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::unsafe).find(said) != std::string::npos);
}

TEST_CASE("traefik: somebody else's HelmChartConfig keeps what it has, and gets it back") {
  SimulatedCluster cluster = with_traefik();
  const Json theirs = {{"valuesContent", "deployment:\n  replicas: 1\nports:\n  web:\n    redirections: {}\n"}};
  SUBCASE("applied by kubectl") {
    cluster.apply(config_of(theirs), "kubectl");
  }
  SUBCASE("from k3s's manifests, which hold the default, too") {
    cluster.apply(config_of(theirs), "x");
    Json& config = cluster.snapshot.helmchartconfigs[0];
    config["metadata"]["annotations"] = {{"objectset.rio.cattle.io/applied", config_of(theirs).dump()}};
    config["metadata"]["managedFields"] =
        Json::array({{{"manager", "deploy@server-1"},
                      {"operation", "Update"},
                      {"fieldsV1", {{"f:spec", {{"f:valuesContent", {}}, {"f:failurePolicy", {}}}}}}}});
  }
  cluster.settle();
  const Json before = (*cluster.traefik_config())["spec"];
  const Plan plan = make_plan(helm_traefik(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(says(plan, "of somebody else sets deployment.replicas in its valuesContent, too: ours come after that"));
  reach(cluster, helm_traefik());
  CHECK((*cluster.traefik_config())["spec"]["valuesContent"] == theirs["valuesContent"]);
  CHECK((*cluster.traefik_config())["spec"]["failurePolicy"] == "retry");
  CHECK_FALSE((*cluster.traefik_config())["metadata"].contains("labels"));
  CHECK(cluster.traefik()["spec"]["replicas"] == 2);
  reach(cluster, without);
  REQUIRE(cluster.traefik_config() != nullptr);
  CHECK((*cluster.traefik_config())["spec"]["valuesContent"] == theirs["valuesContent"]);
  CHECK_FALSE((*cluster.traefik_config())["spec"].contains("values"));
  CHECK(cluster.traefik()["spec"]["replicas"] == 1);
}

TEST_CASE("traefik: what others hold of the HelmChartConfig") {
  SimulatedCluster cluster = with_traefik();
  SUBCASE("another failurePolicy is a conflict") {
    cluster.apply(config_of({{"failurePolicy", "abort"}}), "argocd-controller");
    CHECK(refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::conflict) ==
          ".spec.failurePolicy of helm.cattle.io/v1 HelmChartConfig kube-system/traefik is held by argocd-controller, "
          "at \"abort\"; ours would be \"retry\".");
  }
  SUBCASE("the same value in values, too; another is a conflict") {
    cluster.apply(config_of({{"failurePolicy", "retry"}, {"values", {{"deployment", {{"replicas", 1}}}}}}), "argocd");
    const std::string said = refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::conflict);
    CHECK(said.find(".spec.values.deployment.replicas") == 0);
    CHECK(said.find("is held by argocd, at 1; ours would be 2") != std::string::npos);
  }
  SUBCASE("more replicas than ours stay theirs") {
    cluster.apply(config_of({{"failurePolicy", "retry"}, {"values", {{"deployment", {{"replicas", 3}}}}}}), "argocd");
    cluster.settle();
    reach(cluster, helm_traefik());
    CHECK(cluster.traefik()["spec"]["replicas"] == 3);
  }
  SUBCASE("a file among k3s's manifests that states another failurePolicy sets it back") {
    const Json config = config_of({{"failurePolicy", "abort"}});
    cluster.apply(config, "deploy@server-1");
    cluster.snapshot.helmchartconfigs[0]["metadata"]["annotations"] = {
        {"objectset.rio.cattle.io/applied", config.dump()}};
    const std::string said = refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::unsafe);
    CHECK(said.find("is \"abort\" in a file among k3s's manifests, which would set it back") != std::string::npos);
    CHECK(said.find("Change it there.") != std::string::npos);
  }
  SUBCASE("valuesSecrets come last") {
    cluster.apply(config_of({{"valuesSecrets", Json::array({{{"name", "more"}}})}}), "kubectl");
    CHECK(says(make_plan(helm_traefik(), cluster.snapshot), "valuesSecrets, which come after ours and win"));
  }
  SUBCASE("a DaemonSet") {
    cluster.apply(config_of({{"valuesContent", "deployment: {kind: DaemonSet}"}}), "kubectl");
    CHECK(refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::unsafe).find("DaemonSet") !=
          std::string::npos);
  }
  SUBCASE("what is no YAML") {
    cluster.apply(config_of({{"valuesContent", "a: [b"}}), "kubectl");
    CHECK(refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::unsafe)
              .find("spec.valuesContent of helm.cattle.io/v1 HelmChartConfig kube-system/traefik cannot be read") == 0);
  }
  SUBCASE("a budget") {
    Json budget = {{"apiVersion", "policy/v1"},
                   {"kind", "PodDisruptionBudget"},
                   {"metadata", {{"name", "edge"}, {"namespace", "kube-system"}}},
                   {"spec", {{"minAvailable", 1}, {"selector", cluster.traefik()["spec"]["selector"]}}}};
    cluster.snapshot.poddisruptionbudgets.push_back(budget);
    const Plan plan = make_plan(helm_traefik(), cluster.snapshot);
    CHECK(says(plan, "PodDisruptionBudget kube-system/edge covers traefik already"));
    carry_out(cluster, plan);
    CHECK_FALSE(traefik_values_of(cluster).contains("podDisruptionBudget"));
  }
  SUBCASE("the chart's own spec.set") {
    cluster.snapshot.helmcharts[0]["spec"]["set"]["deployment.replicas"] = 1;
    CHECK(says(make_plan(helm_traefik(), cluster.snapshot), "sets deployment.replicas by spec.set, which wins"));
  }
}

TEST_CASE("traefik: an older HelmChartConfig") {
  SimulatedCluster cluster = with_traefik();
  SUBCASE("without values: one of ours has them as text") {
    config_schema(cluster).erase("values");
    reach(cluster, helm_traefik());
    const auto values = parse_yaml((*cluster.traefik_config())["spec"]["valuesContent"]);
    REQUIRE(values);
    CHECK((*values)["deployment"]["replicas"] == 2);
    reach(cluster, without);
    CHECK(cluster.traefik_config() == nullptr);
  }
  SUBCASE("without values: somebody else's text is to be changed by them") {
    config_schema(cluster).erase("values");
    cluster.apply(config_of({{"valuesContent", "logs: {}"}}), "kubectl");
    const std::string said = refusal_of(make_plan(helm_traefik(), cluster.snapshot), ExitStatus::conflict);
    CHECK(said.find("Merge this into it") != std::string::npos);
    const auto values = parse_yaml(said.substr(said.find('\n') + 1));
    REQUIRE(values);
    CHECK((*values)["podDisruptionBudget"]["enabled"] == true);
  }
  SUBCASE("without retry: the chart's own policy, where it has one that is known") {
    config_schema(cluster)["failurePolicy"]["enum"] = {"abort", "reinstall"};
    cluster.snapshot.helmcharts[0]["spec"]["failurePolicy"] = "abort";
    reach(cluster, helm_traefik());
    CHECK((*cluster.traefik_config())["spec"]["failurePolicy"] == "abort");
  }
  SUBCASE("without retry, and none of the chart's") {
    config_schema(cluster)["failurePolicy"]["enum"] = {"abort", "reinstall"};
    cluster.snapshot.helmcharts[0]["spec"].erase("failurePolicy");
    const Plan plan = make_plan(helm_traefik(), cluster.snapshot);
    CHECK(says(plan, "knows no failurePolicy retry"));
    reach(cluster, helm_traefik());
    CHECK(cluster::owners_of(*cluster.traefik_config(), {"f:spec", "f:failurePolicy"}).empty());
    reach(cluster, without);
    CHECK(cluster.traefik_config() == nullptr);
  }
}

TEST_CASE("traefik: what was edited or deleted by hand is put right") {
  SimulatedCluster cluster = with_traefik();
  reach(cluster, helm_traefik());
  cluster.snapshot.helmchartconfigs = Json::array();
  cluster.settle();
  CHECK(cluster.traefik()["spec"]["replicas"] == 1);
  reach(cluster, helm_traefik());
  CHECK(cluster.traefik()["spec"]["replicas"] == 2);
  cluster.snapshot.helmchartconfigs[0]["metadata"]["labels"].erase("k3s-core-ha/component");
  // Nothing of it is the chart's, so no job is waited for that never comes.
  CHECK(ids(make_plan(helm_traefik(), cluster.snapshot)) == std::vector<std::string>{"traefik-values"});
  reach(cluster, helm_traefik());
}

TEST_CASE("traefik: a count that somebody set by hand is set back by one more job") {
  SimulatedCluster cluster = with_traefik();
  reach(cluster, helm_traefik());
  cluster.scale_by("kubectl", 1, 1);
  CHECK(ids(make_plan(helm_traefik(), cluster.snapshot)) ==
        std::vector<std::string>{"traefik-again", "traefik-chart", "traefik-rollout"});
  SUBCASE("") {
    reach(cluster, helm_traefik());
    CHECK(cluster.traefik()["spec"]["replicas"] == 2);
  }
  SUBCASE("unless an autoscaler does it") {
    cluster.snapshot.horizontalpodautoscalers.push_back(
        {{"apiVersion", "autoscaling/v2"},
         {"kind", "HorizontalPodAutoscaler"},
         {"metadata", {{"name", "edge"}, {"namespace", "kube-system"}}},
         {"spec", {{"scaleTargetRef", {{"kind", "Deployment"}, {"name", "traefik"}}}}}});
    CHECK(make_plan(helm_traefik(), cluster.snapshot).steps.empty());
  }
}

TEST_CASE("traefik: manifests") {
  SimulatedCluster cluster = with_traefik();
  const auto find = [](const std::vector<Json>& objects) -> Json {
    for (const Json& object : objects)
      if (object["kind"] == "HelmChartConfig") return object;
    return {};
  };
  const Json ours = find(manifests(make_plan(helm_traefik(), cluster.snapshot)));
  CHECK(ours["spec"]["values"]["deployment"]["replicas"] == 2);
  CHECK_FALSE(ours["metadata"].contains("annotations"));
  cluster.apply(ours, "k3s-core-ha");
  cluster.settle();
  reach(cluster, helm_traefik());
  CHECK(find(manifests(make_plan(without, cluster.snapshot))).is_null());
  reach(cluster, without);

  cluster.apply(config_of({{"valuesContent", "logs: {}"}}), "kubectl");
  const Json shared = find(manifests(make_plan(helm_traefik(), cluster.snapshot)));
  CHECK(shared["metadata"]["annotations"]["k3s-core-ha/keep"] == "true");
}

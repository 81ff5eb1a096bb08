// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/shipped.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/metrics_server.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

const Json toleration = {{"key", "dedicated"}, {"operator", "Exists"}, {"effect", "NoSchedule"}};

/// Strategy custom with all that the overlay must refuse.
Spec custom_in_all() {
  return wish({{"coredns_strategy", "custom"},
               {"coredns_image", "registry.example/coredns:own"},
               {"coredns_resources", {{"requests", {{"cpu", "0.05"}}}, {"limits", {{"memory", "1024Mi"}}}}},
               {"coredns_tolerations", Json::array({toleration})},
               {"coredns_lameduck", 5}});
}

SimulatedCluster staged_cluster() {
  SimulatedCluster cluster(3);
  cluster.stage();
  cluster.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns";
  return cluster;
}

SimulatedCluster staged_at(const Spec& spec) {
  SimulatedCluster cluster = staged_cluster();
  reach(cluster, spec);
  cluster.rolled = 0;
  return cluster;
}

/// As reach, from wherever the cluster is, with the servers' `.skip` in place.
void reach_with_proof(SimulatedCluster& cluster, const Spec& spec) {
  if (spec.coredns_strategy == "custom") cluster.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns";
  reach(cluster, spec);
}

const Json& pod_spec(const SimulatedCluster& cluster) {
  return cluster.snapshot.deployments[0]["spec"]["template"]["spec"];
}

void check_custom(const SimulatedCluster& cluster) {
  check_ours(cluster, 3);
  const Json& container = pod_spec(cluster)["containers"][0];
  CHECK(container["image"] == "registry.example/coredns:own");
  CHECK(container["resources"]["requests"]["cpu"] == "50m");
  CHECK(container["resources"]["limits"]["memory"] == "1Gi");
  CHECK(pod_spec(cluster)["tolerations"].size() == 3);
  CHECK(pod_spec(cluster)["tolerations"][2] == toleration);
  for (const auto& config : cluster.snapshot.configmaps)
    if (config["metadata"]["name"] == "coredns") {
      CHECK(config["data"]["Corefile"] ==
            ".:53 {\n    errors\n    health {\n        lameduck 5s\n    }\n    ready\n}\n");
      CHECK(config["data"]["NodeHosts"] == "10.0.0.1 server-1\n");
    }
}

/// Nothing of ours in what k3s ships, and a start of k3s finds nothing to do.
void check_given_back(SimulatedCluster cluster) {
  for (const auto* list :
       {&cluster.snapshot.serviceaccounts, &cluster.snapshot.clusterroles, &cluster.snapshot.clusterrolebindings})
    CHECK(cluster::applied_fields(list->at(0), kube::field_manager).empty());
  CHECK(pod_spec(cluster)["containers"][0]["image"] ==
        cluster.staged_deployment()["spec"]["template"]["spec"]["containers"][0]["image"]);
  CHECK(pod_spec(cluster)["tolerations"].size() == 2);
  CHECK_FALSE(pod_spec(cluster)["containers"][0].value("resources", Json::object()).contains("limits"));
  CHECK_FALSE(cluster.snapshot.nodes[0]["metadata"]["annotations"].contains(set_aside_annotation));
  const Json before = cluster.snapshot.deployments[0]["spec"];
  cluster.start_k3s(false);
  CHECK(cluster.snapshot.deployments[0]["spec"] == before);
}

bool mentions(const std::string& sentence, const std::string& words) {
  return sentence.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("custom: needs the proof of every server, and what it builds on") {
  SimulatedCluster cluster(3);
  cluster.stage();
  cluster.node(1)["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true";
  const Plan unproven = make_plan(custom_in_all(), cluster.snapshot, {}, {.set_aside = {{"server-1", {"coredns"}}}});
  REQUIRE(unproven.refusal);
  CHECK(unproven.refusal->status == ExitStatus::unsafe);
  CHECK(mentions(unproven.refusal->message, "coredns.yaml.skip"));
  CHECK(mentions(unproven.refusal->message, "known to be on agent-1."));
  CHECK(unproven.steps.empty());

  const OnNodes both{.set_aside = {{"server-1", {"coredns"}}, {"agent-1", {"coredns"}}}};
  const Plan plan = make_plan(custom_in_all(), cluster.snapshot, {}, both);
  REQUIRE_FALSE(plan.refusal);
  carry_out(cluster, plan);
  CHECK(cluster.node(1)["metadata"]["annotations"][set_aside_annotation] == "coredns");
  CHECK(make_plan(custom_in_all(), cluster.snapshot).steps.empty());

  cluster.snapshot.manifests = Json::object();
  const Plan remote = make_plan(custom_in_all(), cluster.snapshot);
  REQUIRE(remote.refusal);
  CHECK(mentions(remote.refusal->message, "--manifests"));

  // A server that is gone for weeks has no say.
  SimulatedCluster old = staged_cluster();
  old.node(1)["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true";
  CHECK(make_plan(custom_in_all(), old.snapshot).refusal);
  old.silence(1, 30 * 86400);
  CHECK_FALSE(make_plan(custom_in_all(), old.snapshot).refusal);
}

TEST_CASE("custom: what k3s declares is as wished, and stays so") {
  SimulatedCluster cluster = staged_at(custom_in_all());
  check_custom(cluster);
  CHECK(make_plan(custom_in_all(), cluster.snapshot).components["coredns"]["strategy"] == "custom");
  const auto before = cluster.snapshot.deployments;
  cluster.start_k3s(true);
  CHECK(cluster.snapshot.deployments == before);

  SUBCASE("a server without its .skip sets it back, and the next run mends that") {
    cluster.start_k3s(false);
    CHECK(pod_spec(cluster)["containers"][0]["image"] != "registry.example/coredns:own");
    reach(cluster, custom_in_all());
    check_custom(cluster);
  }
  SUBCASE("the next release is followed") {
    Json& pod = cluster.staged_deployment()["spec"]["template"];
    pod["metadata"]["labels"]["release"] = "new";
    pod["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent";
    cluster.snapshot.manifests["coredns"][1]["rules"].push_back({{"apiGroups", {"discovery.k8s.io"}}});
    reach(cluster, custom_in_all());
    check_custom(cluster);
    CHECK(cluster.deployment()["spec"]["template"]["metadata"]["labels"]["release"] == "new");
    CHECK(pod_spec(cluster)["containers"][0]["imagePullPolicy"] == "IfNotPresent");
    CHECK(cluster.snapshot.clusterroles[0]["rules"].size() == 2);
    reach(cluster, autoscaling);
    check_given_back(cluster);
  }
  SUBCASE("what is wished no more is as k3s ships it") {
    reach(cluster, Spec{.coredns_strategy = "custom"});
    CHECK(pod_spec(cluster)["tolerations"].size() == 2);
    CHECK(cluster.snapshot.configmaps[0]["data"]["Corefile"] == ".:53 {\n    errors\n    health\n    ready\n}\n");
  }
}

TEST_CASE("custom: objects of the user's stand in for k3s's, and the way back has none of them left") {
  SimulatedCluster cluster = staged_cluster();
  Json own = cluster.staged_deployment();
  own["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/coredns:own";
  own["spec"]["template"]["spec"]["priorityClassName"] = "system-node-critical";
  own["spec"]["template"]["metadata"]["annotations"]["example.org/own"] = "yes";
  Json config;
  for (const auto& object : cluster.snapshot.manifests["coredns"])
    if (object["kind"] == "ConfigMap") config = object;
  config["data"]["Corefile"] = ".:53 {\n    health\n    cache 60\n}\n";
  config["data"].erase("NodeHosts");
  const auto with = [&](Json objects) {
    return wish({{"coredns_strategy", "custom"}, {"coredns_manifest", std::move(objects)}, {"coredns_lameduck", 5}});
  };
  const Spec spec = with(Json::array({own, config}));
  reach(cluster, spec);
  CHECK(cluster.losses == std::vector<std::string>{});
  check_ours(cluster, 3);
  const Json& pod_template = cluster.deployment()["spec"]["template"];
  CHECK(pod_template["spec"]["containers"][0]["image"] == "registry.example/coredns:own");
  CHECK(pod_template["spec"]["priorityClassName"] == "system-node-critical");
  CHECK(pod_template["metadata"]["annotations"]["example.org/own"] == "yes");
  const Json& live = cluster.snapshot.configmaps[0];
  CHECK(live["data"]["Corefile"] == ".:53 {\n    health {\n        lameduck 5s\n    }\n    cache 60\n}\n");
  CHECK(live["data"]["NodeHosts"] == "10.0.0.1 server-1\n");

  // A release changes what is not among them, and nothing of what is.
  cluster.staged_deployment()["spec"]["template"]["metadata"]["labels"]["release"] = "new";
  cluster.snapshot.manifests["coredns"][1]["rules"].push_back({{"apiGroups", {"discovery.k8s.io"}}});
  reach(cluster, spec);
  CHECK_FALSE(cluster.deployment()["spec"]["template"]["metadata"]["labels"].contains("release"));
  CHECK(cluster.snapshot.clusterroles[0]["rules"].size() == 2);

  reach(cluster, with(Json::array({config})));
  CHECK(cluster.deployment()["spec"]["template"]["metadata"]["labels"]["release"] == "new");
  CHECK(pod_spec(cluster)["containers"][0]["image"] != "registry.example/coredns:own");
  CHECK_FALSE(cluster.deployment()["spec"]["template"]["metadata"].contains("annotations"));
  reach(cluster, spec);
  reach(cluster, packaged);
  check_given_back(cluster);
  CHECK(cluster.deployment()["spec"]["template"]["metadata"] ==
        cluster.staged_deployment()["spec"]["template"]["metadata"]);
  CHECK(pod_spec(cluster)["priorityClassName"] == "system-cluster-critical");
  CHECK(cluster.losses == std::vector<std::string>{});
}

TEST_CASE("custom: an object that stands in for nothing, or cannot, is refused") {
  SimulatedCluster cluster = staged_cluster();
  const auto refused = [&](const Json& object) {
    const Plan plan = make_plan(wish({{"coredns_strategy", "custom"}, {"coredns_manifest", Json::array({object})}}),
                                cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::usage);
    return plan.refusal->message;
  };
  const std::string foreign =
      refused({{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", {{"name", "coredns"}}}});
  CHECK(mentions(foreign, "coredns_manifest[0] is v1 ConfigMap coredns, which stands for nothing in coredns.yaml"));
  CHECK(mentions(foreign, "allowed are "));
  CHECK(mentions(foreign, "apps/v1 Deployment kube-system/coredns"));
  Json other = cluster.staged_deployment();
  other["spec"]["selector"]["matchLabels"]["k8s-app"] = "dns";
  CHECK(mentions(refused(other), "coredns_manifest[0].spec.selector is {"));

  const Plan unread =
      make_plan(wish({{"coredns_manifest", Json::array({cluster.staged_deployment()})}}), cluster.snapshot);
  REQUIRE_FALSE(unread.warnings.empty());
  CHECK(unread.warnings.back() == "coredns_manifest is not read under coredns_strategy autoscaling.");
}

TEST_CASE("custom: from any strategy and to any, nothing is lost") {
  const std::vector<Spec> strategies{packaged, autoscaling, Spec{.coredns_strategy = "replicas"},
                                     Spec{.coredns_strategy = "daemonset", .coredns_daemonset_nodes = "all"},
                                     wish({{"coredns_strategy", "custom"}, {"coredns_replicas", 2}})};
  for (const auto& other : strategies) {
    CAPTURE(other.coredns_strategy);
    SimulatedCluster cluster = staged_at(other);
    reach_with_proof(cluster, custom_in_all());
    check_custom(cluster);
    reach_with_proof(cluster, other);
    CHECK(cluster.losses == std::vector<std::string>{});
    if (other.coredns_strategy == "packaged") check_packaged(cluster);
    if (other.coredns_strategy != "custom") check_given_back(cluster);
  }
}

TEST_CASE("custom: stopped anywhere, the next run comes to the same end, and a failed one to what was") {
  const Spec spec = custom_in_all();
  for (const Spec& other : {autoscaling, packaged}) {
    for (const bool back : {false, true}) {
      const SimulatedCluster start = staged_at(back ? spec : other);
      const Spec& goal = back ? other : spec;
      SimulatedCluster proven = start;
      proven.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns";
      const std::size_t points = make_plan(goal, proven.snapshot).steps.size();
      REQUIRE(points > 5);
      for (std::size_t point = 0; point <= points; ++point) {
        CAPTURE(other.coredns_strategy);
        CAPTURE(back);
        CAPTURE(point);
        SimulatedCluster next = proven;
        carry_out(next, make_plan(goal, next.snapshot), point);
        SimulatedCluster failed = next;
        reach_with_proof(next, goal);
        if (back)
          check_given_back(next);
        else
          check_custom(next);
        const Plan way = plan_way_back(proven.snapshot, failed.snapshot);
        REQUIRE_FALSE(way.refusal);
        carry_out(failed, way);
        CHECK(failed.losses == std::vector<std::string>{});
        if (back)
          check_custom(failed);
        else if (other.coredns_strategy == "autoscaling")
          check_ours(failed, 3);
        if (!back) {
          failed.node(0)["metadata"]["annotations"].erase(set_aside_annotation);
          check_given_back(failed);
        }
      }
    }
  }
}

TEST_CASE("custom: under other strategies what k3s would set back is refused, and named") {
  SimulatedCluster cluster = staged_at(autoscaling);
  for (const char* strategy : {"autoscaling", "replicas"}) {
    for (const Json& wished : {Json{{"coredns_image", "x"}}, Json{{"coredns_tolerations", {toleration}}}}) {
      Json document = wished;
      document["coredns_strategy"] = strategy;
      const Plan plan = make_plan(wish(document), cluster.snapshot);
      REQUIRE(plan.refusal);
      CHECK(plan.refusal->status == ExitStatus::unsafe);
      CHECK(mentions(plan.refusal->message, "Strategy custom"));
    }
  }
  // A DaemonSet is ours alone.
  SimulatedCluster daemons = staged_at(wish({{"coredns_strategy", "daemonset"},
                                             {"coredns_daemonset_nodes", "all"},
                                             {"coredns_image", "own"},
                                             {"coredns_tolerations", {toleration}}}));
  const Json& pod = daemons.snapshot.daemonsets[0]["spec"]["template"]["spec"];
  CHECK(pod["containers"][0]["image"] == "own");
  CHECK(pod["tolerations"].size() == 3);
}

TEST_CASE("custom: a .skip that nothing wants is told of") {
  SimulatedCluster cluster = staged_cluster();
  const Plan plan = make_plan(autoscaling, cluster.snapshot, {}, {.set_aside = {{"server-1", {"coredns"}}}});
  CHECK(std::any_of(plan.warnings.begin(), plan.warnings.end(), [](const auto& warning) {
    return mentions(warning, "coredns.yaml.skip") && mentions(warning, "server-1");
  }));
  // On the way back it is about to go.
  const SimulatedCluster leaving = staged_at(custom_in_all());
  for (const auto& warning :
       make_plan(autoscaling, leaving.snapshot, {}, {.set_aside = {{"server-1", {"coredns"}}}}).warnings)
    CHECK_FALSE(mentions(warning, ".skip"));
}

TEST_CASE("custom: metrics-server, too") {
  SimulatedCluster cluster = staged_cluster();
  cluster.ship_metrics_server();
  cluster.snapshot.manifests[cluster::metrics_server_manifest] = Json::array({Json::parse(
      cluster.deployment(1)["metadata"]["annotations"]["objectset.rio.cattle.io/applied"].get<std::string>())});
  cluster.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns,metrics-server-deployment";
  const Json shipped_spec = cluster.deployment(1)["spec"];
  const Spec spec = wish({{"metrics_server_strategy", "custom"}, {"metrics_server_image", "own"}});
  reach(cluster, spec);
  CHECK(cluster.deployment(1)["spec"]["template"]["spec"]["containers"][0]["image"] == "own");
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 2);
  CHECK(make_plan(spec, cluster.snapshot).components["metrics_server"]["strategy"] == "custom");
  CHECK(cluster.node(0)["metadata"]["annotations"][set_aside_annotation] == "metrics-server-deployment");
  reach(cluster, packaged);
  CHECK(cluster.deployment(1)["spec"] == shipped_spec);
  CHECK(cluster::applied_fields(cluster.deployment(1), kube::field_manager).empty());
}

TEST_CASE("custom: its manifests keep every object of k3s's") {
  const SimulatedCluster cluster = staged_at(custom_in_all());
  const auto objects = manifests(make_plan(custom_in_all(), cluster.snapshot));
  int kept = 0;
  for (const auto& object : objects)
    if (object["metadata"].value("annotations", Json::object()).contains(keep_annotation)) ++kept;
  CHECK(kept == 5);  // a ServiceAccount says nothing but its name
}

TEST_CASE("with_lameduck: only a bare health gets one") {
  CHECK(*with_lameduck("a {\n\thealth\n}\n", 7) == "a {\n\thealth {\n\t    lameduck 7s\n\t}\n}\n");
  CHECK_FALSE(with_lameduck("a {\n  health {\n    lameduck 3s\n  }\n}\n", 7));
  CHECK_FALSE(with_lameduck("a {\n  healthz\n}\n", 7));
}

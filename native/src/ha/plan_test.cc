// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_view.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

TEST_CASE("plan: from packaged, the old pod is replaced without a gap") {
  SimulatedCluster cluster(3);
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const std::string pod = cluster.snapshot.pods[0]["metadata"]["name"];
  const std::string set = cluster.snapshot.replicasets[0]["metadata"]["name"];
  CHECK(ids(plan) == std::vector<std::string>{"kube-dns-traffic", "mark-" + pod, "coredns-pause", "free-" + set,
                                              "freed-" + set, "coredns-scale", "coredns-overlay", "coredns-rollout",
                                              "quiet-" + pod, "coredns-drained", "end-" + pod, "ended-" + pod,
                                              "coredns-budget", "coredns-autoscaler"});
  CHECK(plan.level.name == "node");
  CHECK(plan.warnings.empty());
  CHECK(plan.predicted["node_death"]["lost_share"] == 0);
  CHECK(plan.diff.size() == 5);
  for (const auto& step : plan.steps) {
    CAPTURE(step.id);
    CHECK_FALSE(step.reason.empty());
    if (step.action == Action::remove || step.action == Action::patch) CHECK_FALSE(step.uid.empty());
    if (step.object.kind == "ReplicaSet" && step.action == Action::remove) CHECK(step.propagation == "Orphan");
    if (step.action == Action::apply && step.object == coredns_deployment)
      CHECK_FALSE(step.body["spec"].contains("replicas"));
  }
  reach(cluster, autoscaling);
  check_ours(cluster, 3);
}

TEST_CASE("plan: what is so already gives no step") {
  SimulatedCluster cluster(3);
  reach(cluster, autoscaling);
  SUBCASE("an autoscaler that went above the minimum is left alone") {
    cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 5, "kube-controller-manager");
    cluster.settle();
    CHECK(make_plan(autoscaling, cluster.snapshot).steps.empty());
  }
  SUBCASE("one changed wish is one step") {
    const Plan plan = make_plan(wish({{"coredns_cpu_utilization", 60}}), cluster.snapshot);
    CHECK(ids(plan) == std::vector<std::string>{"coredns-autoscaler"});
    REQUIRE(plan.diff.size() == 2);
    for (const auto& changed : plan.diff)
      CHECK(changed.before != changed.after);
  }
  SUBCASE("a higher minimum scales out and waits") {
    CHECK(ids(make_plan(wish({{"coredns_min_replicas", 2}}), cluster.snapshot)) ==
          std::vector<std::string>{"coredns-autoscaler"});
  }
  SUBCASE("no traffic distribution: our field goes") {
    reach(cluster, wish({{"coredns_traffic_distribution", "none"}}));
    CHECK_FALSE(cluster.service()["spec"].contains("trafficDistribution"));
  }
  SUBCASE("a field that was lost is brought back, by an ordinary rollout") {
    cluster.deployment()["spec"]["minReadySeconds"] = 0;
    CHECK(ids(make_plan(autoscaling, cluster.snapshot)) ==
          std::vector<std::string>{"coredns-overlay", "coredns-rollout"});
  }
  SUBCASE("a field of ours that nobody wishes any more goes") {
    Json body = {{"apiVersion", "apps/v1"},
                 {"kind", "Deployment"},
                 {"metadata", {{"name", "coredns"}, {"namespace", "kube-system"}}},
                 {"spec", {{"minReadySeconds", 3}, {"progressDeadlineSeconds", 120}}}};
    cluster.apply(body, "k3s-core-ha");
    cluster.settle();
    cluster.losses.clear();
    reach(cluster, autoscaling);
    CHECK_FALSE(cluster.deployment()["spec"].contains("progressDeadlineSeconds"));
  }
}

TEST_CASE("plan: back to packaged, nothing of ours is left") {
  for (const int nodes : {1, 2, 3, 50}) {
    CAPTURE(nodes);
    SimulatedCluster cluster(nodes);
    CHECK(make_plan(packaged, cluster.snapshot).steps.empty());
    reach(cluster, autoscaling);
    reach(cluster, packaged);
    check_packaged(cluster);
  }
}

TEST_CASE("plan: what is refused, and with which status") {
  struct Row {
    const char* what;
    Json spec;
    std::function<void(SimulatedCluster&)> change;
    ExitStatus status;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {"more replicas than nodes",
       {{"coredns_min_replicas", 5}},
       [](SimulatedCluster&) {},
       ExitStatus::unsafe,
       {"coredns_min_replicas is 5", "3 registered nodes", "3 replicas"}},
      {"CoreDNS is not there",
       Json::object(),
       [](SimulatedCluster& c) { c.snapshot.deployments.clear(); },
       ExitStatus::unsafe,
       {"Deployment kube-system/coredns is not there"}},
      {"CoreDNS is disabled",
       Json::object(),
       [](SimulatedCluster& c) {
         c.snapshot.deployments.clear();
         c.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server","--disable","traefik,coredns"])";
       },
       ExitStatus::unsafe,
       {"--disable coredns", "server-1"}},
      {"k3s declares a field that we wish otherwise",
       Json::object(),
       [](SimulatedCluster& c) {
         Json& annotation = c.deployment()["metadata"]["annotations"]["objectset.rio.cattle.io/applied"];
         Json manifest = Json::parse(annotation.get<std::string>());
         manifest["spec"]["minReadySeconds"] = 10;
         annotation = manifest.dump();
       },
       ExitStatus::unsafe,
       {".spec.minReadySeconds", "10 in k3s's own manifest", "Strategy custom, which"}},
      {"somebody else holds a field",
       Json::object(),
       [](SimulatedCluster& c) {
         c.set_field(c.deployment(), {"f:spec", "f:minReadySeconds"}, 7, "argocd-controller");
       },
       ExitStatus::conflict,
       {".spec.minReadySeconds", "argocd-controller", "7"}},
      {"somebody else holds the count, even at the very number",
       Json::object(),
       [](SimulatedCluster& c) {
         c.set_field(c.deployment(), {"f:spec", "f:replicas"}, 3, "argocd-controller");
         c.settle();
       },
       ExitStatus::conflict,
       {".spec.replicas", "held by argocd-controller, at 3"}},
      {"it is not k3s's",
       Json::object(),
       [](SimulatedCluster& c) { c.deployment()["metadata"].erase("annotations"); },
       ExitStatus::unsafe,
       {"Deployment kube-system/coredns is not the one that k3s ships"}},
      {"somebody else paused it",
       Json::object(),
       [](SimulatedCluster& c) { c.set_field(c.deployment(), {"f:spec", "f:paused"}, true, "kubectl-rollout"); },
       ExitStatus::conflict,
       {"paused by kubectl-rollout"}},
      {"somebody else's autoscaler",
       Json::object(),
       add_foreign_autoscaler,
       ExitStatus::conflict,
       {"HorizontalPodAutoscaler kube-system/dns"}},
      {"no node takes pods",
       Json::object(),
       [](SimulatedCluster& c) {
         for (int i = 0; i < 3; ++i)
           c.cordon(i);
       },
       ExitStatus::unsafe,
       {"No node takes pods now", "3 that can run CoreDNS", "agent-1 (cordoned)"}},
      {"cordons leave one node",
       Json::object(),
       [](SimulatedCluster& c) {
         c.cordon(1);
         c.cordon(2);
       },
       ExitStatus::unsafe,
       {"Only 1 of 3 nodes", "agent-1 (cordoned), agent-2 (cordoned)", "all 3 replicas would be on server-1"}},
      {"all nodes tainted but one, and a number that needs more",
       {{"coredns_min_replicas", 2}},
       [](SimulatedCluster& c) {
         c.taint(1, "gpu", "NoSchedule");
         c.taint(2, "gpu", "NoSchedule");
       },
       ExitStatus::unsafe,
       {"coredns_min_replicas is 2", "1 of 3 registered nodes can run CoreDNS", "agent-1 (taint gpu:NoSchedule)"}},
      {"a selector that matches no node",
       Json::object(),
       [](SimulatedCluster& c) { c.deployment()["spec"]["template"]["spec"]["nodeSelector"] = {{"disk", "ssd"}}; },
       ExitStatus::unsafe,
       {"No registered node can run CoreDNS", "no label disk=ssd"}},
      {"a Service that selects none of its pods",
       Json::object(),
       [](SimulatedCluster& c) { c.service()["spec"]["selector"] = {{"k8s-app", "dns"}}; },
       ExitStatus::unsafe,
       {"Service kube-system/kube-dns selects {\"k8s-app\":\"dns\"}", "no endpoints"}},
      {"a budget that blocks every drain",
       Json::object(),
       [](SimulatedCluster& c) {
         c.snapshot.poddisruptionbudgets.push_back(
             {{"apiVersion", "policy/v1"},
              {"kind", "PodDisruptionBudget"},
              {"metadata", {{"name", "dns"}, {"namespace", "kube-system"}, {"uid", "x"}}},
              {"spec",
               {{"minAvailable", 3},
                {"selector",
                 {{"matchExpressions",
                   Json::array({{{"key", "k8s-app"}, {"operator", "In"}, {"values", {"kube-dns", "dns"}}}})}}}}}});
       },
       ExitStatus::unsafe,
       {"PodDisruptionBudget kube-system/dns (minAvailable 3)", "none of 3 replicas", "block every drain"}},
      {"the way back has no place while nodes are down",
       {{"coredns_strategy", "packaged"}},
       [](SimulatedCluster& c) {
         reach(c, autoscaling);
         c.cordon(0);
         c.silence(2, 600);
         for (auto& pod : c.snapshot.pods)  // evicted, and replaced on the node that is left
           pod["spec"]["nodeName"] = "agent-1";
       },
       ExitStatus::unsafe,
       {"server-1 (cordoned)", "agent-2 (not ready)"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster(3);
    row.change(cluster);
    const Plan plan = make_plan(wish(row.spec), cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == row.status);
    CHECK(plan.steps.empty());
    for (const auto& word : row.words) {
      CAPTURE(plan.refusal->message);
      CHECK(plan.refusal->message.find(word) != std::string::npos);
    }
  }
}

TEST_CASE("plan: what is done with less, and said") {
  struct Row {
    const char* what;
    Json spec;
    int minor;
    std::function<void(SimulatedCluster&)> change;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {"no metrics-server", {}, 36, [](SimulatedCluster& c) { c.snapshot.apiservices.clear(); }, {"metrics-server"}},
      {"metrics-server down",
       {},
       36,
       [](SimulatedCluster& c) { c.snapshot.apiservices[0]["status"]["conditions"][0]["status"] = "False"; },
       {"metrics-server does not answer"}},
      {"no PreferSameNode",
       {},
       31,
       [](SimulatedCluster&) {},
       {"1.31 does not know trafficDistribution PreferSameNode"}},
      {"agents of an older release",
       {},
       36,
       [](SimulatedCluster& c) { c.node(2)["status"]["nodeInfo"]["kubeletVersion"] = "v1.33.4+k3s1"; },
       {"1 of 3 nodes (agent-2)", "kube-proxy older than 1.34"}},
      {"no preStop.sleep", {}, 29, [](SimulatedCluster&) {}, {"1.29 does not know preStop.sleep"}},
      {"somebody else's budget",
       {},
       36,
       [](SimulatedCluster& c) {
         c.snapshot.poddisruptionbudgets.push_back(
             {{"apiVersion", "policy/v1"},
              {"kind", "PodDisruptionBudget"},
              {"metadata", {{"name", "dns"}, {"namespace", "kube-system"}, {"uid", "x"}}},
              {"spec", {{"selector", {{"matchLabels", {{"k8s-app", "kube-dns"}}}}}}}});
       },
       {"PodDisruptionBudget kube-system/dns"}},
      {"somebody else's traffic distribution",
       {},
       36,
       [](SimulatedCluster& c) {
         c.set_field(c.service(), {"f:spec", "f:trafficDistribution"}, "PreferClose", "kubectl");
       },
       {"trafficDistribution \"PreferClose\" from somebody else"}},
      {"no policy/v1", {}, 36, [](SimulatedCluster& c) { c.snapshot.groups.erase("policy/v1"); }, {"policy/v1"}},
      {"a node that is long gone",
       {},
       36,
       [](SimulatedCluster& c) { c.silence(2, 8 * 86400); },
       {"agent-2 (8 days)", "No longer counted"}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster(3, row.minor);
    row.change(cluster);
    const Plan plan = make_plan(wish(row.spec), cluster.snapshot);
    CHECK_FALSE(plan.refusal);
    CHECK_FALSE(plan.steps.empty());
    std::string all;
    for (const auto& warning : plan.warnings)
      all += warning + "\n";
    for (const auto& word : row.words) {
      CAPTURE(all);
      CHECK(all.find(word) != std::string::npos);
    }
  }
}

TEST_CASE("plan: clusters that differ from what k3s sets up by default") {
  struct Row {
    const char* what;
    std::function<void(SimulatedCluster&)> change;
    int replicas;
    Json lost_with_lease_holder;
  };
  const std::vector<Row> rows{
      {"another service range, cluster DNS and domain",
       [](SimulatedCluster& c) {
         c.service()["spec"]["clusterIP"] = "10.99.0.53";
         c.node(0)["metadata"]["annotations"]["k3s.io/node-args"] =
             R"(["server","--service-cidr","10.99.0.0/16","--cluster-dns","10.99.0.53","--cluster-domain","k3s.lan"])";
       },
       3, 0},
      {"both families, a slice of endpoints for each",
       [](SimulatedCluster& c) {
         Json& spec = c.service()["spec"];
         spec["clusterIPs"] = {"10.43.0.10", "fd43::a"};
         spec["ipFamilies"] = {"IPv4", "IPv6"};
         spec["ipFamilyPolicy"] = "PreferDualStack";
         for (const char* family : {"IPv4", "IPv6"})
           c.snapshot.endpointslices.push_back({{"apiVersion", "discovery.k8s.io/v1"},
                                                {"kind", "EndpointSlice"},
                                                {"metadata", {{"name", family}, {"namespace", "kube-system"}}},
                                                {"addressType", family}});
       },
       3, 0},
      {"a server that takes critical pods alone, as CoreDNS's are",
       [](SimulatedCluster& c) { c.taint(0, "CriticalAddonsOnly", "NoExecute"); }, 3, 0},
      {"a server that takes no pods",
       [](SimulatedCluster& c) { c.taint(0, "node-role.kubernetes.io/mine", "NoSchedule"); }, 2, Json{0, 0.5}},
      {"servers without an agent have no node", [](SimulatedCluster& c) { c.snapshot.nodes.erase(0); }, 2, "unknown"}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    SimulatedCluster cluster(3);
    row.change(cluster);
    const Plan plan = make_plan(autoscaling, cluster.snapshot);
    CHECK_FALSE(plan.refusal);
    CHECK(plan.predicted["lease_holder_death"]["lost_share"] == row.lost_with_lease_holder);
    const Json service = cluster.service()["spec"];
    reach(cluster, autoscaling);
    CHECK(cluster.snapshot.horizontalpodautoscalers[0]["spec"]["minReplicas"] == row.replicas);
    for (const auto& [key, value] : service.items())
      CHECK(cluster.service()["spec"][key] == value);
    reach(cluster, packaged);
    CHECK(cluster.service()["spec"] == service);
  }
}

TEST_CASE("plan: a count that somebody else set stays theirs on the way back") {
  SimulatedCluster cluster(3);
  reach(cluster, autoscaling);
  cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 4, "kubectl");
  cluster.settle();
  const Plan plan = make_plan(packaged, cluster.snapshot);
  REQUIRE(plan.warnings.size() == 1);
  CHECK(plan.warnings[0].find("kubectl set them") != std::string::npos);
  carry_out(cluster, plan);
  CHECK(cluster.losses == std::vector<std::string>{});
  CHECK(cluster.deployment()["spec"]["replicas"] == 4);
}

TEST_CASE("plan: whose fields may be taken") {
  CHECK(may_force("deploy", ".spec.strategy.rollingUpdate.maxSurge"));
  CHECK(may_force("deploy@server-1", ".spec.replicas"));
  CHECK(may_force("k3s-core-ha", ".spec.replicas"));
  CHECK(may_force("kube-controller-manager", ".spec.replicas"));
  CHECK_FALSE(may_force("kube-controller-manager", ".spec.paused"));
  CHECK_FALSE(may_force("kubectl", ".spec.replicas"));
  CHECK_FALSE(may_force("deployer", ".spec.replicas"));
}

TEST_CASE("plan: a count that somebody else's autoscaler goes on with is not set back") {
  SimulatedCluster cluster(3);
  reach(cluster, autoscaling);
  cluster.snapshot.horizontalpodautoscalers[0]["metadata"]["name"] = "theirs";
  cluster.set_field(cluster.deployment(), {"f:spec", "f:replicas"}, 3, "kube-controller-manager");
  const Plan plan = make_plan(packaged, cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  carry_out(cluster, plan);
  CHECK(cluster.losses == std::vector<std::string>{});
  CHECK(cluster.serving() == 3);
}

TEST_CASE("plan: a server that disables CoreDNS is told of") {
  SimulatedCluster cluster(3);
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server","--disable","coredns"])";
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  REQUIRE(plan.warnings.size() == 1);
  CHECK(plan.warnings[0].find("--disable coredns on server-1") != std::string::npos);
}

// SPDX-License-Identifier: GPL-3.0-or-later
//
// What people do by hand to have another CoreDNS than k3s's, and what comes of it: each row as a cluster that it
// leaves.
#include "ha/strategies/rivals.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/state.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/coredns_view.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/own_metrics_server.h"
#include "ha/strategies/shipped.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

constexpr const char* owner = "objectset.rio.cattle.io/owner-name";

/// k3s applied CoreDNS's Deployment and ConfigMap from this AddOn's file last, and the Service from that one's.
void apply_by(SimulatedCluster& cluster, const char* addon, const char* service = "coredns") {
  cluster.deployment()["metadata"]["annotations"][owner] = addon;
  for (auto& config : cluster.snapshot.configmaps)
    config["metadata"]["annotations"][owner] = addon;
  cluster.service()["metadata"]["annotations"][owner] = service;
}

SimulatedCluster shipped_by(const char* addon, const char* service = "coredns") {
  SimulatedCluster cluster(3);
  cluster.stage();
  apply_by(cluster, addon, service);
  return cluster;
}

void disable(SimulatedCluster& cluster) {
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server", "--disable=coredns"])";
  cluster.snapshot.manifests = Json::object();
  stage_own(cluster.snapshot);
}

bool is_said(const std::vector<std::string>& sentences, const std::string& words) {
  return std::any_of(sentences.begin(), sentences.end(),
                     [&](const auto& sentence) { return sentence.find(words) != std::string::npos; });
}

Spec by_strategy(const char* strategy) {
  return wish({{"coredns_strategy", strategy}});
}

/// Nothing is built on it, and it does not keep anybody from what k3s ships.
void check_refused(const SimulatedCluster& cluster, const std::string& words, const OnNodes& on_nodes = {}) {
  for (const char* strategy : {"autoscaling", "replicas", "daemonset"}) {
    CAPTURE(strategy);
    const Plan plan = make_plan(by_strategy(strategy), cluster.snapshot, {}, on_nodes);
    CHECK(refusal_of(plan, ExitStatus::conflict).find(words) != std::string::npos);
  }
  const Plan plan = make_plan(packaged, cluster.snapshot, {}, on_nodes);
  CHECK_FALSE(plan.refusal);
  CHECK(plan.steps.empty());
  CHECK(is_said(plan.warnings, words));
}

}  // namespace

TEST_CASE("by hand: an own file beside k3s's, at run time, or after a start with both") {
  check_refused(
      shipped_by("my-dns"),
      "apps/v1 Deployment kube-system/coredns was applied by k3s from a file of somebody's, AddOn my-dns, and "
      "is in k3s's own coredns.yaml, too: each sets the other's values back, at every start of a server or "
      "every 15 s. Remove the file on every server, and restart k3s on one; what it is for can be "
      "coredns_manifest, under strategy custom.");
  check_refused(shipped_by("coredns", "my-dns"), "Service kube-system/kube-dns was applied by k3s from a file");
  // Taken back by a start of k3s without that file.
  CHECK_FALSE(make_plan(autoscaling, shipped_by("coredns").snapshot).refusal);
}

TEST_CASE("by hand: an own file that k3s applies before its own shows where it lies") {
  SimulatedCluster cluster = shipped_by("coredns");
  cluster.snapshot.rivals = {
      {{"metadata", {{"name", "a-dns.yaml"}}}, {"manifest", "coredns"}, {"object", "v1 Service kube-system/kube-dns"}}};
  check_refused(
      cluster,
      "a-dns.yaml among k3s's manifests on this server declares v1 Service kube-system/kube-dns, as k3s's own "
      "coredns.yaml does: each sets");
  // Strategy custom would be set back by it, too.
  cluster.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns";
  CHECK(refusal_of(make_plan(by_strategy("custom"), cluster.snapshot), ExitStatus::conflict)
            .find("as what strategy custom applies does") != std::string::npos);
}

TEST_CASE("by hand: an own file in the place of a disabled one is taken for k3s's, whatever order it came in") {
  SimulatedCluster cluster = shipped_by("my-dns", "my-dns");
  disable(cluster);
  const Plan plan = make_plan(by_replicas, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK_FALSE(is_said(plan.warnings, "--disable"));
  reach(cluster, by_replicas);
  CHECK(cluster.serving() == 3);
  reach(cluster, packaged);
  check_packaged(cluster);

  SUBCASE("and enabled again it is a fight") {
    cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server"])";
    check_refused(cluster, "AddOn my-dns, and is in k3s's own coredns.yaml, too");
  }
  SUBCASE("and strategy custom says what may set it back") {
    cluster.node(0)["metadata"]["annotations"][set_aside_annotation] = "coredns";
    const Plan custom = make_plan(by_strategy("custom"), cluster.snapshot);
    CHECK_FALSE(custom.refusal);
    CHECK(is_said(custom.warnings, "AddOn my-dns: where that still is, it sets back what strategy custom changes."));
  }
}

TEST_CASE("by hand: an own file behind a .skip is taken for k3s's only if that is on every server") {
  SimulatedCluster cluster = shipped_by("my-dns", "my-dns");
  cluster.node(1)["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = "true";
  const OnNodes everywhere{.set_aside = {{"server-1", {"coredns"}}, {"agent-1", {"coredns"}}}};
  CHECK_FALSE(make_plan(by_replicas, cluster.snapshot, {}, everywhere).refusal);
  check_refused(cluster, "AddOn my-dns", {.set_aside = {{"server-1", {"coredns"}}, {"agent-1", {}}}});
}

TEST_CASE("by hand: a file of the same AddOn prunes what k3s's own applied") {
  SimulatedCluster cluster = shipped_by("coredns");
  cluster.snapshot.rivals = {{{"metadata", {{"name", "coredns.ha.yaml"}}}, {"manifest", "coredns"}, {"addon", true}}};
  check_refused(cluster,
                "coredns.ha.yaml among k3s's manifests on this server is AddOn coredns to k3s, as its own coredns.yaml "
                "is, and each prunes what the other one applied. Give it a name that does not begin with coredns and a "
                "dot, on every server, and restart k3s on one.");
}

TEST_CASE("by hand: a .skip left behind, and CoreDNS with it") {
  const SimulatedCluster before = shipped_by("coredns");
  SimulatedCluster cluster = before;
  for (Json* list : {&cluster.snapshot.deployments, &cluster.snapshot.replicasets, &cluster.snapshot.pods,
                     &cluster.snapshot.services, &cluster.snapshot.configmaps, &cluster.snapshot.serviceaccounts,
                     &cluster.snapshot.clusterroles, &cluster.snapshot.clusterrolebindings})
    *list = Json::array();
  cluster.node(0)["status"]["addresses"] = Json::array({{{"type", "InternalIP"}, {"address", "10.0.0.1"}}});
  const OnNodes skipped{.set_aside = {{"server-1", {"coredns"}}}};
  const std::string words =
      "apps/v1 Deployment kube-system/coredns is not there, and coredns.yaml.skip on server-1 keeps k3s from making "
      "it: "
      "remove the file, or have strategy custom make one.";
  for (const char* strategy : {"autoscaling", "replicas", "daemonset"})
    CHECK(refusal_of(make_plan(by_strategy(strategy), cluster.snapshot, {}, skipped), ExitStatus::unsafe) == words);
  CHECK(is_said(make_plan(packaged, cluster.snapshot, {}, skipped).warnings, words));

  const Spec custom = wish({{"coredns_strategy", "custom"}, {"coredns_replicas", 3}});
  carry_out(cluster, make_plan(custom, cluster.snapshot, {}, skipped));
  reach(cluster, custom);
  CHECK(cluster.serving() == 3);
  CHECK(cluster.snapshot.serviceaccounts.size() == 1);  // which says nothing but its name
  const Json* config = cluster::find_named(cluster.snapshot.configmaps, "coredns");
  REQUIRE(config != nullptr);
  CHECK(config->at("data")["NodeHosts"] == "10.0.0.1 server-1\n");
  CHECK(cluster.service()["spec"]["clusterIP"] == before.snapshot.services[0]["spec"]["clusterIP"]);
  reach(cluster, packaged);
  CHECK(cluster.serving() == 1);
  CHECK(cluster::applied_fields(cluster.deployment(), kube::field_manager).empty());
}

TEST_CASE("by hand: a Service, or what else k3s makes at its next start alone, is made again as k3s ships it") {
  for (const Spec& spec : {by_replicas, packaged}) {
    CAPTURE(spec.coredns_strategy);
    SimulatedCluster cluster = shipped_by("coredns");
    reach(cluster, spec);
    const Json service = cluster.service()["spec"];
    cluster.snapshot.services = Json::array();
    cluster.snapshot.configmaps.erase(
        std::remove_if(cluster.snapshot.configmaps.begin(), cluster.snapshot.configmaps.end(),
                       [](const Json& object) { return object["metadata"]["name"] == "coredns"; }),
        cluster.snapshot.configmaps.end());
    const Plan plan = make_plan(spec, cluster.snapshot);
    REQUIRE_FALSE(plan.refusal);
    for (const auto& step : plan.steps)
      CHECK(step.stays_done);
    carry_out(cluster, plan);
    CHECK(cluster.service()["spec"] == service);
    CHECK(cluster::applied_fields(cluster.service(), kube::field_manager).size() == (all_packaged(spec) ? 0 : 1));
    const Json* config = cluster::find_named(cluster.snapshot.configmaps, "coredns");
    REQUIRE(config != nullptr);
    CHECK(config->at("data").contains("NodeHosts"));
    CHECK(cluster::applied_fields(*config, kube::field_manager).empty());
    CHECK(make_plan(spec, cluster.snapshot).steps.empty());
  }
  // Where one server was told to do without, it may be about to go.
  SimulatedCluster leaving = shipped_by("coredns");
  leaving.node(1)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server", "--disable=coredns"])";
  leaving.snapshot.services = Json::array();
  CHECK(is_said(make_plan(by_replicas, leaving.snapshot).warnings, "kube-dns is missing: nobody is sent to CoreDNS."));
}

TEST_CASE("by hand: an own metrics-server beside k3s's is left alone, and CoreDNS does not wait for it") {
  SimulatedCluster cluster = shipped_by("coredns");
  cluster.ship_metrics_server();
  cluster.deployment(1)["metadata"]["annotations"][owner] = "my-metrics";
  const Plan plan = make_plan(autoscaling, cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(is_said(plan.warnings, "AddOn my-metrics, and is in k3s's own metrics-server-deployment.yaml, too"));
  const auto steps = ids(plan);
  CHECK(std::none_of(steps.begin(), steps.end(), [](const auto& id) { return id.starts_with("metrics-server"); }));
  cluster.deployment(1)["metadata"]["annotations"][owner] = cluster::metrics_server_manifest;
  CHECK(make_plan(autoscaling, cluster.snapshot).warnings.empty());
}

TEST_CASE("by hand: a .skip left behind, and metrics-server with it") {
  SimulatedCluster cluster(3);
  cluster.snapshot.manifests[cluster::metrics_server_manifest] = Json::array();
  for (const auto& object : own_metrics_server_objects(cluster.snapshot))
    if (object["kind"] == "Deployment" || object["kind"] == "ServiceAccount")
      cluster.snapshot.manifests[cluster::metrics_server_manifest].push_back(object);
  const OnNodes skipped{.set_aside = {{"server-1", {cluster::metrics_server_manifest}}}};
  CHECK(is_said(make_plan(shipped_dns, cluster.snapshot, {}, skipped).warnings,
                "metrics-server-deployment.yaml.skip on server-1 keeps k3s from making it"));
  const Spec custom = wish({{"coredns_strategy", "packaged"}, {"metrics_server_strategy", "custom"}});
  carry_out(cluster, make_plan(custom, cluster.snapshot, {}, skipped));
  carry_out(cluster, make_plan(custom, cluster.snapshot));
  CHECK(make_plan(custom, cluster.snapshot).steps.empty());
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 2);
  CHECK(cluster.snapshot.serviceaccounts.size() == 1);
  CHECK(cluster.snapshot.services.size() == 1);  // k3s's own manifests have the others
}

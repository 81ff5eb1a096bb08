// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/own_metrics_server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/absent.h"
#include "ha/strategies/metrics_server.h"
#include "ha/strategies/shipped.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

const Json no_metrics = {"server", "--disable=traefik,metrics-server"};

/// One whose server was started with these words, and that has no metrics-server.
SimulatedCluster without_metrics(int nodes, const Json& args = no_metrics) {
  SimulatedCluster cluster(nodes);
  Json& annotations = cluster.node(0)["metadata"]["annotations"];
  annotations["k3s.io/node-args"] = args.dump();
  annotations[set_aside_annotation] = cluster::metrics_server_manifest;
  cluster.snapshot.apiservices = Json::array();
  stage_own(cluster.snapshot);
  return cluster;
}

Spec custom_metrics() {
  return wish({{"coredns_strategy", "packaged"}, {"metrics_server_strategy", "custom"}});
}

SimulatedCluster with_own_metrics(int nodes) {
  SimulatedCluster cluster = without_metrics(nodes);
  carry_out(cluster, make_plan(custom_metrics(), cluster.snapshot));
  return cluster;
}

/// Every list that an object of metrics-server's may be in.
std::vector<Json*> lists_of(cluster::Snapshot& snapshot) {
  return {
      &snapshot.deployments,         &snapshot.services,     &snapshot.serviceaccounts, &snapshot.clusterroles,
      &snapshot.clusterrolebindings, &snapshot.rolebindings, &snapshot.apiservices,     &snapshot.poddisruptionbudgets};
}

/// What is ours of it, without CoreDNS's.
std::vector<std::string> ours_in(SimulatedCluster cluster) {
  std::vector<std::string> names;
  for (const Json* list : lists_of(cluster.snapshot))
    for (const auto& object : *list)
      if (!cluster::applied_fields(object, kube::field_manager).empty())
        names.push_back(kube::to_string(kube::ref_of(object)));
  return names;
}

Json& live_of(SimulatedCluster& cluster, const Json& object) {
  for (Json* list : lists_of(cluster.snapshot))
    for (auto& live : *list)
      if (kube::ref_of(live) == kube::ref_of(object)) return live;
  FAIL(kube::to_string(kube::ref_of(object)));
  return cluster.snapshot.nodes;
}

/// k3s was started anew, without the flag: what is not set aside it takes for its own.
void ship_again(SimulatedCluster& cluster, bool applied) {
  Json& annotations = cluster.node(0)["metadata"]["annotations"];
  annotations["k3s.io/node-args"] = Json::array({"server"}).dump();
  Json aside = Json::array();
  for (Json object : own_metrics_server_objects(cluster.snapshot)) {
    if (object["kind"] == "ServiceAccount") object["metadata"].erase("labels");
    if (object["kind"] == "Deployment" || object["kind"] == "ServiceAccount")
      aside.push_back(std::move(object));
    else if (applied)
      live_of(cluster, object)["metadata"]["annotations"][cluster::applied_annotation] = object.dump();
  }
  cluster.snapshot.manifests[cluster::metrics_server_manifest] = std::move(aside);
}

}  // namespace

TEST_CASE("own metrics-server: what k3s would fill into its manifest is in ours") {
  const auto container_of = [](const Json& args) {
    const SimulatedCluster cluster = without_metrics(1, args);
    for (const auto& object : cluster.snapshot.manifests[cluster::metrics_server_manifest])
      if (object["kind"] == "Deployment") return object["spec"]["template"]["spec"]["containers"][0];
    return Json();
  };
  const Json usual = container_of(no_metrics);
  CHECK(usual["image"].get<std::string>().starts_with("rancher/mirrored-metrics-server:v"));
  CHECK(usual["args"][2] == "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname");
  const Json other = container_of(
      {"server", "--disable", "metrics-server", "--flannel-external-ip", "--system-default-registry=registry.example"});
  CHECK(other["image"].get<std::string>().starts_with("registry.example/rancher/mirrored-metrics-server:v"));
  CHECK(other["args"][2] == "--kubelet-preferred-address-types=ExternalIP,InternalIP,Hostname");
  CHECK(without_metrics(1, {"server"}).snapshot.manifests.empty());
}

TEST_CASE("own metrics-server: made whole and asked last, kept, and not taken away") {
  SimulatedCluster cluster = without_metrics(3);
  const Plan plan = make_plan(custom_metrics(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(plan.components["metrics_server"]["strategy"].is_null());
  const auto steps = ids(plan);
  REQUIRE(steps.size() > 4);
  CHECK(std::vector<std::string>(steps.end() - 4, steps.end()) ==
        std::vector<std::string>{"metrics-server-deployment", "metrics-server-rollout", "metrics-server-budget",
                                 "metrics-server-apiservices-v1beta1.metrics.k8s.io"});
  carry_out(cluster, plan);
  reach(cluster, custom_metrics());
  CHECK(ours_in(cluster).size() == own_metrics_server_objects(cluster.snapshot).size() + 1);  // with a budget
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 2);
  CHECK(cluster.deployment(1)["spec"]["template"]["spec"]["affinity"].contains("podAntiAffinity"));
  CHECK(make_plan(custom_metrics(), cluster.snapshot).components["metrics_server"]["strategy"] == "custom");

  // With a node that is down there is nothing to do either.
  cluster.silence(2, 60);
  const Plan down = make_plan(custom_metrics(), cluster.snapshot);
  CHECK(down.steps.empty());
  CHECK(down.unmet.empty());

  for (const char* strategy : {"packaged", "replicas"})
    CHECK(refusal_of(make_plan(wish({{"coredns_strategy", "packaged"}, {"metrics_server_strategy", strategy}}),
                               cluster.snapshot),
                     ExitStatus::unsafe)
              .find("started with --disable metrics-server on server-1") != std::string::npos);
}

TEST_CASE("own metrics-server: one on one node, with nothing that keeps it from a second") {
  SimulatedCluster cluster = with_own_metrics(1);
  reach(cluster, custom_metrics());
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 1);
  const Json pod = cluster.deployment(1)["spec"]["template"]["spec"];
  CHECK_FALSE(pod.contains("affinity"));
  CHECK(pod["containers"][0]["args"].size() == 5);
  cluster.join("agent-1");
  reach(cluster, custom_metrics());
  CHECK(cluster.deployment(1)["spec"]["replicas"] == 2);
  CHECK(cluster.deployment(1)["spec"]["template"]["spec"].contains("affinity"));
}

TEST_CASE("own metrics-server: only strategy custom makes it, and only where no server ships k3s's") {
  SimulatedCluster cluster = without_metrics(3);
  cluster.node(0)["metadata"]["annotations"].erase(set_aside_annotation);
  CHECK(ids(make_plan(shipped_dns, cluster.snapshot)).empty());
  CHECK(ids(make_plan(packaged, cluster.snapshot)).empty());

  SimulatedCluster mixed = without_metrics(3);
  mixed.node(1)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server"])";
  mixed.snapshot.manifests = {{cluster::metrics_server_manifest, Json::array()}};
  const Plan plan = make_plan(custom_metrics(), mixed.snapshot);
  CHECK(ids(plan).empty());
  REQUIRE_FALSE(plan.warnings.empty());
  CHECK(plan.warnings.back() ==
        "apps/v1 Deployment kube-system/metrics-server is not there: k3s was started with --disable metrics-server on "
        "server-1. Where every server was, strategy custom makes one.");
}

TEST_CASE("own metrics-server: somebody else's metrics are left to him") {
  SimulatedCluster cluster = without_metrics(3);
  cluster.apply({{"apiVersion", "apiregistration.k8s.io/v1"},
                 {"kind", "APIService"},
                 {"metadata", {{"name", "v1beta1.metrics.k8s.io"}}},
                 {"spec", {{"service", {{"name", "prometheus-adapter"}, {"namespace", "monitoring"}}}}}},
                "helm");
  CHECK(refusal_of(make_plan(custom_metrics(), cluster.snapshot), ExitStatus::conflict).find("held by helm") !=
        std::string::npos);
  SimulatedCluster other = without_metrics(3);
  other.ship_metrics_server();
  other.deployment(1)["metadata"].erase("annotations");
  const Plan plan = make_plan(custom_metrics(), other.snapshot);
  CHECK(ids(plan).empty());
  REQUIRE_FALSE(plan.warnings.empty());
  CHECK(plan.warnings.front().find("is not the one that k3s ships") != std::string::npos);
}

TEST_CASE("own metrics-server: stopped anywhere, the next run goes on, or clears it away, and a failed one goes back") {
  const SimulatedCluster start = without_metrics(3);
  const Plan whole = make_plan(custom_metrics(), start.snapshot);
  std::ptrdiff_t made = 0;
  while (whole.steps[static_cast<std::size_t>(made)].object != metrics_server.deployment)
    ++made;
  for (std::size_t done = 0; done <= whole.steps.size(); ++done) {
    CAPTURE(done);
    SimulatedCluster cluster = start;
    carry_out(cluster, whole, done);
    SimulatedCluster failed = cluster;
    SimulatedCluster other = cluster;
    carry_out(cluster, make_plan(custom_metrics(), cluster.snapshot));
    reach(cluster, custom_metrics());
    CHECK(cluster.deployment(1)["spec"]["replicas"] == 2);
    CHECK(cluster.snapshot.apiservices.size() == 1);

    carry_out(failed, plan_way_back(start.snapshot, failed.snapshot));
    CHECK(ours_in(failed).empty());
    CHECK(failed.snapshot.deployments.size() == 1);
    CHECK(failed.snapshot.apiservices.empty());

    if (static_cast<std::ptrdiff_t>(done) > made) continue;
    reach(other, packaged);
    CHECK(ours_in(other).empty());
    CHECK(other.snapshot.services.size() == 1);
  }
}

TEST_CASE("own metrics-server: shipped by k3s again, it is given to it, and metrics are there all along") {
  const std::vector<Spec> goals{
      packaged, shipped_dns,
      wish({{"coredns_strategy", "packaged"}, {"metrics_server_strategy", "custom"}, {"metrics_server_replicas", 3}})};
  for (const bool applied : {true, false}) {
    for (const auto& goal : goals) {
      CAPTURE(applied);
      CAPTURE(goal.metrics_server_strategy);
      SimulatedCluster cluster = with_own_metrics(3);
      const auto values = [&] {
        std::vector<Json> found;
        for (const auto& object : own_metrics_server_objects(cluster.snapshot))
          if (object["kind"] != "Deployment" && object["kind"] != "ServiceAccount") {
            found.push_back(live_of(cluster, object));
            found.back()["metadata"].erase("managedFields");
            found.back()["metadata"].erase("annotations");
          }
        return found;
      };
      const auto before = values();
      ship_again(cluster, applied);
      reach(cluster, goal);
      CHECK(values() == before);
      CHECK_FALSE(cluster.snapshot.serviceaccounts.at(0)["metadata"].contains("labels"));
      const bool custom = goal.metrics_server_strategy == "custom";
      const bool none = goal.metrics_server_strategy == "packaged";
      CHECK(ours_in(cluster).size() == (none ? 0 : 2));  // the Deployment and its budget
      CHECK(cluster.deployment(1)["spec"]["replicas"] == (none ? 1 : custom ? 3 : 2));
      CHECK(is_taken_over(cluster.deployment(1)) == custom);
      reach(cluster, packaged);
      CHECK(ours_in(cluster).empty());
    }
  }
}

TEST_CASE("own metrics-server: a failed way back to k3s's is ours again") {
  SimulatedCluster start = with_own_metrics(3);
  ship_again(start, true);
  const std::size_t points = make_plan(packaged, start.snapshot).steps.size();
  for (std::size_t point = 0; point <= points; ++point) {
    CAPTURE(point);
    SimulatedCluster cluster = start;
    carry_out(cluster, make_plan(packaged, cluster.snapshot), point);
    carry_out(cluster, plan_way_back(start.snapshot, cluster.snapshot));
    CHECK(cluster.losses == std::vector<std::string>{});
    CHECK(cluster.deployment(1)["spec"] == start.deployment(1)["spec"]);
    reach(cluster, packaged);
    CHECK(ours_in(cluster).empty());
  }
}

TEST_CASE("own metrics-server: a lone one is not replaced while nobody else answers") {
  SimulatedCluster cluster = with_own_metrics(1);
  const Spec image =
      wish({{"coredns_strategy", "packaged"}, {"metrics_server_strategy", "custom"}, {"metrics_server_image", "own"}});
  const std::vector<std::string> there{"metrics-server-scale",   "metrics-server-scaled",   "metrics-server-overlay",
                                       "metrics-server-rollout", "metrics-server-scale-in", "metrics-server-scaled-in"};
  CHECK(ids(make_plan(image, cluster.snapshot)) == there);
  SUBCASE("and stopped anywhere it is a lone one in the end") {
    for (std::size_t done = 0; done <= there.size() + 1; ++done) {
      SimulatedCluster stopped = cluster;
      carry_out(stopped, make_plan(image, stopped.snapshot), done);
      reach(stopped, image);
      CHECK(stopped.deployment(1)["spec"]["replicas"] == 1);
      CHECK(stopped.deployment(1)["spec"]["template"]["spec"]["containers"][0]["image"] == "own");
    }
  }
  SUBCASE("and on the way back") {
    reach(cluster, image);
    ship_again(cluster, true);
    const auto back = ids(make_plan(packaged, cluster.snapshot));
    CHECK(std::count(back.begin(), back.end(), "metrics-server-scale") == 1);
    reach(cluster, packaged);
    CHECK(cluster.deployment(1)["spec"]["replicas"] == 1);
    CHECK(ours_in(cluster).empty());
  }
  SUBCASE("but where there is no room for another") {
    cluster.node(0)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    cluster.snapshot.usage = {
        {"server-1", Json::array({{{"priority", 0}, {"cpu", 3.95}, {"memory", 0}, {"pods", 1}}})}};
    CHECK(ids(make_plan(image, cluster.snapshot)) ==
          std::vector<std::string>{"metrics-server-overlay", "metrics-server-rollout"});
  }
  SUBCASE("and not where its pods stay as they are") {
    ship_again(cluster, true);
    const auto back = ids(make_plan(packaged, cluster.snapshot));
    CHECK(std::count(back.begin(), back.end(), "metrics-server-scale") == 0);
  }
}

TEST_CASE("own metrics-server: its manifests are whole and kept from tools") {
  const SimulatedCluster cluster = without_metrics(3);
  const auto objects = manifests(make_plan(custom_metrics(), cluster.snapshot));
  for (const auto& own : own_metrics_server_objects(cluster.snapshot)) {
    const auto found = std::find_if(objects.begin(), objects.end(),
                                    [&](const Json& object) { return kube::ref_of(object) == kube::ref_of(own); });
    REQUIRE(found != objects.end());
    CHECK((*found)["metadata"]["annotations"].contains(keep_annotation));
    if (own["kind"] == "Deployment") CHECK((*found)["spec"]["replicas"] == 2);
  }
}

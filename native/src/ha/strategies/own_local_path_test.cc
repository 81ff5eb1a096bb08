// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/own_local_path.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan.h"
#include "ha/plan_testing.h"
#include "ha/strategies/local_path.h"
#include "ha/strategies/shipped.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

/// One whose server was started with these words, and that has no local-path-provisioner; the first nodes carry the
/// helper.
SimulatedCluster without_volumes(int nodes, int carriers,
                                 const Json& args = {"server", "--disable=traefik,local-storage"}) {
  SimulatedCluster cluster(nodes);
  for (int i = 0; i < carriers; ++i)
    cluster.node(i)["metadata"]["labels"][cluster::carries_label] = "0.1.0";
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = args.dump();
  return cluster;
}

Spec volumes_by(const char* strategy) {
  return wish({{"coredns_strategy", "packaged"},
               {"metrics_server_strategy", "packaged"},
               {"local_path_provisioner_strategy", strategy}});
}

SimulatedCluster with_own(int nodes, int carriers) {
  SimulatedCluster cluster = without_volumes(nodes, carriers);
  reach(cluster, volumes_by("custom"));
  return cluster;
}

std::vector<Json*> lists_of_volumes(cluster::Snapshot& snapshot) {
  return {&snapshot.deployments,  &snapshot.configmaps,          &snapshot.serviceaccounts,
          &snapshot.clusterroles, &snapshot.clusterrolebindings, &snapshot.storageclasses};
}

Json* live_object(SimulatedCluster& cluster, const kube::ObjectRef& ref) {
  for (Json* list : lists_of_volumes(cluster.snapshot))
    for (auto& live : *list)
      if (kube::ref_of(live) == ref) return &live;
  return nullptr;
}

/// The objects of k3s's manifest of which fields are ours.
std::vector<std::string> ours_of_volumes(SimulatedCluster& cluster) {
  std::vector<std::string> names;
  for (const auto& own : own_local_path_objects(cluster.snapshot)) {
    const Json* live = live_object(cluster, kube::ref_of(own));
    if (live != nullptr && !cluster::applied_fields(*live, kube::field_manager).empty()) names.push_back(own["kind"]);
  }
  return names;
}

int pods_with(SimulatedCluster& cluster, const std::string& app) {
  return static_cast<int>(
      std::count_if(cluster.snapshot.pods.begin(), cluster.snapshot.pods.end(),
                    [&](const Json& pod) { return pod["metadata"]["labels"].value("app", "") == app; }));
}

void check_aside(SimulatedCluster& cluster, int standbys) {
  CHECK(pods_with(cluster, local_path_standby.name) == standbys);
  CHECK(pods_with(cluster, "local-path-provisioner") == 0);
  CHECK((*live_object(cluster, local_path.deployment))["spec"]["replicas"] == 0);
  CHECK(cluster.losses == std::vector<std::string>{});
}

void check_no_volumes(SimulatedCluster& cluster) {
  CHECK(ours_of_volumes(cluster).empty());
  CHECK(live_object(cluster, local_path.deployment) == nullptr);
  CHECK(pods_with(cluster, local_path_standby.name) == 0);
  CHECK(cluster.snapshot.storageclasses.empty());
  CHECK(cluster.snapshot.roles.empty());
  CHECK(cluster.snapshot.leases.empty());
}

/// k3s was started anew, without the flag: it takes what is there for its own, and sets what its manifest declares.
void ship_volumes_again(SimulatedCluster& cluster, bool applied) {
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = Json::array({"server"}).dump();
  if (!applied) return;
  for (Json object : own_local_path_objects(cluster.snapshot)) {
    if (object["kind"] == "ServiceAccount") object["metadata"].erase("labels");
    (*live_object(cluster, kube::ref_of(object)))["metadata"]["annotations"][cluster::applied_annotation] =
        object.dump();
  }
}

Json own_of_kind(const cluster::Snapshot& snapshot, const char* kind) {
  for (const auto& object : own_local_path_objects(snapshot))
    if (object["kind"] == kind) return object;
  return {};
}

}  // namespace

TEST_CASE("own local-path: what k3s would fill into its manifest is in ours") {
  const auto usual = without_volumes(1, 0).snapshot;
  CHECK(own_of_kind(usual, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
            .get<std::string>()
            .starts_with("rancher/local-path-provisioner:v"));
  const auto paths_of = [](const cluster::Snapshot& snapshot) {
    return Json::parse(
        own_of_kind(snapshot, "ConfigMap")["data"]["config.json"].get<std::string>())["nodePathMap"][0]["paths"];
  };
  CHECK(paths_of(usual) == Json::array({"/var/lib/rancher/k3s/storage"}));
  const auto other = without_volumes(1, 0,
                                     {"server", "--disable", "local-storage", "--data-dir=/data",
                                      "--system-default-registry", "registry.example"})
                         .snapshot;
  CHECK(paths_of(other) == Json::array({"/data/storage"}));
  const Json pod = Json::parse(own_of_kind(other, "ConfigMap")["data"]["helperPod.yaml"].get<std::string>());
  CHECK(pod["spec"]["containers"][0]["image"].get<std::string>().starts_with("registry.example/rancher/"));
  CHECK(paths_of(without_volumes(1, 0, {"server", "--default-local-storage-path=/volumes"}).snapshot) ==
        Json::array({"/volumes"}));
}

TEST_CASE("own local-path: its class is the default one where there is no other") {
  SimulatedCluster cluster = without_volumes(3, 2);
  const char* is_default = "storageclass.kubernetes.io/is-default-class";
  CHECK(own_of_kind(cluster.snapshot, "StorageClass")["metadata"]["annotations"].value(is_default, "") == "true");
  const auto add = [&](const char* value) {
    cluster.snapshot.storageclasses =
        Json::array({{{"apiVersion", "storage.k8s.io/v1"},
                      {"kind", "StorageClass"},
                      {"metadata", {{"name", "longhorn"}, {"annotations", Json::object()}}}}});
    cluster.snapshot.storageclasses[0]["metadata"]["annotations"][is_default] = value;
  };
  add("false");
  CHECK(own_of_kind(cluster.snapshot, "StorageClass")["metadata"]["annotations"].contains(is_default));
  add("true");
  CHECK_FALSE(own_of_kind(cluster.snapshot, "StorageClass")["metadata"]["annotations"].contains(is_default));
}

TEST_CASE("own local-path: set aside before any of ours is there, kept, and not taken away") {
  SimulatedCluster cluster = without_volumes(3, 2);
  const Plan plan = make_plan(volumes_by("custom"), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  const auto steps = ids(plan);
  const auto at = [&](const char* id) { return std::find(steps.begin(), steps.end(), id) - steps.begin(); };
  CHECK(at("local-path-storageclasses") < at("local-path-aside"));
  CHECK(at("local-path-aside") < at("local-path-standby"));
  CHECK(at("local-path-standby") < at("local-path-rollout"));
  reach(cluster, volumes_by("custom"));
  check_aside(cluster, 2);
  CHECK(ours_of_volumes(cluster).size() == own_local_path_objects(cluster.snapshot).size());
  CHECK(make_plan(volumes_by("custom"), cluster.snapshot).components["local_path_provisioner"]["strategy"] == "custom");
  // Whoever raises the count gets nothing by it.
  (*live_object(cluster, local_path.deployment))["spec"]["replicas"] = 1;
  reach(cluster, volumes_by("custom"));
  check_aside(cluster, 2);
  for (const char* strategy : {"packaged", "replicas", "helm"})
    CHECK(refusal_of(make_plan(wish({{"coredns_strategy", "packaged"},
                                     {"local_path_provisioner_strategy", strategy},
                                     {"local_path_provisioner_chart", {{"content", "H4sIAAAA"}}}}),
                               cluster.snapshot),
                     ExitStatus::unsafe)
              .find("started with --disable local-storage on server-1") != std::string::npos);
}

TEST_CASE("own local-path: one on one node, and none where nobody carries the helper") {
  SimulatedCluster one = with_own(1, 1);
  check_aside(one, 1);
  SimulatedCluster none = without_volumes(3, 0);
  const Plan plan = make_plan(volumes_by("custom"), none.snapshot);
  CHECK(ids(plan) == std::vector<std::string>{});
  REQUIRE_FALSE(plan.warnings.empty());
  CHECK(plan.warnings.front().find("none is made") != std::string::npos);
}

TEST_CASE("own local-path: only strategy custom makes it, and only where no server ships k3s's") {
  SimulatedCluster cluster = without_volumes(3, 2);
  for (const char* strategy : {"replicas", "packaged"})
    for (const auto& id : ids(make_plan(volumes_by(strategy), cluster.snapshot)))
      CHECK_FALSE(id.starts_with("local-path"));
  cluster.node(1)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server"])";
  const Plan plan = make_plan(volumes_by("custom"), cluster.snapshot);
  CHECK(ids(plan) == std::vector<std::string>{});
  REQUIRE_FALSE(plan.warnings.empty());
  CHECK(plan.warnings.back().find("Where every server was, strategy custom makes one.") != std::string::npos);
}

TEST_CASE("own local-path: where k3s ships it custom is as replicas") {
  SimulatedCluster cluster = without_volumes(3, 2, {"server"});
  cluster.ship_local_path();
  reach(cluster, volumes_by("custom"));
  check_aside(cluster, 2);
  CHECK(ours_of_volumes(cluster) == std::vector<std::string>{"Deployment"});
  CHECK_FALSE(is_taken_over(*live_object(cluster, local_path.deployment)));
  CHECK(ids(make_plan(volumes_by("replicas"), cluster.snapshot)) == std::vector<std::string>{});
}

TEST_CASE("own local-path: stopped anywhere, the next run goes on, and a failed one leaves nothing") {
  const SimulatedCluster start = without_volumes(3, 2);
  const Plan whole = make_plan(volumes_by("custom"), start.snapshot);
  for (std::size_t done = 0; done <= whole.steps.size(); ++done) {
    CAPTURE(done);
    SimulatedCluster cluster = start;
    carry_out(cluster, whole, done);
    SimulatedCluster failed = cluster;
    reach(cluster, volumes_by("custom"));
    check_aside(cluster, 2);
    const Plan way = plan_way_back(start.snapshot, failed.snapshot);
    REQUIRE_FALSE(way.refusal);
    carry_out(failed, way);
    check_no_volumes(failed);
  }
}

TEST_CASE("own local-path: shipped by k3s again, it is given to it, and one is active all along") {
  for (const bool applied : {true, false}) {
    for (const char* strategy : {"custom", "replicas", "packaged"}) {
      CAPTURE(applied);
      CAPTURE(strategy);
      SimulatedCluster cluster = with_own(3, 2);
      ship_volumes_again(cluster, applied);
      check_aside(cluster, 2);  // before any run of ours
      reach(cluster, volumes_by(strategy));
      const bool back = std::string(strategy) == "packaged";
      CHECK(ours_of_volumes(cluster) == (back ? std::vector<std::string>{} : std::vector<std::string>{"Deployment"}));
      CHECK_FALSE(is_taken_over(*live_object(cluster, local_path.deployment)));
      if (!back) check_aside(cluster, 2);
      reach(cluster, volumes_by("packaged"));
      CHECK(ours_of_volumes(cluster).empty());
      CHECK(pods_with(cluster, "local-path-provisioner") == 1);
      CHECK(pods_with(cluster, local_path_standby.name) == 0);
      const Json pod = (*live_object(cluster, local_path.deployment))["spec"]["template"]["spec"];
      CHECK(pod["containers"] == own_of_kind(cluster.snapshot, "Deployment")["spec"]["template"]["spec"]["containers"]);
      CHECK_FALSE(pod.value("affinity", Json::object()).contains("nodeAffinity"));
      CHECK(cluster.losses == std::vector<std::string>{});
    }
  }
}

TEST_CASE("own local-path: a way back to k3s's that is stopped is gone on with, and a failed one is ours again") {
  SimulatedCluster start = with_own(3, 2);
  ship_volumes_again(start, true);
  const std::size_t points = make_plan(volumes_by("packaged"), start.snapshot).steps.size();
  for (std::size_t point = 0; point <= points; ++point) {
    CAPTURE(point);
    SimulatedCluster next = start;
    carry_out(next, make_plan(volumes_by("packaged"), next.snapshot), point);
    SimulatedCluster failed = next;
    reach(next, volumes_by("packaged"));
    CHECK(ours_of_volumes(next).empty());
    CHECK(pods_with(next, "local-path-provisioner") == 1);
    const Plan way = plan_way_back(start.snapshot, failed.snapshot);
    REQUIRE_FALSE(way.refusal);
    carry_out(failed, way);
    check_aside(failed, 2);
    CHECK(is_taken_over(*live_object(failed, local_path.deployment)));
    reach(failed, volumes_by("packaged"));
    CHECK(ours_of_volumes(failed).empty());
  }
}

TEST_CASE("own local-path: deleted by hand, what is left is taken away by the next run of another wish") {
  SimulatedCluster cluster = with_own(3, 2);
  auto& deployments = cluster.snapshot.deployments;
  for (std::size_t i = 0; i < deployments.size(); ++i)
    if (kube::ref_of(deployments[i]) == local_path.deployment) deployments.erase(i--);
  reach(cluster, volumes_by("packaged"));
  check_no_volumes(cluster);
}

TEST_CASE("own local-path: its manifests are whole and kept from tools") {
  const SimulatedCluster cluster = without_volumes(3, 2);
  const auto objects = manifests(make_plan(volumes_by("custom"), cluster.snapshot));
  for (const auto& own : own_local_path_objects(cluster.snapshot)) {
    const auto found = std::find_if(objects.begin(), objects.end(),
                                    [&](const Json& object) { return kube::ref_of(object) == kube::ref_of(own); });
    REQUIRE(found != objects.end());
    CHECK((*found)["metadata"]["annotations"].contains(keep_annotation));
    if (own["kind"] == "Deployment") CHECK((*found)["spec"]["replicas"] == 0);
  }
}

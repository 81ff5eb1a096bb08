// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/local_path.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/managed_fields.h"
#include "ha/manifests.h"
#include "ha/plan_testing.h"
#include "ha/way_back.h"
#include "kube/client.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

Spec wished(const char* strategy = "replicas") {
  Spec spec = packaged_spec();
  spec.local_path_provisioner_strategy = strategy;
  return spec;
}

/// Nodes of which the first so many are servers that say that they carry the helper.
SimulatedCluster with_carriers(int nodes, int carriers) {
  SimulatedCluster cluster(nodes);
  for (int i = 0; i < carriers; ++i)
    cluster.node(i)["metadata"]["labels"][cluster::carries_label] = "0.1.0";
  cluster.ship_local_path();
  return cluster;
}

Json& packaged_of(SimulatedCluster& cluster) {
  return cluster.deployment(1);
}

std::vector<std::string> nodes_of(const SimulatedCluster& cluster, const std::string& app) {
  std::vector<std::string> nodes;
  for (const auto& pod : cluster.snapshot.pods)
    if (pod["metadata"]["labels"].value("app", "") == app) nodes.push_back(pod["spec"]["nodeName"]);
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

std::vector<std::string> steps_of(const Plan& plan) {
  std::vector<std::string> out;
  for (const auto& id : ids(plan))
    if (id.starts_with("local-path") || id.starts_with("carries")) out.push_back(id);
  return out;
}

void check_standby(SimulatedCluster& cluster, const std::vector<std::string>& nodes) {
  CHECK(nodes_of(cluster, "k3s-core-ha-local-path-provisioner") == nodes);
  CHECK(nodes_of(cluster, "local-path-provisioner").empty());
  CHECK(packaged_of(cluster)["spec"]["replicas"] == 0);
  CHECK(cluster.losses == std::vector<std::string>{});
}

void check_shipped_again(SimulatedCluster& cluster) {
  SimulatedCluster fresh = with_carriers(static_cast<int>(cluster.snapshot.nodes.size()), 0);
  CHECK(packaged_of(cluster)["spec"] == packaged_of(fresh)["spec"]);
  CHECK(nodes_of(cluster, "local-path-provisioner").size() == 1);
  CHECK(cluster.snapshot.deployments.size() == 2);
  CHECK(cluster.snapshot.roles.empty());
  CHECK(cluster.snapshot.rolebindings.empty());
  CHECK(cluster.snapshot.leases.empty());
  for (const auto& entry : packaged_of(cluster)["metadata"]["managedFields"])
    CHECK(entry["manager"] != "k3s-core-ha");
  CHECK(cluster.losses == std::vector<std::string>{});
}

Json lease_held_by(const std::string& holder) {
  return {{"apiVersion", "coordination.k8s.io/v1"},
          {"kind", "Lease"},
          {"metadata", {{"name", local_path_lease.name}, {"namespace", "kube-system"}, {"uid", "lease"}}},
          {"spec", {{"holderIdentity", holder}}}};
}

}  // namespace

TEST_CASE("local-path: left for now where its replicas would push out pods as critical as CoreDNS's") {
  for (const bool full : {false, true}) {
    SimulatedCluster cluster = with_carriers(3, 3);
    for (auto& node : cluster.snapshot.nodes) {
      node["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
      cluster.snapshot.usage[node["metadata"]["name"].get<std::string>()] = Json::array();
    }
    if (full)
      cluster.snapshot.usage["agent-1"].push_back({{"priority", 2000000000}, {"cpu", 0}, {"memory", 0}, {"pods", 110}});
    Spec spec = wished();
    spec.local_path_provisioner_replicas = 3;
    const Plan plan = make_plan(spec, cluster.snapshot);
    REQUIRE_FALSE(plan.refusal);
    CHECK(steps_of(plan).empty() == full);
    CHECK(plan.unmet.size() == (full ? 1 : 0));
  }
}

TEST_CASE("local-path: ours first, then the packaged one aside, then its pods' end; and back in reverse") {
  SimulatedCluster cluster = with_carriers(3, 2);
  const Plan plan = make_plan(wished(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(plan.components["local_path_provisioner"]["strategy"] == "packaged");
  CHECK(steps_of(plan) == std::vector<std::string>{"local-path-role", "local-path-role-binding", "local-path-standby",
                                                   "local-path-rollout", "local-path-aside", "local-path-gone"});
  reach(cluster, wished());
  check_standby(cluster, {"agent-1", "server-1"});

  const Json* standby = cluster::find_named(cluster.snapshot.deployments, local_path_standby.name);
  REQUIRE(standby != nullptr);
  const Json& pod = (*standby)["spec"]["template"]["spec"];
  CHECK(pod["containers"][0]["command"] ==
        Json({"/usr/local/bin/k3s-core-ha", "lead", "--namespace", "kube-system", "--name",
              "k3s-core-ha-local-path-provisioner", "--while-none", "app=local-path-provisioner", "--",
              "local-path-provisioner", "start", "--config", "/etc/config/config.json"}));
  CHECK_FALSE(pod["containers"][0].contains("args"));
  CHECK(pod["volumes"][1]["hostPath"]["path"] == "/usr/local/bin/k3s-core-ha");
  CHECK(pod["serviceAccountName"] == "local-path-provisioner-service-account");
  CHECK(cluster.snapshot.rolebindings[0]["subjects"][0]["name"] == "local-path-provisioner-service-account");

  cluster.snapshot.leases.push_back(lease_held_by("k3s-core-ha-local-path-provisioner-x-1_0123456789abcdef"));
  const Plan back = make_plan(packaged, cluster.snapshot);
  CHECK(back.components["local_path_provisioner"]["strategy"] == "replicas");
  CHECK(back.components["local_path_provisioner"]["active"] == "k3s-core-ha-local-path-provisioner-x-1");
  CHECK(steps_of(back) == std::vector<std::string>{"local-path-scale", "local-path-standby-gone",
                                                   "local-path-provisioner-overlay", "local-path-provisioner-rollout",
                                                   "local-path-provisioner-count", "local-path-provisioner-scaled-in",
                                                   "local-path-provisioner-count-free", "local-path-standby",
                                                   "local-path-role-binding", "local-path-role", "local-path-lease"});
  reach(cluster, packaged);
  check_shipped_again(cluster);
  for (const auto& node : cluster.snapshot.nodes)
    CHECK_FALSE(node["metadata"]["labels"].contains(cluster::carries_label));
}

TEST_CASE("local-path: stopped anywhere, the next run comes to the same end, and a failed one to what was") {
  SimulatedCluster there = with_carriers(3, 2);
  reach(there, wished());
  for (const bool back : {false, true}) {
    const SimulatedCluster start = back ? there : with_carriers(3, 2);
    const Spec goal = wished(back ? "packaged" : "replicas");
    const std::size_t points = make_plan(goal, start.snapshot).steps.size();
    for (std::size_t point = 0; point <= points; ++point) {
      CAPTURE(back);
      CAPTURE(point);
      SimulatedCluster next = start;
      carry_out(next, make_plan(goal, next.snapshot), point);
      reach(next, goal);
      SimulatedCluster failed = start;
      carry_out(failed, make_plan(goal, failed.snapshot), point);
      const Plan way = plan_way_back(start.snapshot, failed.snapshot);
      REQUIRE_FALSE(way.refusal);
      carry_out(failed, way);
      if (back) {
        check_shipped_again(next);
        check_standby(failed, {"agent-1", "server-1"});
      } else {
        check_standby(next, {"agent-1", "server-1"});
        check_shipped_again(failed);
      }
    }
  }
}

TEST_CASE("local-path: what lets two be active, if it were undone by itself, goes back by plan alone") {
  const auto by_plan = [](const Spec& spec, const SimulatedCluster& cluster) {
    std::vector<std::string> out;
    for (const auto& step : make_plan(spec, cluster.snapshot).steps)
      if (step.back_by_plan) out.push_back(step.id);
    return out;
  };
  SimulatedCluster cluster = with_carriers(3, 2);
  CHECK(by_plan(wished(), cluster) == std::vector<std::string>{"local-path-aside"});
  reach(cluster, wished());
  CHECK(by_plan(packaged, cluster) == std::vector<std::string>{"local-path-scale"});
}

TEST_CASE("local-path: the nodes that carry the helper are told, or say so") {
  SimulatedCluster cluster = with_carriers(3, 0);
  const Plan none = make_plan(wished(), cluster.snapshot);
  CHECK(steps_of(none).empty());
  REQUIRE(none.warnings.size() == 1);
  CHECK(none.warnings[0].find("No node says that it carries the helper") == 0);

  // A server that is no node, as with --disable-agent, is passed over.
  const Plan plan = make_plan(wished(), cluster.snapshot, {}, {.carriers = {"server-1", "server-2"}});
  CHECK(steps_of(plan).front() == "carries-server-1");
  CHECK(plan.warnings.empty());
  carry_out(cluster, plan);
  check_standby(cluster, {"server-1"});
  CHECK(make_plan(wished(), cluster.snapshot, {}, {.carriers = {"server-1", "server-2"}}).steps.empty());
  SimulatedCluster failed = with_carriers(3, 0);
  const cluster::Snapshot before = failed.snapshot;
  carry_out(failed, plan);
  carry_out(failed, plan_way_back(before, failed.snapshot));
  check_shipped_again(failed);
  CHECK_FALSE(failed.node(0)["metadata"]["labels"].contains(cluster::carries_label));
  CHECK(make_plan(wished(), cluster.snapshot).steps.empty());
  // A second one joins.
  carry_out(cluster, make_plan(wished(), cluster.snapshot, {}, {.carriers = {"agent-2"}}));
  check_standby(cluster, {"agent-2", "server-1"});
  // The labels are lost: what runs goes on.
  for (auto& node : cluster.snapshot.nodes)
    node["metadata"]["labels"].erase(cluster::carries_label);
  const Plan lost = make_plan(wished(), cluster.snapshot);
  CHECK(lost.steps.empty());
  CHECK(lost.warnings.size() == 1);
}

TEST_CASE("local-path: where there is nothing to be had it stays as k3s ships it, and what cannot be is refused") {
  SimulatedCluster alone = with_carriers(1, 1);
  const Plan one_node = make_plan(wished(), alone.snapshot);
  CHECK(steps_of(one_node).empty());
  CHECK(one_node.warnings.empty());

  Spec many = wished();
  many.local_path_provisioner_replicas = 3;
  SimulatedCluster cluster = with_carriers(3, 2);
  const Plan refused = make_plan(many, cluster.snapshot);
  REQUIRE(refused.refusal);
  CHECK(refused.refusal->status == ExitStatus::unsafe);
  CHECK(refused.refusal->message.find("local_path_provisioner_replicas is 3, but 2 replicas at most") == 0);

  cluster.cordon(0);
  const Plan later = make_plan(wished(), cluster.snapshot);
  CHECK(steps_of(later).empty());
  REQUIRE(later.unmet.size() == 1);
  CHECK(later.unmet.at(0).find("left as it is for now: its 2 replicas") != std::string::npos);

  SimulatedCluster off = with_carriers(3, 2);
  off.scale_by("kubectl", 0, 1);
  CHECK(make_plan(wished(), off.snapshot).warnings.at(0).find("has 0 replicas, and not from us") != std::string::npos);

  SimulatedCluster mute = with_carriers(3, 2);
  packaged_of(mute)["spec"]["template"]["spec"]["containers"][0].erase("command");
  CHECK(make_plan(wished(), mute.snapshot).warnings.at(0).find("does not say which program") != std::string::npos);
}

TEST_CASE("local-path: a pod on a node that is not ready keeps both ways shut") {
  SimulatedCluster cluster = with_carriers(3, 2);
  cluster.silence(2, 60);  // the packaged pod runs there
  REQUIRE(nodes_of(cluster, "local-path-provisioner") == std::vector<std::string>{"agent-2"});
  const Plan in = make_plan(wished(), cluster.snapshot);
  REQUIRE(in.refusal);
  CHECK(in.refusal->status == ExitStatus::unsafe);
  CHECK(in.refusal->message.find("is on agent-2, which is not ready") != std::string::npos);
  CHECK(in.refusal->message.find("node.kubernetes.io/out-of-service=nodeshutdown:NoExecute") != std::string::npos);
  CHECK_FALSE(make_plan(wished("packaged"), cluster.snapshot).refusal);

  SimulatedCluster ours = with_carriers(3, 2);
  reach(ours, wished());
  ours.silence(0, 60);
  CHECK_FALSE(make_plan(wished(), ours.snapshot).refusal);  // an outage changes nothing
  CHECK(steps_of(make_plan(wished(), ours.snapshot)).empty());
  const Plan back = make_plan(packaged, ours.snapshot);
  REQUIRE(back.refusal);
  CHECK(back.refusal->message.find("is on server-1, which is not ready") != std::string::npos);
}

TEST_CASE("local-path: a release's new template is followed, and a raised count set back") {
  SimulatedCluster cluster = with_carriers(3, 2);
  reach(cluster, wished());
  packaged_of(cluster)["spec"]["template"]["spec"]["containers"][0]["image"] = "rancher/local-path-provisioner:v0.0.99";
  reach(cluster, wished());
  const Json* standby = cluster::find_named(cluster.snapshot.deployments, local_path_standby.name);
  CHECK((*standby)["spec"]["template"]["spec"]["containers"][0]["image"] == "rancher/local-path-provisioner:v0.0.99");
  check_standby(cluster, {"agent-1", "server-1"});

  for (const char* manager : {"deploy@server-1", "kubectl"}) {
    CAPTURE(manager);
    cluster.scale_by(manager, 1, 1);
    CHECK(nodes_of(cluster, "local-path-provisioner").empty());  // it cannot be scheduled
    carry_out(cluster, make_plan(wished(), cluster.snapshot));
    carry_out(cluster, make_plan(wished(), cluster.snapshot));
    CHECK(make_plan(wished(), cluster.snapshot).steps.empty());
    check_standby(cluster, {"agent-1", "server-1"});
  }
}

TEST_CASE("local-path: one that k3s was told to do without leaves nothing of ours") {
  SimulatedCluster cluster = with_carriers(3, 2);
  reach(cluster, wished());
  cluster.snapshot.deployments.erase(1);
  carry_out(cluster, make_plan(wished(), cluster.snapshot));
  CHECK(cluster.snapshot.deployments.size() == 1);
  CHECK(cluster.snapshot.roles.empty());
  CHECK(nodes_of(cluster, "k3s-core-ha-local-path-provisioner").empty());
}

TEST_CASE("local-path: where k3s ships none a number of the user's is refused, and nothing else") {
  SimulatedCluster cluster = with_carriers(3, 2);
  cluster.snapshot.deployments.erase(1);
  cluster.node(0)["metadata"]["annotations"]["k3s.io/node-args"] = R"(["server", "--disable=local-storage"])";
  CHECK_FALSE(make_plan(wished(), cluster.snapshot).refusal);
  Spec two = wished();
  two.local_path_provisioner_replicas = 2;
  CHECK(refusal_of(make_plan(two, cluster.snapshot), ExitStatus::unsafe)
            .find("local_path_provisioner_replicas is 2, but apps/v1 Deployment kube-system/local-path-provisioner is "
                  "not there: k3s was started with --disable local-storage on server-1. Where every server was, "
                  "strategy custom makes one.") != std::string::npos);
}

TEST_CASE("local-path: manifests hold both counts, and what serves is guarded") {
  SimulatedCluster cluster = with_carriers(3, 2);
  const auto objects = manifests(make_plan(wished(), cluster.snapshot));
  const auto find = [&](const kube::ObjectRef& ref) -> Json {
    for (const auto& object : objects)
      if (kube::ref_of(object) == ref) return object;
    return {};
  };
  CHECK(find(local_path.deployment)["spec"]["replicas"] == 0);
  CHECK(find(local_path_standby)["spec"]["replicas"] == 2);
  for (const auto& ref : {local_path.deployment, local_path_standby, local_path_role, local_path_role_binding})
    CHECK(find(ref)["metadata"]["annotations"].contains(keep_annotation));

  for (const auto& object : objects)
    if (object["kind"] != "ValidatingAdmissionPolicy" && object["kind"] != "ValidatingAdmissionPolicyBinding")
      cluster.apply(object, "k3s-core-ha");
  cluster.settle();
  reach(cluster, wished());
  check_standby(cluster, {"agent-1", "server-1"});
  reach(cluster, packaged);
  check_shipped_again(cluster);
}

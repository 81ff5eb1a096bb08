// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/strategies/extra.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

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

using Ids = std::vector<std::string>;

/// CoreDNS as k3s ships it, and web/site, with more keys of its own.
Spec site_wish(const Json& more = Json::object(), const Json& rest = Json::object()) {
  Json item = {{"namespace", "web"}, {"name", "site"}};
  item.update(more);
  Json document = {{"coredns_strategy", "packaged"}, {"extra_deployments", Json::array({item})}};
  document.update(rest);
  return wish(document);
}

SimulatedCluster with_site(int nodes, int replicas = 1) {
  SimulatedCluster cluster(nodes);
  cluster.add_site(replicas);
  return cluster;
}

/// Made by a server-side apply that declares no count: nobody holds the default.
SimulatedCluster with_free_count(int nodes, int replicas) {
  SimulatedCluster cluster = with_site(nodes, replicas);
  cluster.site()["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].erase("f:replicas");
  return cluster;
}

int pods_of_site(const SimulatedCluster& cluster) {
  return static_cast<int>(cluster.snapshot.extra_pods.size());
}

/// The site as somebody made it, with so many replicas, and nothing of ours in it or beside it.
void check_given_back(SimulatedCluster& cluster, int replicas) {
  SimulatedCluster fresh = with_site(1, replicas);
  CHECK(pods_of_site(cluster) == replicas);
  CHECK(cluster.site()["spec"] == fresh.site()["spec"]);
  CHECK(cluster.snapshot.poddisruptionbudgets.empty());
  CHECK(cluster.site()["metadata"].value("labels", Json::object()).empty());
  CHECK(cluster.site()["metadata"].value("annotations", Json::object()).empty());
  for (const auto& entry : cluster.site()["metadata"]["managedFields"])
    CHECK(entry["manager"] != "k3s-core-ha");
}

Json budget_in(const std::string& ns, const Json& selector) {
  return {{"apiVersion", "policy/v1"},
          {"kind", "PodDisruptionBudget"},
          {"metadata", {{"name", "theirs"}, {"namespace", ns}, {"uid", "theirs"}}},
          {"spec", {{"minAvailable", 1}, {"selector", selector}}}};
}

void hold_count(SimulatedCluster& cluster, const std::string& manager, int replicas) {
  cluster.apply({{"apiVersion", "apps/v1"},
                 {"kind", "Deployment"},
                 {"metadata", {{"name", "site"}, {"namespace", "web"}}},
                 {"spec", {{"replicas", replicas}}}},
                manager);
  cluster.settle();
}

bool warns(const Plan& plan, const std::string& words) {
  const auto says = [&](const auto& warning) { return warning.find(words) != std::string::npos; };
  return std::any_of(plan.warnings.begin(), plan.warnings.end(), says) ||
         std::any_of(plan.unmet.begin(), plan.unmet.end(), says);
}

}  // namespace

TEST_CASE("extra: noted, scaled out, spread, guarded; and back in reverse") {
  SimulatedCluster cluster = with_site(3);
  const Plan plan = make_plan(site_wish(), cluster.snapshot);
  REQUIRE_FALSE(plan.refusal);
  CHECK(ids(plan) == Ids{"extra-web/site-note", "extra-web/site-scale", "extra-web/site-scaled",
                         "extra-web/site-overlay", "extra-web/site-rollout", "extra-web/site-budget"});
  CHECK(plan.components["web/site"]["strategy"] == nullptr);
  reach(cluster, site_wish());
  CHECK(pods_of_site(cluster) == 2);
  const Json pod = cluster.site()["spec"]["template"]["spec"];
  REQUIRE(pod["topologySpreadConstraints"].size() == 1);
  CHECK(pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname");
  CHECK(pod["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway");
  CHECK_FALSE(pod["containers"][0].contains("lifecycle"));
  CHECK(cluster.site()["metadata"]["labels"]["k3s-core-ha/replicas-before"] == "1");
  const Json& budget = cluster.snapshot.poddisruptionbudgets[0];
  CHECK(budget["metadata"]["namespace"] == "web");
  CHECK(budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow");
  CHECK(budget["spec"]["selector"]["matchLabels"]["app"] == "site");
  for (const Spec& goal : {wish({{"coredns_strategy", "packaged"}}), packaged}) {
    SimulatedCluster back = cluster;
    const Plan next = make_plan(goal, back.snapshot);
    CHECK(next.components["web/site"]["strategy"] == "replicas");
    CHECK(ids(next) == Ids{"extra-web/site-budget", "extra-web/site-overlay", "extra-web/site-rollout",
                           "extra-web/site-count", "extra-web/site-scaled-in", "extra-web/site-count-free",
                           "extra-web/site-free"});
    reach(back, goal);
    check_given_back(back, 1);
  }
}

TEST_CASE("extra: stopped anywhere, the next run comes to the same end") {
  for (const auto& [had, held] : {std::pair{1, true}, {2, true}, {3, true}, {5, true}, {1, false}, {2, false}}) {
    CAPTURE(had);
    CAPTURE(held);
    const Spec there = site_wish({{"replicas", 3}});
    const SimulatedCluster made = held ? with_site(3, had) : with_free_count(3, had);
    SimulatedCluster reached = made;
    reach(reached, there);
    for (const bool back : {false, true}) {
      CAPTURE(back);
      const SimulatedCluster start = back ? reached : made;
      const Spec& goal = back ? packaged : there;
      const std::size_t points = make_plan(goal, start.snapshot).steps.size();
      for (std::size_t point = 0; point <= points; ++point) {
        CAPTURE(point);
        SimulatedCluster cluster = start;
        carry_out(cluster, make_plan(goal, cluster.snapshot), point);
        SimulatedCluster other = cluster;
        reach(cluster, goal);
        CHECK(pods_of_site(cluster) == (back ? had : 3));
        if (back) check_given_back(cluster, had);
        reach(other, back ? there : packaged);  // or somebody thought better of it
        CHECK(pods_of_site(other) == (back ? 3 : had));
        if (!back) check_given_back(other, had);
      }
    }
  }
}

TEST_CASE("extra: a failed change goes back to what was") {
  for (const int had : {1, 3}) {
    CAPTURE(had);
    for (const Spec& goal : {site_wish({{"replicas", 2}}), packaged, site_wish({{"replicas", 4}})}) {
      SimulatedCluster start = with_site(3, had);
      const bool first = !goal.extra_deployments.empty() && goal.extra_deployments[0].replicas == 2;
      if (!first) reach(start, site_wish({{"replicas", 2}}));
      const std::size_t points = make_plan(goal, start.snapshot).steps.size();
      for (std::size_t point = 0; point <= points; ++point) {
        CAPTURE(point);
        SimulatedCluster cluster = start;
        carry_out(cluster, make_plan(goal, cluster.snapshot), point);
        const Plan back = plan_way_back(start.snapshot, cluster.snapshot);
        REQUIRE_FALSE(back.refusal);
        carry_out(cluster, back);
        CHECK(cluster.site()["spec"] == start.site()["spec"]);
        auto held = cluster::applied_fields(cluster.site(), "k3s-core-ha");
        if (!first) held.erase({"f:spec", "f:replicas"});  // taken on the way, it is let go with the rest
        CHECK(held == cluster::applied_fields(start.site(), "k3s-core-ha"));
        CHECK(cluster.snapshot.poddisruptionbudgets.size() == start.snapshot.poddisruptionbudgets.size());
        CHECK(cluster.losses == std::vector<std::string>{});
        CHECK(plan_way_back(start.snapshot, cluster.snapshot).steps.empty());
      }
    }
  }
}

TEST_CASE("extra: counts") {
  SUBCASE("what it has stays, where that is more than two") {
    SimulatedCluster cluster = with_site(3, 4);
    CHECK(ids(make_plan(site_wish(), cluster.snapshot)) ==
          Ids{"extra-web/site-note", "extra-web/site-overlay", "extra-web/site-rollout", "extra-web/site-budget"});
    reach(cluster, site_wish());
    CHECK(pods_of_site(cluster) == 4);
  }
  SUBCASE("more than hosts are for the user to say") {
    SimulatedCluster cluster = with_site(2);
    reach(cluster, site_wish({{"replicas", 5}}));
    CHECK(pods_of_site(cluster) == 5);
    reach(cluster, site_wish());
    CHECK(pods_of_site(cluster) == 2);
  }
  SUBCASE("on one node, or at level none, there is nothing to be had") {
    SimulatedCluster cluster = with_site(3);
    reach(cluster, site_wish());
    const Spec none = site_wish(Json::object(), {{"level", "none"}});
    reach(cluster, none);
    check_given_back(cluster, 1);
    CHECK(ids(make_plan(site_wish(), with_site(1).snapshot)).empty());
  }
  SUBCASE("one that a person changed is put back") {
    SimulatedCluster cluster = with_site(3);
    reach(cluster, site_wish());
    cluster.scale_by("kubectl", 1, 1);
    CHECK(ids(make_plan(site_wish(), cluster.snapshot)) == Ids{"extra-web/site-scale", "extra-web/site-scaled"});
    reach(cluster, site_wish());
    CHECK(pods_of_site(cluster) == 2);
  }
  SUBCASE("one that a person changed is not taken away") {
    SimulatedCluster cluster = with_site(3);
    reach(cluster, site_wish());
    cluster.scale_by("kubectl", 3, 1);
    CHECK(warns(make_plan(packaged, cluster.snapshot), "keeps its 3 replicas: kubectl set them"));
    carry_out(cluster, make_plan(packaged, cluster.snapshot));
    CHECK(pods_of_site(cluster) == 3);
    CHECK(cluster::applied_fields(cluster.site(), "k3s-core-ha").empty());
  }
  SUBCASE("one that is switched off stays so, unless a number is asked for") {
    SimulatedCluster cluster = with_site(3, 0);
    CHECK(warns(make_plan(site_wish(), cluster.snapshot), "switched off"));
    reach(cluster, site_wish());
    CHECK(pods_of_site(cluster) == 0);
    reach(cluster, site_wish({{"replicas", 2}}));
    CHECK(pods_of_site(cluster) == 2);
    reach(cluster, packaged);
    check_given_back(cluster, 0);
  }
}

TEST_CASE("extra: a count that another program holds") {
  SimulatedCluster cluster = with_site(3);
  SUBCASE("otherwise, is a conflict") {
    hold_count(cluster, "helm", 1);
    const Plan plan = make_plan(site_wish(), cluster.snapshot);
    REQUIRE(plan.refusal);
    CHECK(plan.refusal->status == ExitStatus::conflict);
    CHECK(plan.refusal->message ==
          ".spec.replicas of apps/v1 Deployment web/site is held by helm, at 1; ours would be 2.");
  }
  SUBCASE("as wished, is theirs, and follows them") {
    hold_count(cluster, "helm", 3);
    reach(cluster, site_wish());
    hold_count(cluster, "helm", 4);
    reach(cluster, site_wish());
    CHECK(pods_of_site(cluster) == 4);
    reach(cluster, packaged);
    CHECK(pods_of_site(cluster) == 4);
    CHECK(cluster::owners_of(cluster.site(), {"f:spec", "f:replicas"}) == std::vector<std::string>{"helm"});
  }
}

TEST_CASE("extra: a count that the server filled in for kubectl is nobody's") {
  for (const char* manager : {"kubectl-create", "kubectl-client-side-apply"})
    for (const char* last : {R"({"spec": {}})", R"({"spec": {"replicas": 1}})"}) {
      CAPTURE(manager);
      CAPTURE(last);
      SimulatedCluster cluster = with_site(3);
      cluster.set_field(cluster.site(), {"f:spec", "f:replicas"}, 1, manager);
      cluster.site()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = last;
      const bool declared = std::string(last).find("replicas") != std::string::npos;
      const bool holds = declared && std::string(manager) != "kubectl-create";
      CHECK(make_plan(site_wish(), cluster.snapshot).refusal.has_value() == holds);
      if (holds) continue;
      reach(cluster, site_wish());
      CHECK(pods_of_site(cluster) == 2);
      reach(cluster, packaged);
      CHECK(pods_of_site(cluster) == 1);
    }
}

TEST_CASE("extra: one that is not there") {
  SimulatedCluster cluster(3);
  const Plan plan = make_plan(site_wish(), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::unsafe);
  CHECK(plan.refusal->message == "extra_deployments names Deployment web/site, which is not there.");
  CHECK(plan.steps.empty());
  CHECK_FALSE(make_plan(packaged, cluster.snapshot).refusal);
}

TEST_CASE("extra: what its owner does to it later does not keep CoreDNS from being repaired") {
  const Json items = Json::array({{{"namespace", "web"}, {"name", "site"}}});
  const Spec both = wish({{"extra_deployments", items}});
  SimulatedCluster cluster(3);
  cluster.add_site();
  reach(cluster, both);
  std::string said;
  SUBCASE("deleted") {
    cluster.snapshot.deployments.erase(1);
    said = "extra_deployments names Deployment web/site, which is not there.";
  }
  SUBCASE("a count is declared") {
    hold_count(cluster, "helm", 1);
    said = ".spec.replicas of apps/v1 Deployment web/site is held by helm, at 1; ours would be 2.";
  }
  cluster.snapshot.horizontalpodautoscalers.clear();
  const Plan later = make_plan(both, cluster.snapshot);
  CHECK_FALSE(later.refusal);
  CHECK(ids(later) == Ids{"coredns-autoscaler"});
  CHECK(warns(later, "Deployment web/site is left as it is: " + said));
  // With another wish it is refused like the first time, and its budget goes when it is no more wished.
  Json other = to_json(both);
  other["coredns_cpu_utilization"] = 60;
  CHECK(make_plan(wish(other), cluster.snapshot).refusal);
  for (const Spec& goal : {wish(), packaged}) {
    const Plan gone = make_plan(goal, cluster.snapshot);
    REQUIRE_FALSE(gone.refusal);
    CHECK(ids(gone).front() == "extra-web/site-budget");
  }
}

TEST_CASE("extra: what makes several replicas unsafe is refused") {
  SimulatedCluster cluster = with_site(2);
  Json& spec = cluster.site()["spec"];
  Json& pod = spec["template"]["spec"];
  Json more = Json::object();
  ExitStatus status = ExitStatus::unsafe;
  std::string said;
  SUBCASE("strategy Recreate") {
    spec["strategy"] = {{"type", "Recreate"}};
    said =
        "extra_deployments asks for 2 replicas of Deployment web/site, which has strategy Recreate, by which no two "
        "of its pods are to run at once.";
  }
  SUBCASE("a claim of one node") {
    pod["volumes"] = Json::array({{{"name", "data"}, {"persistentVolumeClaim", {{"claimName", "data"}}}}});
    for (const char* mode : {"", "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"}) {
      Json claim = {{"metadata", {{"name", "data"}, {"namespace", "web"}}}};
      claim["spec"]["accessModes"] = Json::array({mode});
      cluster.snapshot.persistentvolumeclaims = Json::array();
      if (*mode != '\0') cluster.snapshot.persistentvolumeclaims.push_back(claim);
      const Plan plan = make_plan(site_wish(), cluster.snapshot);
      CAPTURE(mode);
      REQUIRE(plan.refusal.has_value() == (std::string(mode) != "ReadWriteMany"));
      if (plan.refusal) CHECK(plan.refusal->message.find("mounts PersistentVolumeClaim web/data") != std::string::npos);
      if (plan.refusal) CHECK(plan.refusal->status == ExitStatus::unsafe);
    }
    return;
  }
  SUBCASE("ports of hosts") {
    pod["containers"][0]["ports"] = Json::array({{{"containerPort", 80}, {"hostPort", 80}}});
    more = {{"replicas", 3}};
    said =
        "extra_deployments asks for 3 replicas of Deployment web/site, which take ports of their hosts, but 2 at "
        "most can be on different nodes: all 2 registered nodes can run it.";
  }
  SUBCASE("an autoscaler of somebody's") {
    status = ExitStatus::conflict;
    cluster.snapshot.horizontalpodautoscalers.push_back(
        {{"metadata", {{"name", "site"}, {"namespace", "web"}}},
         {"spec", {{"scaleTargetRef", {{"kind", "Deployment"}, {"name", "site"}}}, {"minReplicas", 1}}}});
    said =
        "HorizontalPodAutoscaler web/site scales Deployment web/site already, and two would fight: remove it, or "
        "take it off extra_deployments.";
  }
  SUBCASE("a count in a manifest that k3s applies") {
    cluster.site()["metadata"]["annotations"]["objectset.rio.cattle.io/applied"] = R"({"spec": {"replicas": 1}})";
    said =
        ".spec.replicas of apps/v1 Deployment web/site is 1 in the manifest that k3s applies, which would set it "
        "back from 2 at the next start of a server: change it there.";
  }
  SUBCASE("no node for it") {
    pod["nodeSelector"] = {{"gpu", "true"}};
    said = "extra_deployments names Deployment web/site, and no registered node can run it";
  }
  SUBCASE("somebody has paused it") {
    status = ExitStatus::conflict;
    spec["paused"] = true;
    said = "apps/v1 Deployment web/site is paused by somebody";
  }
  const Plan plan = make_plan(site_wish(more), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == status);
  CHECK(plan.refusal->message.find(said) == 0);
  CHECK(plan.steps.empty());
}

TEST_CASE("extra: what has no place, or is not well, is left for a later run") {
  SimulatedCluster cluster = with_site(2);
  std::string said;
  SUBCASE("a node is down") {
    cluster.silence(1, 60);
    said =
        "Deployment web/site is left as it is for now: its 2 replicas need a node each, and 1 take pods now (not "
        "agent-1 (not ready)).";
  }
  SUBCASE("its pods are not available") {
    cluster.site()["status"]["availableReplicas"] = 0;
    said = "Deployment web/site is left as it is for now: not all of its replicas are available.";
  }
  SUBCASE("no room beside pods of its own priority") {
    cluster.site()["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        {"requests", {{"cpu", "1"}, {"memory", "64Mi"}}}};
    const Json full = Json::array({{{"priority", 0}, {"cpu", 3.5}, {"memory", 0.0}}});
    cluster.snapshot.usage = {{"server-1", full}, {"agent-1", full}};
    for (auto& node : cluster.snapshot.nodes)
      node["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    said = "Deployment web/site is left as it is: Deployment web/site requests 1.00 CPU and 64 MiB for each replica";
  }
  SUBCASE("each host's port is taken, and the rollout may not be short of a replica") {
    cluster.site()["spec"]["template"]["spec"]["hostNetwork"] = true;
    cluster.settle();
    for (auto& node : cluster.snapshot.nodes) {
      cluster.snapshot.usage[node["metadata"]["name"].get<std::string>()] = Json::array();
      node["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
    }
    said = "Deployment web/site is left as it is: Deployment web/site requests 0.00 CPU";
  }
  const Plan plan = make_plan(site_wish(), cluster.snapshot);
  CHECK_FALSE(plan.refusal);
  CHECK(ids(plan).empty());
  CHECK(warns(plan, said));
}

TEST_CASE("extra: what is theirs stays theirs") {
  SimulatedCluster cluster = with_site(3);
  SUBCASE("a budget over the same pods: ours is left out") {
    cluster.snapshot.poddisruptionbudgets.push_back(budget_in("web", Json::object()));
    cluster.snapshot.poddisruptionbudgets.push_back(budget_in("other", Json::object()));
    const Plan plan = make_plan(site_wish(), cluster.snapshot);
    CHECK(warns(plan,
                "PodDisruptionBudget web/theirs covers Deployment web/site already, and two would block every "
                "drain: ours is left out."));
    CHECK(ids(plan).back() == "extra-web/site-rollout");
  }
  SUBCASE("a spread over hosts: no second one") {
    cluster.site()["spec"]["template"]["spec"]["topologySpreadConstraints"] =
        Json::array({{{"topologyKey", "kubernetes.io/hostname"}, {"whenUnsatisfiable", "DoNotSchedule"}}});
    cluster.settle();
    cluster.losses.clear();
    reach(cluster, site_wish());
    CHECK(cluster.site()["spec"]["template"]["spec"]["topologySpreadConstraints"].size() == 1);
  }
  SUBCASE("node_affinity is for k3s's components") {
    reach(cluster, site_wish(Json::object(), {{"node_affinity", {{"kubernetes.io/os", "linux"}}}}));
    CHECK_FALSE(cluster.site()["spec"]["template"]["spec"].contains("affinity"));
  }
  SUBCASE("a note of ours in a copy is somebody's own") {
    cluster.site()["metadata"]["labels"]["k3s-core-ha/extra"] = "true";
    cluster.site()["metadata"]["labels"]["k3s-core-ha/replicas-before"] = "7";
    CHECK(ids(make_plan(packaged, cluster.snapshot)).empty());
  }
}

TEST_CASE("extra: one that is held whole in our name loses nothing by us") {
  SimulatedCluster cluster = with_site(3);
  reach(cluster, site_wish());
  Json& site = cluster.site();
  std::set<cluster::FieldPath> fields;
  for (const auto& entry : site["metadata"]["managedFields"])
    fields.merge(cluster::fields_of(entry["fieldsV1"]));
  site["metadata"]["managedFields"] = Json::array();
  cluster.apply(cluster::body_from_fields(site, fields), "k3s-core-ha");
  const Plan plan = make_plan(site_wish({{"replicas", 3}}), cluster.snapshot);
  REQUIRE(plan.refusal);
  CHECK(plan.refusal->status == ExitStatus::conflict);
  CHECK(plan.refusal->message.find("Deployment web/site is held whole in the name k3s-core-ha") == 0);
  const Json before = cluster.site();
  const Plan back = make_plan(packaged, cluster.snapshot);
  CHECK_FALSE(back.refusal);
  CHECK(warns(back, "Deployment web/site is held whole"));
  carry_out(cluster, back);
  CHECK(cluster.site()["spec"] == before["spec"]);
}

TEST_CASE("extra: zones, and rollouts that would be short of more than one replica") {
  SimulatedCluster cluster = with_site(4, 4);
  for (int i = 0; i < 4; ++i)
    cluster.node(i)["metadata"]["labels"]["topology.kubernetes.io/zone"] = i % 2 == 0 ? "a" : "b";
  cluster.site()["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = "50%";
  reach(cluster, site_wish());
  const Json spec = cluster.site()["spec"];
  CHECK(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 1);
  CHECK(spec["template"]["spec"]["topologySpreadConstraints"].size() == 2);
  const Plan plan = make_plan(packaged, cluster.snapshot);
  // What makes the rollout gentle goes last.
  for (const auto& step : plan.steps)
    if (step.id == "extra-web/site-overlay")
      CHECK(step.body["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 1);
  reach(cluster, packaged);
  CHECK(cluster::applied_fields(cluster.site(), "k3s-core-ha").empty());
}

TEST_CASE("extra: manifests lay the same over it, and it is kept from being deleted with them") {
  SimulatedCluster cluster = with_site(3);
  const auto objects = manifests(make_plan(site_wish(), cluster.snapshot));
  const auto find = [&](const std::string& kind) {
    const auto found =
        std::find_if(objects.begin(), objects.end(), [&](const Json& object) { return object["kind"] == kind; });
    REQUIRE(found != objects.end());
    return *found;
  };
  const Json deployment = find("Deployment");
  CHECK(deployment["spec"]["replicas"] == 2);
  CHECK(deployment["metadata"]["annotations"]["k3s-core-ha/keep"] == "true");
  CHECK(deployment["metadata"]["labels"]["k3s-core-ha/replicas-before"] == "1");
  CHECK(find("PodDisruptionBudget")["metadata"]["namespace"] == "web");
  CHECK(find("ValidatingAdmissionPolicy")["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"][0]
                                         ["values"] == Json::array({"web"}));
  {
    SimulatedCluster by_client = with_site(3);
    by_client.set_field(by_client.site(), {"f:spec", "f:replicas"}, 1, "kubectl-client-side-apply");
    by_client.site()["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}";
    const Plan plan = make_plan(site_wish(), by_client.snapshot);
    REQUIRE_FALSE(plan.refusal);
    CHECK(plan.not_in_manifests.size() == 1);
    for (const Json& object : manifests(plan))
      CHECK(object["kind"] != "Deployment");
  }
  for (const Json& object : objects)
    if (object["kind"] == "Deployment" || object["kind"] == "PodDisruptionBudget") cluster.apply(object, "k3s-core-ha");
  cluster.settle();
  reach(cluster, site_wish());
  CHECK(pods_of_site(cluster) == 2);
  reach(cluster, packaged);
  check_given_back(cluster, 1);
}

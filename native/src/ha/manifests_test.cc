// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/manifests.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/yaml.h"
#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/strategies/coredns_view.h"
#include "report/manifests.h"

using namespace core_ha;
using namespace core_ha::ha;
using namespace core_ha::ha::testing;

namespace {

std::vector<std::string> kinds(const std::vector<Json>& objects) {
  std::vector<std::string> out;
  out.reserve(objects.size());
  for (const auto& object : objects)
    out.push_back(object["kind"]);
  return out;
}

}  // namespace

TEST_CASE(
    "manifests: the whole wish, whether or not the cluster is so already, k3s's objects first and the guard last") {
  SimulatedCluster cluster(3);
  const auto before = manifests(make_plan(wish(), cluster.snapshot));
  CHECK(kinds(before) == std::vector<std::string>{"Service", "Deployment", "ConfigMap", "PodDisruptionBudget",
                                                  "HorizontalPodAutoscaler", "ValidatingAdmissionPolicy",
                                                  "ValidatingAdmissionPolicyBinding"});
  reach(cluster, wish());
  CHECK(manifests(make_plan(wish(), cluster.snapshot)) == before);
  for (const auto& object : before) {
    CAPTURE(object.dump());
    const bool lent = object["kind"] == "Deployment" || object["kind"] == "Service";
    const Json annotations = object["metadata"].value("annotations", Json::object());
    CHECK(annotations.contains("k3s-core-ha/keep") == lent);
    CHECK(annotations.contains("argocd.argoproj.io/sync-options") == lent);
    CHECK(annotations.contains("kustomize.toolkit.fluxcd.io/prune") == lent);
    CHECK_FALSE(object.value("spec", Json::object()).contains("paused"));
    CHECK_FALSE(object["metadata"].contains("managedFields"));
  }
  CHECK_FALSE(before[1]["spec"].contains("replicas"));  // the autoscaler's
}

TEST_CASE("manifests: applied by another manager they give the same cluster") {
  for (const Json& spec : {Json::object(), Json{{"coredns_strategy", "replicas"}, {"coredns_replicas", 2}}}) {
    SimulatedCluster ours(3);
    reach(ours, wish(spec));
    SimulatedCluster theirs(3);
    for (const auto& object : manifests(make_plan(wish(spec), theirs.snapshot)))
      if (!object["kind"].get<std::string>().starts_with("ValidatingAdmissionPolicy")) theirs.apply(object, "kubectl");
    theirs.settle();
    CHECK(theirs.deployment()["spec"] == ours.deployment()["spec"]);
    CHECK(theirs.service()["spec"] == ours.service()["spec"]);
    CHECK(theirs.snapshot.pods.size() == ours.snapshot.pods.size());
    for (const auto list : {&cluster::Snapshot::horizontalpodautoscalers, &cluster::Snapshot::poddisruptionbudgets,
                            &cluster::Snapshot::configmaps}) {
      const auto content = [](const Json& object) { return object.value("spec", object.value("data", Json())); };
      REQUIRE((theirs.snapshot.*list).size() == (ours.snapshot.*list).size());
      for (std::size_t i = 0; i < (ours.snapshot.*list).size(); ++i)
        CHECK(content((theirs.snapshot.*list)[i]) == content((ours.snapshot.*list)[i]));
    }
  }
}

TEST_CASE("manifests: nothing to print where everything is as k3s ships it") {
  SimulatedCluster cluster(3);
  CHECK(manifests(make_plan(packaged, cluster.snapshot)).empty());
}

TEST_CASE("manifests: each document reads back as it was") {
  SimulatedCluster cluster(3);
  const auto objects = manifests(make_plan(wish(), cluster.snapshot));
  for (const auto& object : objects) {
    const auto read = parse_yaml(to_yaml(object));
    REQUIRE(read);
    CHECK(*read == object);
  }
  const std::string text = report::manifests(objects, {"one\ntwo"});
  CHECK(text.find("--server-side") != std::string::npos);
  CHECK(text.find("# Warning: one two\n---\n") != std::string::npos);
}

TEST_CASE("yaml: what could be taken for something else is quoted") {
  for (const Json& value : {Json("yes"),
                            Json("null"),
                            Json("1.30"),
                            Json("0x1f"),
                            Json(""),
                            Json("a: b"),
                            Json("- a"),
                            Json("# a"),
                            Json("a\nb"),
                            Json("~"),
                            Json("on"),
                            Json("N"),
                            Json("ünder"),
                            Json(" a"),
                            Json("a-b/c.d"),
                            Json(true),
                            Json(1.5),
                            Json(nullptr),
                            Json::array(),
                            Json::object(),
                            Json::array({Json::array({1, 2}), Json::object()}),
                            Json{{"a", Json::array({{{"b", 1}, {"c", {{"d", "e"}}}}})}, {"1", "x"}}}) {
    CAPTURE(value.dump());
    const auto read = parse_yaml(to_yaml(value));
    REQUIRE(read);
    CHECK(*read == value);
  }
}

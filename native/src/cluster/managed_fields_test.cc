// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/managed_fields.h"

#include <doctest/doctest.h>

using namespace core_ha;
using namespace core_ha::cluster;

namespace {

const Json body = Json::parse(R"({
  "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns", "namespace": "kube-system"},
  "spec": {"minReadySeconds": 3,
           "template": {"spec": {
             "containers": [{"name": "coredns", "lifecycle": {"preStop": {"sleep": {"seconds": 8}}}}],
             "topologySpreadConstraints": [
               {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1,
                "labelSelector": {"matchLabels": {"k8s-app": "kube-dns"}}, "matchLabelKeys": ["pod-template-hash"],
                "nodeTaintsPolicy": "Honor"}]}}}})");

/// What an apiserver (1.36) stores after an apply of that body.
const Json stored = Json::parse(R"({
  "f:spec": {"f:minReadySeconds": {},
    "f:template": {"f:spec": {
      "f:containers": {"k:{\"name\":\"coredns\"}": {".": {}, "f:lifecycle": {"f:preStop": {"f:sleep": {"f:seconds": {}}}}, "f:name": {}}},
      "f:topologySpreadConstraints": {
        "k:{\"topologyKey\":\"kubernetes.io/hostname\",\"whenUnsatisfiable\":\"DoNotSchedule\"}": {
          ".": {}, "f:labelSelector": {}, "f:matchLabelKeys": {}, "f:maxSkew": {}, "f:nodeTaintsPolicy": {},
          "f:topologyKey": {}, "f:whenUnsatisfiable": {}}}}}}})");

Json live() {
  Json object = Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns", "namespace": "kube-system"},
    "spec": {"replicas": 1,
             "template": {"spec": {
               "containers": [{"name": "other", "image": "o"}, {"name": "coredns", "image": "c"}],
               "topologySpreadConstraints": [
                 {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
                 {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}]}}}})");
  object["metadata"]["managedFields"] =
      Json::array({{{"manager", "deploy@server-1"},
                    {"operation", "Update"},
                    {"fieldsV1", {{"f:spec", {{"f:replicas", Json::object()}}}}}},
                   {{"manager", "k3s-core-ha"},
                    {"operation", "Update"},
                    {"subresource", "scale"},
                    {"fieldsV1", {{"f:spec", {{"f:replicas", Json::object()}}}}}},
                   {{"manager", "k3s-core-ha"}, {"operation", "Apply"}, {"fieldsV1", stored}}});
  return object;
}

}  // namespace

TEST_CASE("managed fields: what an apply would hold is what the server stores") {
  CHECK(fields_in(body) == fields_of(stored));
}

TEST_CASE("managed fields: an autoscaler and a budget") {
  const Json autoscaler = Json::parse(R"({
    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a", "labels": {"x/y": "z"}},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "coredns"}, "minReplicas": 3,
             "metrics": [{"type": "Resource", "resource": {"name": "cpu"}}]}})");
  CHECK(fields_in(autoscaler) == fields_of(Json::parse(R"({
    "f:metadata": {"f:labels": {"f:x/y": {}}},
    "f:spec": {"f:metrics": {}, "f:minReplicas": {}, "f:scaleTargetRef": {"f:kind": {}, "f:name": {}}}})")));
  const Json budget =
      Json::parse(R"({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
    "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"k8s-app": "kube-dns"}}}})");
  CHECK(fields_in(budget) == fields_of(Json::parse(R"({"f:spec": {"f:maxUnavailable": {}, "f:selector": {}}})")));
}

TEST_CASE("managed fields: an identity alone holds nothing") {
  CHECK(fields_in({{"apiVersion", "v1"}, {"kind", "Service"}, {"metadata", {{"name", "a"}, {"namespace", "b"}}}})
            .empty());
}

TEST_CASE("managed fields: the keys of an entry in another order are the same entry") {
  const Json other =
      Json::parse(R"({"f:l": {"k:{\"whenUnsatisfiable\":\"D\",\"topologyKey\":\"t\"}": {"f:maxSkew": {}}}})");
  const Json same =
      Json::parse(R"({"f:l": {"k:{\"topologyKey\":\"t\",\"whenUnsatisfiable\":\"D\"}": {"f:maxSkew": {}}}})");
  CHECK(fields_of(other) == fields_of(same));
}

TEST_CASE("managed fields: ours by apply, and who else holds a field") {
  const Json object = live();
  CHECK(applied_fields(object, "k3s-core-ha") == fields_of(stored));
  CHECK(applied_fields(object, "deploy@server-1").empty());
  CHECK(applied_fields(Json::object(), "k3s-core-ha").empty());
  CHECK(owners_of(object, {"f:spec", "f:replicas"}) == std::vector<std::string>{"deploy@server-1", "k3s-core-ha"});
  CHECK(owners_of(object, {"f:spec", "f:paused"}).empty());
}

TEST_CASE("managed fields: values, over entries that merge by key") {
  const Json after = overlay(live(), body);
  CHECK(after["spec"]["replicas"] == 1);
  CHECK(after["spec"]["template"]["spec"]["containers"].size() == 2);
  CHECK(after["spec"]["template"]["spec"]["containers"][1]["image"] == "c");
  CHECK(after["spec"]["template"]["spec"]["topologySpreadConstraints"].size() == 2);
  for (const auto& path : fields_in(body)) {
    CAPTURE(to_string(path));
    REQUIRE(value_at(after, path) != nullptr);
    CHECK(*value_at(after, path) == *value_at(body, path));
  }
  CHECK(value_at(live(), {"f:spec", "f:minReadySeconds"}) == nullptr);
}

TEST_CASE("managed fields: an earlier set of ours can be applied again") {
  const Json after = overlay(live(), body);
  CHECK(body_from_fields(after, fields_in(body)) == body);
  const Json empty = body_from_fields(after, {});
  CHECK(fields_in(empty).empty());
  CHECK(empty["metadata"]["name"] == "coredns");
}

TEST_CASE("managed fields: a whole template comes back with its lists in their order") {
  Json whole = Json::parse(R"({
    "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "kube-system"},
    "spec": {"template": {"spec": {
      "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]}}},
      "containers": [{"name": "z", "ports": [{"containerPort": 53, "name": "dns", "protocol": "UDP"},
                                             {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
                                             {"containerPort": 9153, "name": "metrics", "protocol": "TCP"}]},
                     {"name": "a", "securityContext": {}}],
      "volumes": [{"name": "b", "emptyDir": {}}, {"name": "a", "configMap": {"items": [{"key": "K"}]}}]}}}})");
  CHECK(body_from_fields(whole, fields_in(whole)) == whole);
  const auto fields = fields_in(whole);
  CHECK(fields.contains({"f:spec", "f:template", "f:spec", "f:affinity", "f:nodeAffinity",
                         "f:requiredDuringSchedulingIgnoredDuringExecution"}));
  CHECK(fields.contains({"f:spec", "f:template", "f:spec", "f:containers", R"(k:{"name":"z"})", "f:ports",
                         R"(k:{"containerPort":53,"protocol":"TCP"})", "f:name"}));
}

TEST_CASE("managed fields: named as the API names them in a conflict") {
  CHECK(to_string({"f:spec", "f:replicas"}) == ".spec.replicas");
  CHECK(to_string({"f:a", R"(k:{"containerPort":53,"protocol":"UDP"})", "f:b"}) ==
        R"(.a[containerPort=53,protocol="UDP"].b)");
}

TEST_CASE("managed fields: values of a chart have no schema, so their lists are one value and their maps are none") {
  const Json config = Json::parse(R"({
    "apiVersion": "helm.cattle.io/v1", "kind": "HelmChartConfig", "metadata": {"name": "t", "namespace": "kube-system"},
    "spec": {"values": {"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}],
                        "nodeSelector": {"disk": "ssd"}, "empty": {}}}})");
  CHECK(fields_in(config) == std::set<FieldPath>{{"f:spec", "f:values", "f:empty"},
                                                 {"f:spec", "f:values", "f:nodeSelector", "f:disk"},
                                                 {"f:spec", "f:values", "f:topologySpreadConstraints"}});
  Json other = config;
  other["spec"]["values"]["topologySpreadConstraints"] = Json::array({{{"topologyKey", "b"}}});
  other["spec"]["values"]["nodeSelector"] = {{"rack", "r1"}};
  const Json both = overlay(config, other)["spec"]["values"];
  CHECK(both["topologySpreadConstraints"] == other["spec"]["values"]["topologySpreadConstraints"]);
  CHECK(both["nodeSelector"] == Json{{"disk", "ssd"}, {"rack", "r1"}});
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/observe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster/k3s.h"
#include "cluster/read_only_client_testing.h"
#include "cluster/time.h"

using namespace core_ha;
using namespace core_ha::cluster;

namespace {

kube::ApiResult<Json> small_cluster(const kube::Read& read) {
  if (read.path == "/version") return Json{{"major", "1"}, {"minor", "36+"}};
  if (read.path == "/apis")
    return Json::parse(R"({"groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1"}]}]})");
  if (read.path == "/api/v1/nodes")
    return Json::parse(R"({"items": [{"metadata": {"name": "server-1", "annotations":
                           {"k3s.io/node-args": "[\"server\",\"--token\",\"hunter2\"]"}}}]})");
  if (read.path.ends_with("/pods"))
    return Json{
        {"items", Json::array({{{"metadata", {{"name", read.label_selector}, {"namespace", "kube-system"}}}}})}};
  return Json{{"items", Json::array()}};
}

}  // namespace

TEST_CASE("observe: one batch of reads, whole objects, no secrets") {
  testing::ReadOnlyClient client;
  client.answer = small_cluster;
  const auto snapshot = observe(client);
  REQUIRE(snapshot);
  CHECK(client.round_trips == 1);
  CHECK(parse_time(snapshot->taken));
  CHECK(snapshot->minor() == 36);
  CHECK(snapshot->serves("apps/v1"));
  CHECK(snapshot->serves("v1"));
  CHECK_FALSE(snapshot->serves("policy/v1"));
  REQUIRE(snapshot->nodes.size() == 1);
  CHECK(snapshot->nodes[0]["kind"] == "Node");
  CHECK(snapshot->nodes[0]["apiVersion"] == "v1");
  CHECK(snapshot->pods.size() == 3);  // by what the Service selects, what a swap took out of it, local-path
  CHECK(to_json(*snapshot).dump().find("hunter2") == std::string::npos);
}

TEST_CASE("observe: Deployments of the user's are one more batch, and what may be secret of them is left out") {
  testing::ReadOnlyClient client;
  std::vector<std::string> asked;
  const Json manifest = {{"spec", {{"replicas", 1}, {"template", {{"spec", {{"secret", "hunter2"}}}}}}}};
  Json site = Json::parse(R"({"metadata": {"name": "site", "namespace": "web", "annotations": {}},
    "spec": {"selector": {"matchLabels": {"app": "site"},
                          "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a", "b"]},
                                               {"key": "old", "operator": "DoesNotExist"}]},
             "template": {"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
                                   "containers": [{"name": "site", "args": ["--password=hunter2"],
                                                   "env": [{"name": "PASSWORD", "value": "hunter2"}],
                                                   "ports": [{"hostPort": 80}]}]}}}})");
  for (const char* annotation : {applied_annotation, kubectl_annotation})
    site["metadata"]["annotations"][annotation] = manifest.dump();
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    asked.push_back(read.path);
    if (read.path == "/apis/apps/v1/namespaces/web/deployments" || read.label_selector == extra_label)
      return Json{{"items", Json::array({site})}};
    if (read.path == "/api/v1/namespaces/web/pods") {
      CHECK(read.label_selector == "app=site,tier notin (a,b),!old");
      return Json::parse(R"({"items": [{"metadata": {"name": "site-1", "namespace": "web", "labels": {"app": "site"}},
                                        "spec": {"nodeName": "server-1", "priority": 7, "secret": "hunter2"}}]})");
    }
    if (read.path.ends_with("/persistentvolumeclaims")) CHECK(read.field_selector == "metadata.name=data");
    return small_cluster(read);
  };
  const auto snapshot = observe(client, {.deployments = {{"apps/v1", "Deployment", "web", "site"}}});
  REQUIRE(snapshot);
  CHECK(client.round_trips == 2);
  REQUIRE(snapshot->deployments.size() == 1);  // once, though it is named and carries our label
  const Json& deployment = snapshot->deployments[0];
  CHECK(deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"] == 80);
  CHECK(applied_manifest(deployment) == Json{{"spec", {{"replicas", 1}}}});
  REQUIRE(snapshot->extra_pods.size() == 1);
  CHECK(snapshot->extra_pods[0]["spec"]["priority"] == 7);
  for (const char* kind : {"persistentvolumeclaims", "poddisruptionbudgets", "horizontalpodautoscalers"})
    CHECK(std::count_if(asked.begin(), asked.end(),
                        [&](const auto& path) { return path.ends_with(std::string("/namespaces/web/") + kind); }) == 1);
  CHECK(to_json(*snapshot).dump().find("hunter2") == std::string::npos);
}

TEST_CASE("observe: what is of a Helm chart alone is read where it is asked for, in the same batch or later") {
  testing::ReadOnlyClient client;
  int asked = 0;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    const bool crd = read.path.ends_with("/customresourcedefinitions");
    if (crd || read.path.find("helm.cattle.io") != std::string::npos) ++asked;
    if (read.path.find("helm.cattle.io") != std::string::npos && !crd) return testing::refused(404, "NotFound");
    return small_cluster(read);
  };
  auto without = observe(client);
  REQUIRE(without);
  CHECK(without->charts.empty());
  CHECK(asked == 0);
  CHECK(observe_charts(client, *without, {"traefik"}));
  CHECK(without->charts == std::set<std::string>{"traefik"});
  CHECK(asked == 3);
  client.round_trips = 0;
  const auto with = observe(client, {.charts = {"traefik", "coredns-ha"}});
  REQUIRE(with);
  CHECK(with->charts.size() == 2);
  CHECK(client.round_trips == 1);
  CHECK(snapshot_from_json(to_json(*with))->charts == with->charts);

  bool configured = false;
  bool pods = false;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    configured |= read.field_selector == "metadata.name=local-path-config";
    pods |= read.label_selector == "app.kubernetes.io/name=local-path-provisioner-ha";
    return small_cluster(read);
  };
  REQUIRE(observe(client, {.charts = {"local-path-provisioner-ha"}}));
  CHECK(configured);
  CHECK(pods);
}

// Its Secret holds the whole chart and its values.
TEST_CASE("meta/v1/types.go: of a release of Helm metadata alone is read, as a PartialObjectMetadataList") {
  testing::ReadOnlyClient client;
  int secrets = 0;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    if (read.path.ends_with("/secrets")) {
      ++secrets;
      CHECK(read.accept == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    }
    return small_cluster(read);
  };
  REQUIRE(observe(client, {.charts = {"traefik"}}));
  CHECK(secrets == 1);
}

TEST_CASE("observe: a group that is not served is empty, any other failure is the result") {
  testing::ReadOnlyClient client;
  client.answer = [](const kube::Read& read) -> kube::ApiResult<Json> {
    if (read.path.find("autoscaling") != std::string::npos) return testing::refused(404, "NotFound");
    return small_cluster(read);
  };
  const auto without = observe(client);
  REQUIRE(without);
  CHECK(without->horizontalpodautoscalers.empty());

  client.answer = [](const kube::Read& read) -> kube::ApiResult<Json> {
    if (read.path.find("policy") != std::string::npos) return testing::refused(403, "Forbidden");
    return small_cluster(read);
  };
  const auto forbidden = observe(client);
  REQUIRE_FALSE(forbidden);
  CHECK(forbidden.error().status == ExitStatus::api);
}

TEST_CASE("snapshot: what lasts of an object has no values of environment variables") {
  const Json object = Json::parse(R"({"metadata": {"name": "site"}, "status": {}, "spec": {"template": {"spec": {
    "containers": [{"name": "site", "env": [{"name": "A", "value": "hunter2"}, {"name": "B", "valueFrom": {}}]},
                   {"name": "other"}],
    "initContainers": [{"name": "first", "env": [{"name": "C", "value": "hunter2"}]}]}}}})");
  const Json kept = lasting(object);
  CHECK(kept.dump().find("hunter2") == std::string::npos);
  CHECK(kept["spec"]["template"]["spec"]["containers"][0]["env"].size() == 2);
  CHECK_FALSE(kept.contains("status"));
}

TEST_CASE("snapshot: of a new Deployment lasts the same before and after the controller has annotated it") {
  const Json object = Json::parse(R"({"metadata": {"name": "site"}, "spec": {"replicas": 2}})");
  Json annotated = object;
  annotated["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1";
  CHECK(lasting(annotated) == lasting(object));
  annotated["metadata"]["annotations"]["example.org/own"] = "yes";
  CHECK(lasting(annotated)["metadata"]["annotations"] == Json{{"example.org/own", "yes"}});
}

TEST_CASE("snapshot: what is saved is what is read back") {
  testing::ReadOnlyClient client;
  client.answer = small_cluster;
  const auto snapshot = observe(client);
  REQUIRE(snapshot);
  const Json saved = Json::parse(to_json(*snapshot).dump());
  const auto loaded = snapshot_from_json(saved);
  REQUIRE(loaded);
  CHECK(to_json(*loaded) == saved);
}

TEST_CASE("snapshot: anything else is told in a sentence") {
  Snapshot empty;
  empty.taken = "2026-06-01T12:00:00Z";
  const Json good = to_json(empty);
  REQUIRE(snapshot_from_json(good));
  Json older = good;  // of a release that knew no DaemonSets
  for (const char* list : {"daemonsets", "controllerrevisions"})
    older.erase(list);
  CHECK(snapshot_from_json(older));
  struct Row {
    const char* change;  ///< merge patch
    const char* word;
  };
  for (const Row row : {Row{R"({"kind": "Pod"})", "kind Snapshot"}, Row{R"({"taken": 5})", "`taken`"},
                        Row{R"({"version": null})", "`version`"}, Row{R"({"groups": {}})", "`groups`"},
                        Row{R"({"groups": [1]})", "`groups`"}, Row{R"({"pods": null})", "`pods`"},
                        Row{R"({"daemonsets": {}})", "`daemonsets`"}, Row{R"({"usage": 5})", "`usage`"},
                        Row{R"({"nodes": [5]})", "`nodes`"}, Row{R"({"nodes": [{"metadata": {}}]})", "`nodes`"}}) {
    CAPTURE(row.change);
    Json bad = good;
    bad.merge_patch(Json::parse(row.change));
    const auto loaded = snapshot_from_json(bad);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().status == ExitStatus::usage);
    CHECK(loaded.error().message.find(row.word) != std::string::npos);
  }
  CHECK_FALSE(snapshot_from_json(Json::array()));
}

TEST_CASE("time: as the API writes it") {
  for (const char* text : {"1970-01-01T00:00:00Z", "2026-02-28T23:59:59Z", "2024-02-29T12:00:00Z"}) {
    CAPTURE(text);
    REQUIRE(parse_time(text));
    CHECK(format_time(*parse_time(text)) == text);
  }
  CHECK(parse_time("2026-06-01T12:00:00.123456Z") == parse_time("2026-06-01T12:00:00Z"));
  for (const char* text : {"", "2026-06-01", "2026-06-01 12:00:00Z", "2026-02-30T00:00:00Z", "2026-06-01T25:00:00Z",
                           "2026-06-01T12:00:00+02:00", "2026-06-01T12:00:00", "x026-06-01T12:00:00Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
  using std::chrono::seconds;
  CHECK(format_span(seconds(90)) == "90 s");
  CHECK(format_span(seconds(2400)) == "40 min");
  CHECK(format_span(seconds(7 * 86400)) == "7 days");
}

TEST_CASE("observe: Leases say who leads, and how often nodes renew; nothing else of them is kept") {
  testing::ReadOnlyClient client;
  client.answer = [](const kube::Read& read) -> kube::ApiResult<Json> {
    if (read.path.find("/namespaces/kube-node-lease/") == std::string::npos) {
      CHECK(read.field_selector == "metadata.name=kube-controller-manager");
      return Json{{"items", Json::array()}};
    }
    return Json::parse(R"({"items": [{"metadata": {"name": "agent-1", "namespace": "kube-node-lease", "uid": "1"},
                                      "spec": {"leaseDurationSeconds": 40}}]})");
  };
  Snapshot snapshot;
  REQUIRE(observe_leases(client, snapshot));
  CHECK(client.round_trips == 1);
  REQUIRE(snapshot.leases.size() == 1);
  CHECK(snapshot.leases[0]["spec"]["leaseDurationSeconds"] == 40);
  CHECK_FALSE(snapshot.leases[0]["metadata"].contains("uid"));
  const auto read_back = snapshot_from_json(to_json(snapshot));
  REQUIRE(read_back);
  CHECK(read_back->leases == snapshot.leases);
}

TEST_CASE("observe: Leases that may not be read are an error") {
  testing::ReadOnlyClient client;
  client.answer = [](const kube::Read&) -> kube::ApiResult<Json> { return testing::refused(403, "Forbidden"); };
  Snapshot snapshot;
  CHECK_FALSE(observe_leases(client, snapshot));
}

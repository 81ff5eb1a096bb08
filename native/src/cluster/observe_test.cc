// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/observe.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

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

TEST_CASE("observe: what is traefik's alone is read where it is asked for, in the same batch or later") {
  testing::ReadOnlyClient client;
  int asked = 0;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    const bool crd = read.path.ends_with("/customresourcedefinitions");
    if (crd || read.path.find("helm.cattle.io") != std::string::npos) ++asked;
    if (read.path.ends_with("/secrets")) CHECK(read.accept.find("as=PartialObjectMetadataList") != std::string::npos);
    if (read.path.find("helm.cattle.io") != std::string::npos && !crd) return testing::refused(404, "NotFound");
    return small_cluster(read);
  };
  auto without = observe(client);
  REQUIRE(without);
  CHECK_FALSE(without->traefik);
  CHECK(asked == 0);
  CHECK(observe_traefik(client, *without));
  CHECK(without->traefik);
  CHECK(asked == 3);
  client.round_trips = 0;
  const auto with = observe(client, true);
  REQUIRE(with);
  CHECK(with->traefik);
  CHECK(client.round_trips == 1);
  CHECK(snapshot_from_json(to_json(*with))->traefik);
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

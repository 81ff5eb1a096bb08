// SPDX-License-Identifier: GPL-3.0-or-later
#include "act/waits.h"

#include <doctest/doctest.h>

#include "http/https_server_testing.h"
#include "kube/api_client.h"
#include "kube/fake_client_testing.h"

using namespace core_ha;
using http::testing::HttpsServer;
using http::testing::Reply;
using http::testing::SeenRequest;
using namespace std::chrono_literals;

namespace {

const ha::Step rollout{
    .id = "rollout", .action = ha::Action::wait_rollout, .object = {"apps/v1", "Deployment", "kube-system", "coredns"}};

Json deployment_of(int available) {
  return {{"metadata", {{"name", "coredns"}, {"namespace", "kube-system"}, {"resourceVersion", "7"}}},
          {"spec", {{"replicas", 3}}},
          {"status", {{"replicas", 3}, {"updatedReplicas", 3}, {"availableReplicas", available}}}};
}

/// Lists a Deployment whose rollout is under way; its watch says `event` of it and stays open.
HttpsServer::Handler told(const std::string& event, const Json& object) {
  return [=](const SeenRequest& request) {
    if (request.path.find("watch=true") == std::string::npos)
      return Reply{.body = Json{{"kind", "DeploymentList"},
                                {"apiVersion", "apps/v1"},
                                {"metadata", {{"resourceVersion", "5"}}},
                                {"items", {deployment_of(1)}}}
                               .dump()};
    return Reply{.fault = Reply::Fault::hang, .chunks = {Json{{"type", event}, {"object", object}}.dump() + "\n"}};
  };
}

Result<void> wait(const HttpsServer& server) {
  auto client = kube::ApiClient::open(server.connection(), {}, {});
  REQUIRE(client);
  return act::wait_for(rollout, **client, 20s);
}

}  // namespace

TEST_CASE("a rollout is waited for by one list and one watch") {
  const HttpsServer server(told("MODIFIED", deployment_of(3)));
  CHECK(wait(server));
  REQUIRE(server.seen().size() == 2);
  CHECK(server.seen()[0].path.find("fieldSelector=metadata.name%3Dcoredns") != std::string::npos);
}

TEST_CASE("pods are waited for until none that is selected may run; one that has ended counts for nothing") {
  kube::testing::FakeClient client;
  const kube::ObjectRef pod{"v1", "Pod", "kube-system", "old-1"};
  const ha::Step gone{.id = "gone",
                      .action = ha::Action::wait_pods_gone,
                      .object = {"apps/v1", "Deployment", "kube-system", "old"},
                      .selector = "app=old"};
  client.put({{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", {{"name", "old-1"}, {"namespace", "kube-system"}, {"labels", {{"app", "old"}}}}},
              {"spec", {{"nodeName", "agent-1"}}},
              {"status", {{"phase", "Running"}}}});
  client.listed = [](const kube::Read& read, const Json& object) {
    return read.label_selector == "app=" + object["metadata"]["labels"].value("app", "");
  };
  const auto late = act::wait_for(gone, client, 1s);
  REQUIRE_FALSE(late);
  CHECK(late.error().message.find("pod old-1 is still there, on agent-1") != std::string::npos);
  (*client.find(pod))["status"]["phase"] = "Failed";
  CHECK(act::wait_for(gone, client, 1s));
}

TEST_CASE("rollout_status.go: a Deployment that is deleted while it is waited for is a failure") {
  const HttpsServer server(told("DELETED", deployment_of(1)));
  const auto waited = wait(server);
  REQUIRE_FALSE(waited);
  CHECK(waited.error().status == ExitStatus::api);
  CHECK(waited.error().message == "apps/v1 Deployment kube-system/coredns is gone");
}

TEST_CASE("what is gone already is waited for no longer, another object of its name neither") {
  kube::testing::FakeClient client;
  ha::Step gone{
      .id = "gone", .action = ha::Action::wait_gone, .object = {"v1", "Pod", "kube-system", "coredns-1"}, .uid = "u1"};
  CHECK(act::wait_for(gone, client, 5s));
  client.put({{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", {{"name", "coredns-1"}, {"namespace", "kube-system"}, {"uid", "u2"}}}});
  CHECK(act::wait_for(gone, client, 5s));
  gone.uid = "u2";
  CHECK_FALSE(act::wait_for(gone, client, 0s));
}

namespace {

/// A DaemonSet of two pods, of which one is on a node that is not ready, or, with `living`, on one that is.
kube::testing::FakeClient two_daemons(bool living) {
  const auto head = [](const char* api_version, const char* kind, const char* name) {
    return Json{{"apiVersion", api_version},
                {"kind", kind},
                {"metadata", {{"name", name}, {"namespace", "kube-system"}, {"uid", std::string("uid-") + name}}}};
  };
  const auto ready = [](bool is) {
    return Json{{"conditions", Json::array({{{"type", "Ready"}, {"status", is ? "True" : "False"}}})}};
  };
  kube::testing::FakeClient client;
  Json set = head("apps/v1", "DaemonSet", "dns");
  set["status"] = {{"desiredNumberScheduled", 2}, {"updatedNumberScheduled", 2}, {"numberAvailable", 1}};
  const std::string uid = client.put(set)["metadata"]["uid"];
  for (const bool first : {true, false}) {
    Json pod = head("v1", "Pod", first ? "dns-1" : "dns-2");
    pod["metadata"]["ownerReferences"] = Json::array({{{"uid", uid}, {"controller", true}}});
    pod["spec"] = {{"nodeName", first ? "one" : "two"}};
    pod["status"] = ready(first);
    client.put(pod);
  }
  for (const bool first : {true, false}) {
    Json node = head("v1", "Node", first ? "one" : "two");
    node["metadata"].erase("namespace");
    node["status"] = ready(first || living);
    client.put(node);
  }
  return client;
}

}  // namespace

TEST_CASE("a DaemonSet is not waited for on nodes that are not ready, by what they are and not by how long it takes") {
  const ha::Step daemons{
      .id = "daemons", .action = ha::Action::wait_rollout, .object = {"apps/v1", "DaemonSet", "kube-system", "dns"}};
  auto dead = two_daemons(false);
  CHECK(act::wait_for(daemons, dead, 60s));
  auto living = two_daemons(true);
  const auto waited = act::wait_for(daemons, living, 1s);
  REQUIRE_FALSE(waited);
  CHECK(waited.error().message.find("1 of 2 new pods are available") != std::string::npos);
  dead.objects.erase(rest_path(daemons.object));
  const auto gone = act::wait_for(daemons, dead, 60s);
  REQUIRE_FALSE(gone);
  CHECK(gone.error().message.find("is gone") != std::string::npos);
}

TEST_CASE("a chart is waited for by the job of its new configuration, and what keeps that from its end is told") {
  kube::testing::FakeClient client;
  const ha::Step applied{.id = "chart",
                         .action = ha::Action::wait_chart,
                         .object = {"batch/v1", "Job", "kube-system", "helm-install-traefik"},
                         .former = "SHA256=A"};
  const auto put_job = [&](const char* hash, const char* condition) {
    Json job = {{"apiVersion", "batch/v1"},
                {"kind", "Job"},
                {"metadata", {{"name", "helm-install-traefik"}, {"namespace", "kube-system"}}},
                {"spec", {{"template", {{"metadata", {{"annotations", Json::object()}}}}}}}};
    job["spec"]["template"]["metadata"]["annotations"]["helmcharts.helm.cattle.io/configHash"] = hash;
    job["status"]["conditions"] = Json::array({{{"type", condition}, {"status", "True"}}});
    client.put(job);
  };
  const auto words = [&](std::chrono::seconds patience = 1s) {
    const auto waited = act::wait_for(applied, client, patience);
    return waited ? std::string("done") : waited.error().message;
  };
  CHECK(words().find("it is not there; it has no pod") != std::string::npos);
  put_job("SHA256=A", "Complete");
  CHECK(words().find("helm-controller has not taken the change up") != std::string::npos);
  put_job("SHA256=B", "Complete");
  CHECK(words() == "done");
  // Under failurePolicy retry a job ends well whatever became of the release.
  Json& job = *client.find(applied.object);
  job["spec"]["template"]["spec"]["containers"] =
      Json::array({{{"env", Json::array({{{"name", "CONFIG_HASH"}, {"value", "B"}}})}}});
  CHECK(words().find("helm could not apply the chart (`kubectl -n kube-system logs job/helm-install-traefik` says") !=
        std::string::npos);
  int made = 0;
  client.change_answer = [&](const kube::testing::Call& call, Json& answer) {
    if (call.verb == "get") answer["metadata"]["uid"] = std::to_string(++made);
  };
  CHECK(words(20s).find("3 jobs came to their end, and helm could not apply the chart") != std::string::npos);
  client.change_answer = nullptr;
  client.put({{"apiVersion", "v1"},
              {"kind", "Secret"},
              {"metadata",
               {{"name", "sh.helm.release.v1.traefik.v2"},
                {"namespace", "kube-system"},
                {"labels", {{"helmcharts.helm.cattle.io/configHash", "B"}}}}}});
  CHECK(words() == "done");
  put_job("SHA256=B", "Suspended");
  CHECK(words().find("it has not come to its end; it has no pod") != std::string::npos);

  Json pod = {{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata",
               {{"name", "helm-install-traefik-x1"},
                {"namespace", "kube-system"},
                {"creationTimestamp", "2026-06-01T12:00:00Z"}}},
              {"status", {{"phase", "Pending"}}}};
  client.put(pod);
  CHECK(words().find("; its pod helm-install-traefik-x1 is Pending") != std::string::npos);
  pod["status"]["containerStatuses"] =
      Json::array({{{"state", {{"waiting", {{"reason", "ImagePullBackOff"}, {"message", "no such image"}}}}}}});
  client.put(pod);
  CHECK(words().find("x1: ImagePullBackOff: no such image") != std::string::npos);
  pod["metadata"]["name"] = "helm-install-traefik-x2";
  pod["metadata"]["creationTimestamp"] = "2026-06-01T12:00:09Z";
  pod["status"]["containerStatuses"] = Json::array(
      {{{"state", {{"running", Json::object()}}},
        {"lastState", {{"terminated", {{"reason", "Error"}, {"exitCode", 1}, {"message", "values: no"}}}}}}});
  client.put(pod);
  put_job("SHA256=B", "Failed");
  CHECK(words(20s).find("has failed; its pod helm-install-traefik-x2: Error, exit status 1: values: no") !=
        std::string::npos);
}

TEST_CASE("a chart whose job cannot run is done where helm has deployed just that last, and nowhere else") {
  kube::testing::FakeClient client;
  const std::string hash_key = "helmcharts.helm.cattle.io/configHash";
  ha::Step chart{.id = "chart",
                 .action = ha::Action::wait_chart,
                 .object = {"batch/v1", "Job", "kube-system", "helm-install-traefik"},
                 .former = "SHA256=B"};
  Json job = {{"apiVersion", "batch/v1"},
              {"kind", "Job"},
              {"metadata", {{"name", "helm-install-traefik"}, {"namespace", "kube-system"}}},
              {"spec", {{"template", {{"metadata", {{"annotations", {{hash_key, "SHA256=A"}}}}}}}}}};
  job["spec"]["template"]["spec"]["containers"] =
      Json::array({{{"env", {{{"name", "NAME"}, {"value", "traefik"}}, {{"name", "CONFIG_HASH"}, {"value", "A"}}}}}});
  client.put(job);
  const auto put_release = [&](int revision, const char* hash, const char* status) {
    const std::string version = std::to_string(revision);
    client.put({{"apiVersion", "v1"},
                {"kind", "Secret"},
                {"metadata",
                 {{"name", "sh.helm.release.v1.traefik.v" + version},
                  {"namespace", "kube-system"},
                  {"labels", {{hash_key, hash}, {"status", status}, {"version", version}}}}}});
  };
  const auto words = [&] {
    const auto waited = act::wait_for(chart, client, 1s);
    return waited ? std::string("done") : waited.error().message;
  };
  CHECK(words().find("it has not come to its end") != std::string::npos);
  put_release(9, "A", "deployed");
  CHECK(words() == "done");
  CHECK(client.calls.back().path.find("/secrets") != std::string::npos);
  put_release(10, "B", "pending-upgrade");  // by a job that was ended: what it has changed is not known
  CHECK(words().find("it has not come to its end") != std::string::npos);
  put_release(11, "A", "deployed");
  chart.former = "SHA256=A";
  CHECK(words().find("helm-controller has not taken the change up") != std::string::npos);
}

TEST_CASE("what keeps a job of helm-controller's from running is told, also where a chart is to be uninstalled") {
  kube::testing::FakeClient client;
  const ha::Step gone{.id = "gone",
                      .action = ha::Action::wait_gone,
                      .object = {"helm.cattle.io/v1", "HelmChart", "kube-system", "coredns-ha"},
                      .uid = "1"};
  client.put({{"apiVersion", "helm.cattle.io/v1"},
              {"kind", "HelmChart"},
              {"metadata", {{"name", "coredns-ha"}, {"namespace", "kube-system"}, {"uid", "1"}}}});
  client.put({{"apiVersion", "v1"},
              {"kind", "Pod"},
              {"metadata", {{"name", "helm-delete-coredns-ha-x1"}, {"namespace", "kube-system"}}},
              {"status",
               {{"phase", "Pending"},
                {"conditions",
                 Json::array({{{"type", "PodScheduled"},
                               {"status", "False"},
                               {"reason", "Unschedulable"},
                               {"message", "0/3 nodes are available: 3 node(s) had untolerated taint(s)."}}})}}}});
  const auto waited = act::wait_for(gone, client, 1s);
  REQUIRE_FALSE(waited);
  CHECK(waited.error().message.find("it is still there; its pod helm-delete-coredns-ha-x1: Unschedulable: 0/3 nodes") !=
        std::string::npos);
}

TEST_CASE("pods are waited for until as many are ready and owned, besides those that are named") {
  kube::testing::FakeClient client;
  const kube::ObjectRef named{"v1", "Pod", "kube-system", "named"};
  const ha::Step ready{.id = "ready",
                       .action = ha::Action::wait_pods_ready,
                       .object = named,
                       .body = {{"spec", {{"replicas", 1}}}},
                       .selector = "k8s-app=kube-dns",
                       .pod_uids = {"uid-named"}};
  const auto put = [&](const char* name) -> Json& {
    return client.put(
        {{"apiVersion", "v1"},
         {"kind", "Pod"},
         {"metadata",
          {{"name", name}, {"namespace", "kube-system"}, {"ownerReferences", Json::array({{{"uid", "rs"}}})}}},
         {"status", {{"conditions", Json::array({{{"type", "Ready"}, {"status", "True"}}})}}}});
  };
  put("named");
  Json& other = put("other");
  bool enough = false;
  SUBCASE("it is") {
    enough = true;
  }
  SUBCASE("it is not ready") {
    other["status"]["conditions"][0]["status"] = "False";
  }
  SUBCASE("it ends") {
    other["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  }
  SUBCASE("nobody owns it") {
    other["metadata"].erase("ownerReferences");
  }
  CHECK(static_cast<bool>(act::wait_for(ready, client, 0s)) == enough);
}

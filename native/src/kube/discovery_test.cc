// SPDX-License-Identifier: GPL-3.0-or-later
// The rules of client-go's discovery/discovery_client.go and aggregated_discovery.go.
#include "kube/discovery.h"

#include <doctest/doctest.h>

#include "http/https_server_testing.h"
#include "kube/api_client.h"

using namespace core_ha;
using namespace core_ha::kube;
using http::testing::HttpsServer;
using http::testing::Reply;
using http::testing::SeenRequest;

namespace {

constexpr const char* aggregated = R"({"kind":"APIGroupDiscoveryList","items":[
    {"metadata":{"name":"apps"},"versions":[{"version":"v1","freshness":"Current"}]},
    {"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]}]})";
constexpr const char* plain = R"({"kind":"APIGroupList","groups":[
    {"name":"apps","versions":[{"groupVersion":"apps/v1"}]},
    {"name":"autoscaling","versions":[{"groupVersion":"autoscaling/v2"},{"groupVersion":"autoscaling/v1"}]}]})";

}  // namespace

TEST_CASE("discovery: aggregated where the server knows it, else plain, in one request") {
  for (const bool knows : {true, false}) {
    const HttpsServer server([&](const SeenRequest& request) {
      const std::string& accept = request.headers.at("accept");
      // The server takes the first that it can give.
      const bool asked = accept.starts_with("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,");
      if (!accept.ends_with(",application/json")) return Reply{.code = 406};
      return Reply{.body = knows && asked ? aggregated : plain};
    });
    auto client = ApiClient::open(server.connection(), {}, {});
    REQUIRE(client);
    const auto answers = (*client)->read_all({discovery_read()});
    REQUIRE(answers.front());
    CHECK(group_versions(*answers.front()) ==
          (knows ? std::set<std::string>{"v1", "apps/v1"}
                 : std::set<std::string>{"v1", "apps/v1", "autoscaling/v1", "autoscaling/v2"}));
    REQUIRE(server.seen().size() == 1);
    CHECK(server.seen()[0].path == "/apis");
  }
}

TEST_CASE("discovery: a group whose server does not answer is left out, the good ones stay; nothing is assumed") {
  CHECK(group_versions(Json::parse(aggregated)) == std::set<std::string>{"v1", "apps/v1"});
  CHECK(group_versions(Json("nonsense")) == std::set<std::string>{"v1"});
}

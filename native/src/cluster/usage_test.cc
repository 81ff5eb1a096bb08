// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/usage.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cluster/read_only_client_testing.h"

using namespace core_ha;
using namespace core_ha::cluster;

TEST_CASE("usage: quantities as the API writes them") {
  struct Row {
    const char* text;
    double value;
  };
  for (const Row row :
       {Row{"4", 4}, Row{"100m", 0.1}, Row{"0.5", 0.5}, Row{"70Mi", 73400320}, Row{"1Gi", 1073741824}, Row{"1e3", 1000},
        Row{"2k", 2000}, Row{"128974848", 128974848}, Row{"", 0}, Row{"x", 0}, Row{"5parsecs", 0}}) {
    CAPTURE(row.text);
    CHECK(parse_quantity(row.text) == doctest::Approx(row.value));
  }
}

TEST_CASE("usage: what a pod requests is what the scheduler sets aside") {
  const auto amounts = [](const char* cpu) { return Json{{"resources", {{"requests", {{"cpu", cpu}}}}}}; };
  Json spec = {{"containers", Json::array({amounts("100m"), amounts("200m")})}};
  CHECK(requests_of(spec).cpu == doctest::Approx(0.3));
  CHECK(requests_of(spec).pods == 1);
  spec["initContainers"] = Json::array({amounts("1")});
  CHECK(requests_of(spec).cpu == doctest::Approx(1));  // the most that one needs, before the others start
  Json sidecar = amounts("50m");
  sidecar["restartPolicy"] = "Always";
  spec["initContainers"] = Json::array({sidecar, amounts("100m")});
  CHECK(requests_of(spec).cpu == doctest::Approx(0.35));
  spec["overhead"] = {{"cpu", "10m"}};
  CHECK(requests_of(spec).cpu == doctest::Approx(0.36));
}

TEST_CASE("usage: summed up by node and priority, without what runs nowhere yet") {
  const auto pod = [](const char* node, int priority) {
    Json spec = {{"containers", Json::array({{{"resources", {{"requests", {{"cpu", "1"}, {"memory", "1Ki"}}}}}}})}};
    spec["priority"] = priority;
    if (*node != 0) spec["nodeName"] = node;
    return Json{{"spec", spec}};
  };
  UsageSums sums;
  sums.add(Json::array({pod("a", 0), pod("a", 0), pod("a", 5), pod("", 0)}));
  sums.add(Json::array({pod("b", 5)}));
  const Json usage = sums.to_json();
  REQUIRE(usage.size() == 2);
  REQUIRE(usage["a"].size() == 2);
  CHECK(usage["a"][0]["cpu"] == 2);
  CHECK(usage["a"][0]["memory"] == 2048);
  CHECK(usage["a"][0]["pods"] == 2);
  CHECK(usage["a"][1]["priority"] == 5);
}

namespace {

/// A page with one pod of a core on the node, and more after it where there is a token.
Json page_of(const std::string& node, const std::string& token) {
  Json spec = {{"nodeName", node}, {"containers", Json::array({{{"resources", {{"requests", {{"cpu", "1"}}}}}}})}};
  return {{"metadata", {{"continue", token}}}, {"items", Json::array({{{"spec", spec}}})}};
}

Snapshot three_nodes() {
  Snapshot snapshot;
  for (const char* name : {"a", "b", "c"})
    snapshot.nodes.push_back({{"metadata", {{"name", name}}}});
  return snapshot;
}

}  // namespace

// Pods are all that grows with a cluster. What they request is not in their metadata, so they come as whole objects,
// but never more than a page of them is held (tools/pager, EachListItem): that bounds memory as a streaming parser
// would.
TEST_CASE("tools/pager: usage of a whole cluster, page by page, with an entry for each node") {
  testing::ReadOnlyClient client;
  std::vector<std::string> asked;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    asked.push_back(read.path);
    const bool first = read.path.find("continue=") == std::string::npos;
    return page_of(first ? "a" : "b", first ? "t&2" : "");
  };
  Snapshot snapshot = three_nodes();
  REQUIRE(observe_all_usage(client, snapshot));
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].find("limit=500") != std::string::npos);
  CHECK(asked[1].find("continue=t%262") != std::string::npos);
  CHECK(snapshot.usage.size() == 3);
  CHECK(snapshot.usage["a"][0]["cpu"] == 1);
  CHECK(snapshot.usage["b"][0]["cpu"] == 1);
  CHECK(snapshot.usage["c"] == Json::array());
}

TEST_CASE("usage: of some nodes, from the server's cache (resourceVersion=0 where a cached read will do)") {
  testing::ReadOnlyClient client;
  std::vector<std::string> asked;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    asked.push_back(read.path + " " + read.field_selector);
    return page_of(read.field_selector.find("=b,") != std::string::npos ? "b" : "a", "");
  };
  Snapshot snapshot = three_nodes();
  REQUIRE(observe_usage(client, snapshot, {"a", "b"}));
  CHECK(client.round_trips == 1);
  REQUIRE(asked.size() == 2);
  for (const auto& path : asked)
    CHECK(path.find("?resourceVersion=0 spec.nodeName=") != std::string::npos);
  CHECK(snapshot.usage["b"][0]["cpu"] == 1);
  CHECK_FALSE(snapshot.usage.contains("c"));
}

TEST_CASE("tools/pager: usage of pages that ran out is read anew, in one piece; any other failure is the result") {
  testing::ReadOnlyClient client;
  int code = 410;
  client.answer = [&](const kube::Read& read) -> kube::ApiResult<Json> {
    if (read.path.find("continue=") != std::string::npos) return testing::refused(code, "Expired");
    const bool paged = read.path.find("limit=") != std::string::npos;
    return page_of("a", paged ? "t" : "");
  };
  Snapshot snapshot = three_nodes();
  REQUIRE(observe_all_usage(client, snapshot));
  CHECK(client.round_trips == 3);
  CHECK(snapshot.usage["a"][0]["pods"] == 1);  // what the pages had told counts no more
  code = 403;
  const auto refused = observe_all_usage(client, snapshot);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().status == ExitStatus::api);
  // Nor is it waited for the end of pages that have none.
  client.round_trips = 0;
  client.answer = [](const kube::Read&) -> kube::ApiResult<Json> { return page_of("a", "t"); };
  REQUIRE_FALSE(observe_all_usage(client, snapshot));
  CHECK(client.round_trips == kube::most_pages);
}

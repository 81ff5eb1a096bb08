// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/failover/budget.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "ha/failover/settings.h"

using namespace core_ha;
using namespace core_ha::ha;

namespace {

Json node(const std::string& name, const std::optional<Json>& args, bool server) {
  Json metadata = {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}}}};
  if (server) metadata["labels"]["node-role.kubernetes.io/control-plane"] = "true";
  if (args) metadata["annotations"]["k3s.io/node-args"] = args->dump();
  return {{"metadata", metadata}};
}

Json lease(const std::string& ns, const std::string& name, const Json& spec) {
  return {{"metadata", {{"namespace", ns}, {"name", name}}}, {"spec", spec}};
}

const Json quick{"server",
                 "--kube-apiserver-arg",
                 "default-unreachable-toleration-seconds=30",
                 "--kube-controller-manager-arg",
                 "node-monitor-grace-period=40s",
                 "--kube-controller-manager-arg",
                 "node-monitor-grace-period=20s",
                 "--kube-controller-manager-arg=node-monitor-period=1s"};

/// Three servers, server-2 in the lead, and an agent.
cluster::Snapshot three(const Json& args, int lease_duration) {
  cluster::Snapshot snapshot;
  snapshot.version = {{"minor", "36"}};
  for (const char* name : {"server-1", "server-2", "server-3"})
    snapshot.nodes.push_back(node(name, args, true));
  snapshot.nodes.push_back(node("agent-1", Json{"agent"}, false));
  for (const auto& one : snapshot.nodes)
    snapshot.leases.push_back(
        lease("kube-node-lease", one["metadata"]["name"], {{"leaseDurationSeconds", lease_duration}}));
  snapshot.leases.push_back(lease("kube-system", "kube-controller-manager", {{"holderIdentity", "server-2_0f3b"}}));
  return snapshot;
}

Json row(const Json& budget, const std::string& name) {
  for (const auto& one : budget["nodes"])
    if (one["name"] == name) return one;
  return {};
}

bool warns(const Json& budget, const std::string& words) {
  for (const auto& warning : budget["warnings"])
    if (warning.get<std::string>().find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("budget: durations as Go writes them") {
  CHECK(go_seconds("20s") == 20);
  CHECK(go_seconds("1m30s") == 90);
  CHECK(go_seconds("1.5h") == 5400);
  CHECK(go_seconds("500ms") == 1);
  for (const char* text : {"", "20", "s", "-1s", "1d", "1e99h"})
    CHECK_FALSE(go_seconds(text));
}

TEST_CASE("budget: Kubernetes' own timers") {
  const Json told = budget(three({"server"}, 40));
  CHECK(told["lease_holder"] == "server-2");
  CHECK(row(told, "agent-1")["detected"] == Json{40, 60});
  CHECK(row(told, "agent-1")["evicted"] == Json{340, 362});
  CHECK(row(told, "agent-1")["replaced"] == Json{340, 382});
  CHECK(row(told, "server-1")["detected"] == Json{40, 60});
  CHECK(row(told, "server-2")["detected"] == Json{60, 84});
  CHECK(told["warnings"] == Json::array());
}

TEST_CASE("budget: the settings in force, the last of several spellings, node by node") {
  cluster::Snapshot snapshot = three(quick, 16);
  snapshot.pods.push_back(
      {{"metadata", {{"name", "coredns-1"}}},
       {"spec", {{"tolerations", {{{"key", "node.kubernetes.io/unreachable"}, {"tolerationSeconds", 300}}}}}}});
  const Json told = budget(snapshot);
  CHECK(told["servers"][0]["grace_period"] == 20);
  CHECK(told["servers"][0]["monitor_period"] == 1);
  CHECK(told["servers"][0]["toleration_seconds"] == 30);
  CHECK(row(told, "agent-1")["detected"] == Json{16, 22});
  CHECK(row(told, "agent-1")["evicted"] == Json{46, 54});
  CHECK(row(told, "agent-1")["lease_duration"] == 16);
  CHECK(row(told, "server-2")["lease_holder"] == true);
  CHECK(row(told, "server-2")["detected"] == Json{30, 50});
  CHECK(warns(told, "HTTP2_READ_IDLE_TIMEOUT_SECONDS"));
  CHECK(warns(told, "coredns-1 (300 s)"));
}

TEST_CASE("budget: servers that differ: the holder's count, and when it dies those of the others") {
  cluster::Snapshot snapshot = three({"server"}, 40);
  snapshot.nodes[1] = node("server-2", quick, true);
  const Json told = budget(snapshot);
  CHECK(row(told, "agent-1")["detected"] == Json{10, 22});
  CHECK(row(told, "agent-1")["evicted"] == Json{40, 324});  // whichever API server made the pod
  CHECK(row(told, "server-2")["detected"] == Json{60, 84});
}

TEST_CASE("budget: what is not known is said, and widens the span") {
  cluster::Snapshot snapshot = three(quick, 16);
  snapshot.leases = Json::array();
  snapshot.nodes[0] = node("server-1", std::nullopt, true);
  const Json told = budget(snapshot);
  CHECK(told["lease_holder"] == nullptr);
  CHECK(told["servers"][0]["grace_period"] == nullptr);
  CHECK(row(told, "agent-1")["detected"] == Json{10, 60});
  CHECK(row(told, "server-1")["detected"] == Json{10, 50});
  CHECK(warns(told, "Which server holds the controller manager's Lease is not known"));
  CHECK(warns(told, "The settings of server-1 are not told"));
  CHECK(warns(told, "each of 4 nodes renews its Lease is not known"));
}

TEST_CASE("budget: nobody notices the death of the only server") {
  cluster::Snapshot snapshot;
  snapshot.version = {{"minor", "31"}};
  snapshot.nodes = {node("server-1", Json{"server"}, true), node("agent-1", Json{"agent"}, false)};
  const Json told = budget(snapshot);
  CHECK(row(told, "server-1")["detected"] == nullptr);
  CHECK(row(told, "agent-1")["detected"] == Json{30, 50});
  CHECK_FALSE(warns(told, "Which server holds"));
}

TEST_CASE("budget: a profile's promise: a node is out of the endpoints within 25 s, the leading server within 50 s") {
  const auto fast = failover_timers({.profile = "fast"});
  REQUIRE(fast);
  const Json told = budget(*fast);
  CHECK(told["node_death"]["detected"][1] <= 25);
  CHECK(told["lease_holder_death"]["detected"][1] <= 50);
  CHECK(told["node_death"]["replaced"] == Json{46, 74});
}

TEST_CASE("budget: where each server is asked whether it is ready, and whether its etcd votes") {
  cluster::Snapshot snapshot = three({"server", "--https-listen-port", "7443"}, 40);
  snapshot.nodes[0]["status"] = {
      {"addresses",
       {{{"type", "Hostname"}, {"address", "server-1"}}, {{"type", "InternalIP"}, {"address", "fd00::1"}}}},
      {"conditions", {{{"type", "EtcdIsVoter"}, {"status", "False"}}}}};
  const Json told = budget(snapshot);
  CHECK(told["servers"][0]["url"] == "https://[fd00::1]:7443");
  CHECK(told["servers"][0]["etcd_voter"] == false);
  CHECK(told["servers"][1]["url"] == "");
  CHECK(told["servers"][1]["etcd_voter"] == nullptr);
}

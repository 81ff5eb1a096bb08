// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/reconciling.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "cli/wished_cluster_testing.h"
#include "ha/strategies/shipped.h"
#include "ha/turn.h"

using namespace core_ha;
using cli::testing::Cluster;
using namespace std::chrono_literals;

namespace {

cli::Reconciling on(const std::string& node) {
  return {.node = node, .version = "0.1.0", .poll = 1ms};
}

Json* node(Cluster& cluster, const std::string& name) {
  return cluster.client.find({"v1", "Node", "", name});
}

std::string mark(Cluster& cluster, const std::string& name) {
  return (*node(cluster, name))["metadata"]["annotations"].value(std::string(ha::reconciles_annotation), "");
}

}  // namespace

TEST_CASE("reconcile: a cluster without a wish is left alone") {
  Cluster cluster;
  cluster.client.objects.erase(rest_path(ha::state_object));
  const auto looked = cli::reconcile(cluster.client, on("server-1"));
  REQUIRE(looked);
  CHECK(looked->revision == 0);
  CHECK_FALSE(looked->applied);
  CHECK(cluster.client.writes().empty());
}

TEST_CASE("reconcile: the first look marks the Node; the next ones only read") {
  Cluster cluster;
  for (const bool first : {true, false}) {
    const std::size_t writes = cluster.client.writes().size();
    const auto looked = cli::reconcile(cluster.client, on("server-1"));
    REQUIRE(looked);
    CHECK(looked->turn == "server-1");
    REQUIRE(looked->applied);
    CHECK_FALSE(looked->applied->acted.error);
    CHECK_FALSE(looked->applied->acted.changed());
    CHECK(cluster.client.writes().size() - writes == (first ? 1 : 0));
    CHECK(mark(cluster, "server-1") == "0.1.0");
  }
}

TEST_CASE("reconcile: what was taken away comes back, as the kept wish has it") {
  Cluster cluster;
  cluster.write_wish(4, R"({"coredns_cpu_utilization":60})");
  const auto looked = cli::reconcile(cluster.client, on("server-1"));
  REQUIRE(looked);
  REQUIRE(looked->applied);
  CHECK(looked->revision == 4);
  CHECK(looked->applied->acted.changed());
  CHECK(cluster.utilization() == 60);
  CHECK(cluster.kept()["revision"] == "4");
}

TEST_CASE("reconcile: this server's manifests are set aside as the kept wish has it, and its Node says so") {
  namespace fs = std::filesystem;
  const fs::path place = fs::temp_directory_path() / ("core-ha-reconcile-" + std::to_string(getpid()));
  fs::create_directories(place / "metrics-server");
  Cluster cluster;
  auto options = on("server-1");
  options.manifests = place;
  const auto aside = [&] { return ha::aside_marks(*node(cluster, "server-1")); };
  cluster.write_wish(4, R"({"coredns_strategy":"custom"})");
  CHECK(cli::reconcile(cluster.client, options));
  CHECK(fs::exists(place / "coredns.yaml.skip"));
  CHECK(aside() == std::set<std::string>{"coredns"});
  cluster.write_wish(5, "{}");
  CHECK(cli::reconcile(cluster.client, options));
  CHECK_FALSE(fs::exists(place / "coredns.yaml.skip"));
  CHECK(aside().empty());
  fs::remove_all(place);
}

TEST_CASE("reconcile: another server's turn") {
  Cluster cluster;
  (*node(cluster, "agent-1"))["metadata"]["annotations"][std::string(ha::reconciles_annotation)] = "0.1.0";
  cluster.write_wish(4, R"({"coredns_cpu_utilization":60})");
  SUBCASE("it is ready: only the own mark is set") {
    const auto looked = cli::reconcile(cluster.client, on("server-1"));
    REQUIRE(looked);
    CHECK(looked->turn == "agent-1");
    CHECK_FALSE(looked->applied);
    CHECK(mark(cluster, "server-1") == "0.1.0");
    CHECK(cluster.utilization() == 75);
  }
  SUBCASE("it is not") {
    (*node(cluster, "agent-1"))["status"]["conditions"][0]["status"] = "Unknown";
    const auto looked = cli::reconcile(cluster.client, on("server-1"));
    REQUIRE(looked);
    CHECK(looked->turn == "server-1");
    CHECK(looked->applied);
  }
  SUBCASE("a server without a Node leaves it to those that have one") {
    const auto looked = cli::reconcile(cluster.client, on("elsewhere"));
    REQUIRE(looked);
    CHECK_FALSE(looked->applied);
    CHECK(cluster.client.writes().empty());
  }
}

TEST_CASE("reconcile: a wish of a later release is one sentence, and changes nothing") {
  Cluster cluster;
  (*node(cluster, "server-1"))["metadata"]["annotations"][std::string(ha::reconciles_annotation)] = "0.1.0";
  (*node(cluster, "server-1"))["metadata"]["labels"][cluster::carries_label] = "0.1.0";
  cluster.write_wish(2, R"({"coredns_unheard_of":1})");
  const auto looked = cli::reconcile(cluster.client, on("server-1"));
  REQUIRE_FALSE(looked);
  CHECK(looked.error().status == ExitStatus::usage);
  CHECK(looked.error().message.find("of revision 2, cannot be read: Unknown key") != std::string::npos);
  CHECK(cluster.client.writes().empty());
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/applying.h"

#include <doctest/doctest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/wished_cluster_testing.h"
#include "ha/plan_testing.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"

using namespace core_ha;
using namespace core_ha::ha::testing;
using cli::testing::Cluster;
using kube::testing::Call;
using kube::testing::status_error;
using namespace std::chrono_literals;

namespace {

const ha::Spec changed_wish{.coredns_cpu_utilization = 60};
const cli::Applying quick{.poll = 1ms};

bool writes_autoscaler(const Call& call) {
  return call.verb == "apply" && !call.dry_run && call.path.find("horizontalpodautoscalers") != std::string::npos;
}

/// Somebody edits the autoscaler after each of our first `edits` writes of it. Counts all of ours.
void edit_after_writes(Cluster& cluster, int edits, int& writes) {
  cluster.client.after_write = [&cluster, edits, &writes](const Call& call) {
    if (writes_autoscaler(call) && ++writes <= edits)
      (*cluster.client.find(ha::coredns_autoscaler))["spec"]["minReplicas"] = 2;
  };
}

}  // namespace

TEST_CASE("apply: a changed wish is kept and carried out, and taken back whole when a step fails") {
  for (const bool fails : {false, true}) {
    CAPTURE(fails);
    Cluster cluster;
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      return fails && writes_autoscaler(call) ? std::optional(status_error(422, "Invalid", "no such thing"))
                                              : std::nullopt;
    };
    const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
    REQUIRE(applied);
    CHECK(applied->acted.error.has_value() == fails);
    CHECK(applied->acted.changed() != fails);
    CHECK(cluster.utilization() == (fails ? 75 : 60));
    CHECK(cluster.kept()["revision"] == (fails ? "1" : "2"));
    CHECK(cluster.kept()["spec"] == (fails ? "{}" : R"({"coredns_cpu_utilization":60})"));
  }
}

TEST_CASE("apply: a run that another one has overtaken writes nothing more, neither on its way nor back") {
  for (const bool on_the_way_back : {false, true}) {
    CAPTURE(on_the_way_back);
    Cluster cluster;
    cluster.client.after_write = [&](const Call& call) {
      if (!on_the_way_back && call.path.ends_with("/k3s-core-ha")) cluster.write_wish(7, "theirs");
    };
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (!writes_autoscaler(call)) return std::nullopt;
      cluster.write_wish(7, "theirs");
      return status_error(422, "Invalid", "no such thing");
    };
    const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
    REQUIRE(applied);
    REQUIRE(applied->acted.error);
    CHECK(applied->acted.error->status == ExitStatus::conflict);
    CHECK(applied->acted.error->message.find("as revision 7") != std::string::npos);
    CHECK(applied->acted.error->message.find("left to it") != std::string::npos);
    CHECK(cluster.kept()["spec"] == "theirs");
    CHECK(cluster.utilization() == 75);
  }
}

TEST_CASE("apply: with a wish that is kept already the first write, too, asks whether it still is") {
  Cluster cluster;
  (*cluster.client.find(ha::coredns_autoscaler))["spec"]["minReplicas"] = 2;  // drifted
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb == "apply" && call.dry_run) cluster.write_wish(7, "theirs");
    return std::nullopt;
  };
  const auto applied = cli::apply_wish(cluster.client, autoscaling, quick);
  REQUIRE(applied);
  REQUIRE(applied->acted.error);
  CHECK(applied->acted.error->status == ExitStatus::conflict);
  CHECK(cluster.client.writes().empty());
}

TEST_CASE("apply: util/retry/util.go: a cluster that never holds still is tried five times, and then a conflict") {
  Cluster cluster;
  int tries = 0;
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    if (call.verb != "apply" || !call.path.ends_with("configmaps/k3s-core-ha")) return std::nullopt;
    ++tries;
    cluster.write_wish(1, "{}");
    return std::nullopt;
  };
  const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
  REQUIRE(applied);
  REQUIRE(applied->acted.error);
  CHECK(tries == 5);
  CHECK(applied->acted.error->status == ExitStatus::conflict);
  CHECK(applied->acted.error->message.find("others changed the cluster 5 times meanwhile") == 0);
}

TEST_CASE("apply: what others change while a run is under way is put right by it, and told once") {
  Cluster cluster;
  int writes = 0;
  edit_after_writes(cluster, 1, writes);
  cluster.client.after_write = [&, edit = cluster.client.after_write](const Call& call) {
    edit(call);
    if (writes == 1) cluster.client.objects.erase(rest_path(ha::coredns_service));
  };
  const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
  REQUIRE(applied);
  CHECK_FALSE(applied->acted.error);
  CHECK(writes == 2);
  const auto& warnings = applied->plan.warnings;
  REQUIRE_FALSE(warnings.empty());
  CHECK(warnings.back().find("Service kube-system/kube-dns is missing") == 0);  // which the second look saw
  CHECK(std::set<std::string>(warnings.begin(), warnings.end()).size() == warnings.size());
  CHECK((*cluster.client.find(ha::coredns_autoscaler))["spec"]["minReplicas"] == 3);
  CHECK(applied->plan.steps.size() == 3);
  CHECK(applied->acted.states.size() == 3);
  REQUIRE(applied->acted.changes.size() == 2);  // the wish, and the autoscaler once
  CHECK(applied->acted.changes[1].before["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 75);
  CHECK(applied->acted.changes[1].after["spec"]["minReplicas"] == 3);
}

TEST_CASE("apply: a run does not fight for ever with who changes the cluster each time") {
  Cluster cluster;
  int writes = 0;
  edit_after_writes(cluster, 100, writes);
  REQUIRE(cli::apply_wish(cluster.client, changed_wish, quick));
  CHECK(writes == 3);
}

TEST_CASE("apply: a look at the end that fails is a warning, for all was done") {
  Cluster cluster;
  bool done = false;
  cluster.client.after_write = [&](const Call& call) { done = done || writes_autoscaler(call); };
  cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
    return done && call.path == "/version" ? std::optional(status_error(403, "Forbidden", "no more")) : std::nullopt;
  };
  const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
  REQUIRE(applied);
  CHECK_FALSE(applied->acted.error);
  CHECK(applied->acted.changed());
  REQUIRE_FALSE(applied->plan.warnings.empty());
  CHECK(applied->plan.warnings.back().find("the look at the end came to this") != std::string::npos);
}

TEST_CASE("apply: the look at the end leaves alone what another run has wished meanwhile") {
  for (const bool taken_away : {false, true}) {
    CAPTURE(taken_away);
    Cluster cluster;
    int writes = 0;
    cluster.client.after_write = [&](const Call& call) {
      if (!writes_autoscaler(call)) return;
      ++writes;
      (*cluster.client.find(ha::coredns_autoscaler))["spec"]["minReplicas"] = 2;
      if (taken_away)
        cluster.client.objects.erase(rest_path(ha::state_object));
      else
        cluster.write_wish(7, "theirs");
    };
    const auto applied = cli::apply_wish(cluster.client, changed_wish, quick);
    REQUIRE(applied);
    CHECK_FALSE(applied->acted.error);
    CHECK(writes == 1);
    CHECK((cluster.client.find(ha::state_object) == nullptr) == taken_away);
  }
}

TEST_CASE("apply: the count is handed over from an autoscaler that acts between the look and its own end") {
  enum class When { asked, wish_written, removed };
  for (const When when : {When::asked, When::wish_written, When::removed}) {
    CAPTURE(static_cast<int>(when));
    Cluster cluster;
    int scaled = 0;
    const auto scale_once = [&] {
      if (scaled++ == 0) cluster.autoscale(5);
    };
    cluster.client.fault = [&](const Call& call) -> std::optional<kube::ApiError> {
      if (when == When::asked && call.dry_run) scale_once();
      return std::nullopt;
    };
    cluster.client.after_write = [&](const Call& call) {
      if (when == When::wish_written && call.path.ends_with("configmaps/k3s-core-ha")) scale_once();
      if (when == When::removed && call.verb == "delete") scale_once();  // it had decided before
      cluster.settle();
    };
    const auto applied = cli::apply_wish(cluster.client, by_replicas, quick);
    REQUIRE(applied);
    CHECK_FALSE(applied->acted.error);
    CHECK(scaled >= 1);
    CHECK(cluster.client.find(ha::coredns_autoscaler) == nullptr);
    CHECK(cluster.deployment()["spec"]["replicas"] == 3);
    CHECK(cluster.client.writes() ==
          std::vector<std::string>{"apply k3s-core-ha", "delete k3s-core-ha-coredns", "patch scale"});
  }
}

TEST_CASE("apply: the count is handed over to an autoscaler that acts at once, and is its own from then on") {
  Cluster cluster(wish({{"coredns_strategy", "replicas"}, {"coredns_replicas", 2}}));
  cluster.client.after_write = [&](const Call& call) {
    if (writes_autoscaler(call)) cluster.autoscale(5);
    cluster.settle();
  };
  const auto applied = cli::apply_wish(cluster.client, autoscaling, quick);
  REQUIRE(applied);
  CHECK_FALSE(applied->acted.error);
  CHECK(cluster.client.find(ha::coredns_autoscaler) != nullptr);
  CHECK(cluster.deployment()["spec"]["replicas"] == 5);
  CHECK(cluster.client.writes() ==
        std::vector<std::string>{"apply k3s-core-ha", "patch scale", "apply k3s-core-ha-coredns"});
}

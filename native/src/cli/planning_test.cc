// SPDX-License-Identifier: GPL-3.0-or-later
#include "cli/planning.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"

using namespace core_ha;
using namespace core_ha::ha::testing;

namespace {

/// Serves a snapshot; counts how often it is asked, one after another.
class ReadOnly : public kube::Client {
 public:
  explicit ReadOnly(const cluster::Snapshot& snapshot) : snapshot_(snapshot) {}
  int round_trips = 0;

  kube::ApiResult<Json> get(const std::string& path) override {
    ++round_trips;
    return answer({.path = path});
  }
  std::vector<kube::ApiResult<Json>> read_all(const std::vector<kube::Read>& reads) override {
    ++round_trips;  // all of them are under way together
    std::vector<kube::ApiResult<Json>> answers;
    answers.reserve(reads.size());
    for (const auto& read : reads)
      answers.emplace_back(answer(read));
    return answers;
  }
  kube::ApiResult<bool> follow(const kube::Read&, const std::function<bool(const kube::Objects&)>&, Deadline) override {
    return kube::ApiError{};
  }
  kube::ApiResult<Json> apply(const kube::ObjectRef&, const Json&, const kube::ApplyOptions&) override {
    return kube::ApiError{};
  }
  kube::ApiResult<Json> merge_patch(const kube::ObjectRef&, const Json&, const kube::PatchOptions&) override {
    return kube::ApiError{};
  }
  kube::ApiResult<Json> remove(const kube::ObjectRef&, const kube::DeleteOptions&) override { return kube::ApiError{}; }
  std::vector<std::string> take_warnings() override { return {}; }
  void set_deadline(Deadline) override {}

 private:
  Json answer(const kube::Read& read) const {
    if (read.path == "/version") return snapshot_.version;
    if (read.path == "/apis") {
      Json versions = Json::array();
      for (const auto& group : snapshot_.groups)
        versions.push_back({{"groupVersion", group}});
      return {{"groups", Json::array({{{"versions", versions}}})}};
    }
    const Json all = cluster::to_json(snapshot_);
    Json items = all.value(read.path.substr(read.path.rfind('/') + 1), Json::array());
    if (read.label_selector.find("k8s-app!=kube-dns") != std::string::npos || read.path == "/api/v1/pods")
      items = Json::array();  // none retires; nothing else runs
    return {{"items", items}};
  }

  const cluster::Snapshot& snapshot_;
};

}  // namespace

TEST_CASE("planning: a cluster that is as wished costs one round trip, a change two") {
  ha::SimulatedCluster cluster(3);
  for (int i = 0; i < 3; ++i)
    cluster.node(i)["status"]["allocatable"] = {{"cpu", "4"}, {"memory", "8Gi"}, {"pods", "110"}};
  ReadOnly client(cluster.snapshot);
  auto changed = cli::observe_and_plan(client, wish(), {});
  REQUIRE(changed);
  CHECK_FALSE(changed->plan.steps.empty());
  CHECK(changed->plan.unread.empty());
  CHECK(changed->snapshot.usage.size() == 3);
  CHECK(client.round_trips == 2);

  reach(cluster, wish());
  client.round_trips = 0;
  auto same = cli::observe_and_plan(client, wish(), {});
  REQUIRE(same);
  CHECK(same->plan.steps.empty());
  CHECK(client.round_trips == 1);
}

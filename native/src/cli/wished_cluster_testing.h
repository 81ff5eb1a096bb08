// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"
#include "kube/fake_client_testing.h"

namespace core_ha::cli::testing {

/// A cluster that is as the default wish has it; changing the autoscaler alone needs no controllers.
struct Cluster {
  kube::testing::FakeClient client;

  Cluster() {
    ha::SimulatedCluster simulated(3);
    ha::testing::reach(simulated, ha::testing::autoscaling);
    const auto& snapshot = simulated.snapshot;
    for (const auto* list : {&snapshot.nodes, &snapshot.deployments, &snapshot.replicasets, &snapshot.services,
                             &snapshot.horizontalpodautoscalers, &snapshot.poddisruptionbudgets, &snapshot.configmaps,
                             &snapshot.apiservices})
      for (const Json& object : *list)
        client.objects[rest_path(kube::ref_of(object))] = object;
    client.objects["/version"] = snapshot.version;
    Json versions = Json::array();
    for (const auto& group : snapshot.groups)
      versions.push_back({{"groupVersion", group}});
    client.objects["/apis"] = {{"groups", Json::array({{{"versions", versions}}})}};
    write_wish(1, "{}");
  }

  /// As another run would.
  void write_wish(int revision, const std::string& spec) {
    Json& object = *client.find(ha::state_object);
    object["data"] = {{"spec", spec}, {"revision", std::to_string(revision)}};
    object["metadata"]["resourceVersion"] = "theirs-" + std::to_string(++writes_);
  }
  Json kept() { return (*client.find(ha::state_object))["data"]; }
  int utilization() {
    return (*client.find(ha::coredns_autoscaler))["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"];
  }

 private:
  int writes_ = 0;
};

}  // namespace core_ha::cli::testing

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>

#include "ha/plan_testing.h"
#include "ha/simulated_cluster_testing.h"
#include "ha/state.h"
#include "ha/strategies/coredns_view.h"
#include "kube/fake_client_testing.h"

namespace core_ha::cli::testing {

/// A cluster that is as a wish has it; changing the autoscaler alone needs no controllers.
struct Cluster {
  kube::testing::FakeClient client;

  explicit Cluster(const ha::Spec& spec = ha::testing::autoscaling) {
    ha::SimulatedCluster simulated(3);
    ha::testing::reach(simulated, spec);
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
    write_wish(1, ha::to_json(spec).dump());
  }

  /// As another run would.
  void write_wish(int revision, const std::string& spec) {
    Json& object = *client.find(ha::state_object);
    object["data"] = {{"spec", spec}, {"revision", std::to_string(revision)}};
    object["metadata"]["resourceVersion"] = "theirs-" + std::to_string(++writes_);
  }
  Json kept() { return (*client.find(ha::state_object))["data"]; }
  Json& deployment() { return *client.find(ha::coredns_deployment); }
  /// The Deployment's controller has carried out what is asked of it.
  void settle() {
    const int replicas = deployment()["spec"]["replicas"];
    for (const char* count : {"replicas", "updatedReplicas", "availableReplicas"})
      deployment()["status"][count] = replicas;
  }
  /// As the controller of autoscalers does it, through the scale subresource.
  void autoscale(int replicas) {
    deployment()["spec"]["replicas"] = replicas;
    Json& managers = deployment()["metadata"]["managedFields"];
    for (Json& entry : managers)
      if (entry["fieldsV1"].contains("f:spec")) entry["fieldsV1"]["f:spec"].erase("f:replicas");
    managers.push_back({{"manager", "kube-controller-manager"},
                        {"operation", "Update"},
                        {"subresource", "scale"},
                        {"fieldsV1", {{"f:spec", {{"f:replicas", Json::object()}}}}}});
    settle();
  }
  int utilization() {
    return (*client.find(ha::coredns_autoscaler))["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"];
  }

 private:
  int writes_ = 0;
};

}  // namespace core_ha::cli::testing

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/placement/prediction.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using core_ha::Json;
using namespace core_ha::ha;

TEST_CASE("prediction: what a client on a surviving node sees") {
  struct Row {
    const char* what;
    Situation situation;
    Json share;
    Json seconds;
    Json full;
  };
  const std::vector<Row> rows{
      {"packaged", {.replicas = 1, .nodes = 3, .kube_proxy = true}, 1, {340, 360}, {335, 375}},
      {"a single node", {.replicas = 1, .nodes = 1, .kube_proxy = true}, 1, nullptr, nullptr},
      {"three replicas, default timers", {.replicas = 3, .nodes = 3, .kube_proxy = true}, 0.333, {40, 60}, {335, 375}},
      {"a local replica on every node",
       {.replicas = 3, .nodes = 3, .local = true, .kube_proxy = true},
       0,
       {0, 0},
       {335, 375}},
      {"local replicas on some nodes",
       {.replicas = 4, .nodes = 50, .local = true, .kube_proxy = true},
       {0, 0.25},
       {40, 60},
       {335, 375}},
      {"a zone left to its one replica",
       {.replicas = 3, .nodes = 6, .local = true, .among = 1, .kube_proxy = true},
       {0, 1},
       {40, 60},
       {335, 375}},
      {"a zone of two replicas, all of which are asked alike",
       {.replicas = 6, .nodes = 9, .among = 2, .kube_proxy = true},
       {0, 0.5},
       {40, 60},
       {335, 375}},
      {"the shorter grace period before 1.32",
       {.replicas = 2, .nodes = 2, .kube_proxy = true, .monitor = {.grace_period = {40, 40}}},
       0.5,
       {30, 50},
       {325, 365}},
      {"pods that tolerate less",
       {.replicas = 2, .nodes = 3, .kube_proxy = true, .toleration_seconds = 20},
       0.5,
       {40, 60},
       {55, 95}},
      {"no kube-proxy: unknown, never 0",
       {.replicas = 3, .nodes = 3, .local = true, .kube_proxy = false},
       "unknown",
       "unknown",
       {335, 375}},
      {"nothing known of kube-proxy", {.replicas = 3, .nodes = 3, .local = true}, "unknown", "unknown", {335, 375}}};
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const Json predicted = predict(row.situation);
    CHECK(predicted["node_death"]["lost_share"] == row.share);
    CHECK(predicted["node_death"]["seconds"] == row.seconds);
    CHECK(predicted["full_strength"]["seconds"] == row.full);
  }
}

TEST_CASE("prediction: in words") {
  const auto words = [](const Situation& s) { return predict(s)["node_death"]["words"].get<std::string>(); };
  CHECK(words({.replicas = 3, .nodes = 6, .kube_proxy = true}) ==
        "1/3 of queries is lost until the dead endpoint goes.");
  CHECK(words({.replicas = 3, .nodes = 6, .local = true, .kube_proxy = true}) ==
        "1/3 of queries is lost on nodes without a replica, none on nodes with one, until the dead endpoint goes.");
  CHECK(words({.replicas = 3, .nodes = 6, .local = true, .among = 1, .kube_proxy = true}) ==
        "Every query is lost on nodes without a replica in the dead node's zone, which ask that zone's replicas alone, "
        "none on others, until the dead endpoint goes.");
  CHECK(
      words({.replicas = 6, .nodes = 9, .among = 2, .kube_proxy = true}) ==
      "1/2 of queries is lost on nodes in the dead node's zone, which ask that zone's replicas alone, none on others, "
      "until the dead endpoint goes.");
}

TEST_CASE("prediction: the server that dies with the controller manager's lease") {
  const Json several = predict({.replicas = 3, .nodes = 4, .servers = 3, .local = false, .kube_proxy = true});
  CHECK(several["lease_holder_death"]["seconds"] == Json{60, 84});
  const Json one = predict({.replicas = 3, .nodes = 4, .servers = 1, .local = false, .kube_proxy = true});
  CHECK(one["lease_holder_death"]["seconds"] == nullptr);
  const Json none = predict({.replicas = 3, .nodes = 4, .servers = 0, .local = false, .kube_proxy = true});
  CHECK(none["lease_holder_death"]["lost_share"] == 0);
}

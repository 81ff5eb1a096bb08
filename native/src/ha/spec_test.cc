// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/spec.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace core_ha;
using namespace core_ha::ha;

TEST_CASE("spec: nothing given is the default wish") {
  for (const Json& document : {Json(), Json::object(), Json{{"coredns_min_replicas", nullptr}}}) {
    const auto spec = parse_spec(document);
    REQUIRE(spec);
    CHECK(spec->level == "auto");
    CHECK(spec->coredns_strategy == "autoscaling");
    CHECK_FALSE(spec->coredns_min_replicas);
    CHECK_FALSE(spec->coredns_max_replicas);
    CHECK(spec->coredns_daemonset_nodes == "control_plane");
    CHECK(spec->coredns_cpu_utilization == 75);
    CHECK(spec->coredns_traffic_distribution == "auto");
    CHECK(spec->wait_timeout.count() == 300);
    CHECK(spec->unreachable_counts_for.count() == 604800);
  }
}

TEST_CASE("spec: every key is read") {
  const auto spec = parse_spec({{"level", "node"},
                                {"coredns_strategy", "packaged"},
                                {"coredns_min_replicas", 4},
                                {"coredns_max_replicas", 9},
                                {"coredns_daemonset_nodes", "all"},
                                {"coredns_cpu_utilization", 60},
                                {"coredns_traffic_distribution", "none"},
                                {"wait_timeout", 10},
                                {"unreachable_counts_for", 0}});
  REQUIRE(spec);
  CHECK(spec->level == "node");
  CHECK(spec->coredns_strategy == "packaged");
  CHECK(spec->coredns_min_replicas == 4);
  CHECK(spec->coredns_max_replicas == 9);
  CHECK(spec->coredns_daemonset_nodes == "all");
  CHECK(spec->coredns_cpu_utilization == 60);
  CHECK(spec->coredns_traffic_distribution == "none");
  CHECK(spec->wait_timeout.count() == 10);
  CHECK(spec->unreachable_counts_for.count() == 0);
}

TEST_CASE("spec: what is wrong is named with what was found and what is allowed") {
  struct Row {
    Json document;
    std::vector<std::string> words;
  };
  const std::vector<Row> rows{
      {{{"coredns_min_replica", 3}}, {"\"coredns_min_replica\"", "Unknown key", "coredns_min_replicas"}},
      {{{"level", "zone"}}, {"level is \"zone\"", "auto, none, node"}},
      {{{"level", 3}}, {"level is 3", "auto, none, node"}},
      {{{"coredns_daemonset_nodes", "agents"}}, {"coredns_daemonset_nodes is \"agents\"", "control_plane, all"}},
      {{{"coredns_min_replicas", "3"}}, {"coredns_min_replicas is \"3\"", "an integer from 1 to 1000"}},
      {{{"coredns_min_replicas", 0}}, {"coredns_min_replicas is 0", "1 to 1000"}},
      {{{"coredns_min_replicas", 2.5}}, {"is 2.5", "an integer"}},
      {{{"coredns_min_replicas", true}}, {"is true", "an integer"}},
      {{{"coredns_max_replicas", 18446744073709551615ULL}}, {"coredns_max_replicas is 18446744073709551615"}},
      {{{"coredns_cpu_utilization", 101}}, {"coredns_cpu_utilization is 101", "1 to 100"}},
      {{{"wait_timeout", 9}}, {"wait_timeout is 9", "10 to 3600"}},
      {{{"unreachable_counts_for", -1}}, {"unreachable_counts_for is -1"}},
      {{{"level", Json::array()}}, {"level is a list"}},
      {{{"coredns_min_replicas", 5}, {"coredns_max_replicas", 3}}, {"coredns_min_replicas is 5", "which is 3"}},
      {Json::array(), {"a list", "mapping"}},
      {"level: node", {"mapping"}}};
  for (const auto& row : rows) {
    CAPTURE(row.document.dump());
    const auto spec = parse_spec(row.document);
    REQUIRE_FALSE(spec);
    CHECK(spec.error().status == ExitStatus::usage);
    for (const auto& word : row.words) {
      CAPTURE(spec.error().message);
      CHECK(spec.error().message.find(word) != std::string::npos);
    }
  }
}

TEST_CASE("spec: the schema says the same as the parser") {
  const Json schema = spec_schema();
  CHECK(schema["additionalProperties"] == false);
  for (const auto& [name, property] : schema["properties"].items()) {
    CAPTURE(name);
    CHECK_FALSE(property["description"].get<std::string>().empty());
    if (property.contains("default")) CHECK(parse_spec({{name, property["default"]}}));
    if (property.contains("enum")) {
      for (const auto& choice : property["enum"])
        CHECK(parse_spec({{name, choice}}));
      continue;
    }
    if (property["type"] != "integer") {
      CHECK_FALSE(parse_spec({{name, true}}));
      continue;
    }
    const auto lowest = property["minimum"].get<std::int64_t>();
    const auto highest = property["maximum"].get<std::int64_t>();
    CHECK(parse_spec({{name, lowest}}));
    CHECK(parse_spec({{name, highest}}));
    CHECK_FALSE(parse_spec({{name, lowest - 1}}));
    CHECK_FALSE(parse_spec({{name, highest + 1}}));
  }
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/usage.h"

#include <doctest/doctest.h>

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
  const Json usage = sum_usage(Json::array({pod("a", 0), pod("a", 0), pod("a", 5), pod("", 0), pod("b", 5)}));
  REQUIRE(usage.size() == 2);
  REQUIRE(usage["a"].size() == 2);
  CHECK(usage["a"][0]["cpu"] == 2);
  CHECK(usage["a"][0]["memory"] == 2048);
  CHECK(usage["a"][0]["pods"] == 2);
  CHECK(usage["a"][1]["priority"] == 5);
}

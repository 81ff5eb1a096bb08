// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/settings.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "ha/spec.h"

using namespace core_ha;
using namespace core_ha::ha;

TEST_CASE("canonical_quantity: as the API server stores it") {
  const std::vector<std::pair<Json, std::string>> same{{"100m", "100m"},
                                                       {"1000m", "1"},
                                                       {"0.5", "500m"},
                                                       {"1.5", "1500m"},
                                                       {2, "2"},
                                                       {0.25, "250m"},
                                                       {"70Mi", "70Mi"},
                                                       {"0.5Gi", "512Mi"},
                                                       {"1024Mi", "1Gi"},
                                                       {"1000", "1k"},
                                                       {"128974848", "128974848"},
                                                       {"1500M", "1500M"},
                                                       {"2000M", "2G"},
                                                       {"0", "0"},
                                                       {"0Mi", "0"},
                                                       {"512", "512"}};
  for (const auto& [value, canonical] : same) {
    CAPTURE(value);
    CHECK(canonical_quantity(value).value_or("none") == canonical);
  }
  for (const Json& bad : {Json("x"), Json("-1"), Json("1 Mi"), Json("1e3"), Json("0.0001"), Json(""), Json(), Json(-1),
                          Json("99999999999P"), Json("0.5m")}) {
    CAPTURE(bad);
    CHECK_FALSE(canonical_quantity(bad));
  }
}

TEST_CASE("settings: bad ones are one sentence that names the place") {
  const std::vector<std::pair<Json, std::string>> bad{
      {{{"coredns_image", ""}}, "coredns_image is \"\"; allowed is the name of an image."},
      {{{"coredns_image", {{"a", 1}}}}, "coredns_image is a mapping; allowed is the name of an image."},
      {{{"coredns_resources", 5}}, "coredns_resources is 5; allowed is a mapping of requests and limits."},
      {{{"coredns_resources", {{"request", {{"cpu", 1}}}}}},
       "coredns_resources has the key request; allowed are requests and limits."},
      {{{"metrics_server_resources", {{"limits", {{"cpu", "fast"}}}}}},
       "metrics_server_resources.limits.cpu is \"fast\"; allowed is a quantity, as 100m, 0.5, 70Mi or 1Gi."},
      {{{"coredns_tolerations", {{"key", "x"}}}},
       "coredns_tolerations is a mapping; allowed is a list of tolerations."},
      {{{"coredns_tolerations", Json::array({{{"kye", "x"}}})}},
       "coredns_tolerations[0].kye is not known; known are key, operator, value, effect, tolerationSeconds."},
      {{{"coredns_tolerations", Json::array({{{"operator", "exists"}}})}},
       "coredns_tolerations[0].operator is \"exists\"; allowed is one of Exists, Equal."},
      {{{"coredns_tolerations", Json::array({{{"effect", "No"}}})}},
       "coredns_tolerations[0].effect is \"No\"; allowed is one of NoSchedule, PreferNoSchedule, NoExecute."},
      {{{"coredns_lameduck", 0}}, "coredns_lameduck is 0; allowed is an integer from 1 to 60 (seconds)."}};
  for (const auto& [document, sentence] : bad) {
    const auto spec = parse_spec(document);
    REQUIRE_FALSE(spec);
    CHECK(spec.error().status == ExitStatus::usage);
    CHECK(spec.error().message == sentence);
  }
}

TEST_CASE("settings: the same wish is the same text, however its quantities are written") {
  const auto one = parse_spec({{"coredns_resources", {{"limits", {{"memory", "1024Mi"}}}}}});
  const auto two = parse_spec({{"coredns_resources", {{"limits", {{"memory", "1Gi"}}}}}});
  REQUIRE(one);
  REQUIRE(two);
  CHECK(to_json(*one) == to_json(*two));
  CHECK(to_json(*parse_spec(to_json(*one))) == to_json(*one));
}

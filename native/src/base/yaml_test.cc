// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/yaml.h"

#include <doctest/doctest.h>

using core_ha::Json;
using core_ha::parse_yaml;

TEST_CASE("plain scalars get YAML 1.2's types, quoted ones stay strings") {
  const auto document = parse_yaml("a: 3\nb: \"3\"\nc: true\nd: yes\ne: 1.5\nf:\ng: [x, -1]\nh: 0x1F\ni: nan\nj: +7\n");
  REQUIRE(document);
  CHECK(*document == Json{{"a", 3},
                          {"b", "3"},
                          {"c", true},
                          {"d", "yes"},
                          {"e", 1.5},
                          {"f", nullptr},
                          {"g", {"x", -1}},
                          {"h", "0x1F"},
                          {"i", "nan"},
                          {"j", 7}});
}

TEST_CASE("what cannot be meant is refused with the line") {
  CHECK(parse_yaml("a: 1\nb: 2\na: 3\n").error().message == "has the key \"a\" twice in line 3");
  CHECK(parse_yaml("a: [1\n").error().message.find("is no valid YAML") == 0);
  CHECK(parse_yaml("a: 1\n---\nb: 2\n").error().message == "holds more than one document");
  CHECK(parse_yaml("[a, b]: 1\n").error().message == "has a key that is not a plain word in line 1");
  CHECK(parse_yaml(std::string(100000, '[')).error().status == core_ha::ExitStatus::usage);
}

TEST_CASE("an empty document is null, and JSON is YAML") {
  CHECK(parse_yaml("")->is_null());
  CHECK(parse_yaml("# nothing\n")->is_null());
  CHECK(*parse_yaml("{\"a\": {\"b\": [1, null]}}") == Json{{"a", {{"b", {1, nullptr}}}}});
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/budget.h"

#include <doctest/doctest.h>

#include <string>

using namespace core_ha;

TEST_CASE("report: a budget, with what is not known and what nobody notices") {
  const Json node = {{"name", "server-1"},   {"server", true},     {"lease_holder", false},
                     {"detected", {15, 22}}, {"evicted", nullptr}, {"replaced", {45, 73}}};
  const Json budget = {
      {"servers",
       {{{"name", "server-1"}, {"grace_period", nullptr}, {"monitor_period", 1}, {"toleration_seconds", 30}}}},
      {"nodes", {node}},
      {"warnings", {"mind the gap"}}};
  const std::string text = report::budget_text(budget);
  CAPTURE(text);
  for (const char* words : {"server-1  not known", "1 s", "15 to 22 s", "when it is back", "Warning: mind the gap"})
    CHECK(text.find(words) != std::string::npos);
}

TEST_CASE("report: a profile shows its drop-ins, and which there are not") {
  const Json spans = {{"detected", {15, 22}}, {"evicted", {45, 54}}, {"replaced", {45, 74}}};
  const Json profile = {{"profile", "own"},
                        {"drop_ins", {{"config", "a: b\n"}, {"kubelet", ""}, {"unit", ""}}},
                        {"budget", {{"node_death", spans}, {"lease_holder_death", spans}}}};
  const std::string text = report::profile_text(profile);
  CAPTURE(text);
  for (const char* words : {"config.yaml.d, on servers:\na: b\n", "systemd unit, on every node: none", "45 to 74 s"})
    CHECK(text.find(words) != std::string::npos);
}

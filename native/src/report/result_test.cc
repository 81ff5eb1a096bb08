// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/result.h"

#include <doctest/doctest.h>

#include <string>

using namespace core_ha;

namespace {

ha::Plan sample() {
  ha::Plan plan;
  plan.level = {"node", "All 3 registered nodes can run CoreDNS."};
  const kube::ObjectRef deployment{"apps/v1", "Deployment", "kube-system", "coredns"};
  plan.steps.push_back({.id = "a", .action = ha::Action::apply, .object = deployment, .reason = "why"});
  plan.steps.push_back({.id = "b", .action = ha::Action::wait_rollout, .object = deployment, .reason = "until"});
  plan.diff.push_back({deployment,
                       {{"spec", {{"replicas", 1}, {"paused", true}}}},
                       {{"spec", {{"replicas", 3}, {"minReadySeconds", 3}}}}});
  plan.warnings = {"mind the gap"};
  plan.components = {{"coredns", {{"replicas", 1}}}};
  plan.predicted = {{"node_death", {{"seconds", {40, 60}}, {"words", "1/3 of queries is lost."}}},
                    {"full_strength", {{"seconds", nullptr}}}};
  return plan;
}

bool has(const std::string& text, const std::string& word) {
  CAPTURE(text);
  CHECK(text.find(word) != std::string::npos);
  return true;
}

}  // namespace

TEST_CASE("report: a plan's result has the contract's keys") {
  const Json result = report::result(sample(), report::Source::cluster);
  CHECK(result["changed"] == true);
  CHECK(result["level"] == Json{{"name", "node"}, {"reason", "All 3 registered nodes can run CoreDNS."}});
  CHECK(result["steps"][0] == Json{{"id", "a"},
                                   {"action", "apply"},
                                   {"object", "apps/v1 Deployment kube-system/coredns"},
                                   {"reason", "why"},
                                   {"state", "planned"}});
  CHECK(result["node_steps"] == Json::array());
  CHECK(result["diff"][0]["object"] == "apps/v1 Deployment kube-system/coredns");
  CHECK(result["diff"][0]["before"]["spec"]["replicas"] == 1);
  CHECK(result["warnings"] == Json::array({"mind the gap"}));
  CHECK(result["predicted"].contains("node_death"));
  CHECK(result["components"]["coredns"]["replicas"] == 1);
  CHECK_FALSE(result.contains("prediction"));
  CHECK(report::result(sample(), report::Source::snapshot)["prediction"] == true);
}

TEST_CASE("report: a plan that only waits changes nothing") {
  ha::Plan plan = sample();
  plan.steps.erase(plan.steps.begin());
  CHECK(report::result(plan, report::Source::cluster)["changed"] == false);
}

TEST_CASE("report: what became of a plan") {
  act::Outcome outcome;
  outcome.states = {act::StepState::done, act::StepState::failed};
  outcome.warnings = {"from the server"};
  const Json result = report::result(sample(), outcome);
  CHECK(result["steps"][0]["state"] == "done");
  CHECK(result["steps"][1]["state"] == "failed");
  CHECK(result["warnings"] == Json::array({"mind the gap", "from the server"}));
}

TEST_CASE("report: the same for people") {
  const std::string text = report::text(report::result(sample(), report::Source::snapshot));
  has(text, "A prediction, from a saved snapshot");
  has(text, "Level node: All 3 registered nodes can run CoreDNS.");
  has(text, "planned  apply         apps/v1 Deployment kube-system/coredns  why");
  has(text, "~ .spec.replicas: 1 -> 3");
  has(text, "+ .spec.minReadySeconds: 3");
  has(text, "- .spec.paused: true");
  has(text, "for 40 to 60 s");
  has(text, "until the node is back");
  has(text, "Warning: mind the gap");
  ha::Plan nothing = sample();
  nothing.steps.clear();
  nothing.diff.clear();
  has(report::text(report::result(nothing, report::Source::cluster)), "Nothing to do.");
}

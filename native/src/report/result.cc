// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/result.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "report/table.h"

namespace core_ha::report {

namespace {

Json skeleton(const ha::Plan& plan) {
  Json warnings = plan.warnings;
  for (const auto& words : plan.unmet)
    warnings.push_back(words);
  return {{"changed", false},           {"level", {{"name", plan.level.name}, {"reason", plan.level.reason}}},
          {"steps", Json::array()},     {"node_steps", Json::array()},
          {"diff", Json::array()},      {"warnings", warnings},
          {"predicted", plan.predicted}};
}

Json step(const ha::Step& planned, std::string_view state) {
  return {{"id", planned.id},
          {"action", ha::to_string(planned.action)},
          {"object", kube::to_string(planned.object)},
          {"reason", planned.reason},
          {"state", state}};
}

Json difference(const kube::ObjectRef& object, const Json& before, const Json& after) {
  return {{"object", kube::to_string(object)}, {"before", before}, {"after", after}};
}

// --- for people ---

std::string value_words(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// The fields that differ, one line each; an added or removed part is one line too.
void list_changes(const Json& before, const Json& after, const std::string& path, std::vector<std::string>& lines) {
  if (before == after) return;
  if (before.is_object() && after.is_object()) {
    for (const auto& [key, value] : before.items())
      list_changes(value, after.value(key, Json()), fmt::format("{}.{}", path, key), lines);
    for (const auto& [key, value] : after.items())
      if (!before.contains(key)) list_changes(Json(), value, fmt::format("{}.{}", path, key), lines);
    return;
  }
  if (before.is_array() && after.is_array() && before.size() == after.size()) {
    for (std::size_t i = 0; i < before.size(); ++i)
      list_changes(before[i], after[i], fmt::format("{}[{}]", path, i), lines);
    return;
  }
  if (before.is_null())
    lines.push_back(fmt::format("+ {}: {}", path, value_words(after)));
  else if (after.is_null())
    lines.push_back(fmt::format("- {}: {}", path, value_words(before)));
  else
    lines.push_back(fmt::format("~ {}: {} -> {}", path, value_words(before), value_words(after)));
}

std::string span_words(const Json& seconds) {
  if (seconds.is_null()) return "until the node is back";
  if (!seconds.is_array() || seconds.size() != 2) return "for a time that is not known";
  if (seconds[0] == 0 && seconds[1] == 0) return "never";
  return fmt::format("for {} to {} s", seconds[0].dump(), seconds[1].dump());
}

std::string predicted_words(const Json& predicted) {
  struct Row {
    const char* key;
    const char* title;
  };
  std::vector<std::vector<std::string>> rows;
  for (const Row row : {Row{"node_death", "a node dies"}, Row{"lease_holder_death", "the leading server dies"}}) {
    if (!predicted.contains(row.key)) continue;
    const Json& event = predicted[row.key];
    rows.push_back({row.title, span_words(event.value("seconds", Json())), event.value("words", "")});
  }
  if (predicted.contains("full_strength")) {
    const Json seconds = predicted["full_strength"].value("seconds", Json());
    rows.push_back({"full strength again",
                    seconds.is_array() ? fmt::format("after {} to {} s", seconds[0].dump(), seconds[1].dump())
                                       : span_words(seconds),
                    ""});
  }
  return rows.empty() ? "" : "Predicted, lost queries:\n" + table(rows);
}

}  // namespace

Json result(const ha::Plan& plan, Source source) {
  Json out = skeleton(plan);
  for (const auto& planned : plan.steps) {
    out["steps"].push_back(step(planned, "planned"));
    if (!ha::is_wait(planned.action)) out["changed"] = true;
  }
  for (const auto& changed : plan.diff)
    out["diff"].push_back(difference(changed.object, changed.before, changed.after));
  out["components"] = plan.components;
  if (source == Source::snapshot) out["prediction"] = true;
  return out;
}

Json result(const ha::Plan& plan, const act::Outcome& outcome) {
  Json out = skeleton(plan);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const auto state = i < outcome.states.size() ? outcome.states[i] : act::StepState::planned;
    out["steps"].push_back(step(plan.steps[i], act::to_string(state)));
  }
  out["changed"] = outcome.changed();
  for (const auto& change : outcome.changes)
    out["diff"].push_back(difference(change.object, change.before, change.after));
  for (const auto& warning : outcome.warnings)
    out["warnings"].push_back(warning);
  return out;
}

std::string text(const Json& result) {
  std::string out;
  if (result.value("prediction", false)) out += "A prediction, from a saved snapshot: no server was asked.\n";
  out += fmt::format("Level {}: {}\n", result["level"]["name"].get<std::string>(),
                     result["level"]["reason"].get<std::string>());
  if (result["steps"].empty()) {
    out += "Nothing to do.\n";
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const auto& step : result["steps"])
      rows.push_back({step["state"], step["action"], step["object"], step["reason"]});
    out += "Steps:\n" + table(rows);
  }
  for (const auto& change : result["diff"]) {
    std::vector<std::string> lines;
    const char* verb = change["before"].is_null() ? "New" : change["after"].is_null() ? "Gone" : "Changed";
    out += fmt::format("{}: {}\n", verb, change["object"].get<std::string>());
    if (!change["before"].is_null() && !change["after"].is_null())
      list_changes(change["before"], change["after"], "", lines);
    else if (change["before"].is_null())
      list_changes(Json::object(), change["after"].value("spec", Json::object()), ".spec", lines);
    for (const auto& line : lines)
      out += "    " + line + "\n";
  }
  out += predicted_words(result["predicted"]);
  for (const auto& warning : result["warnings"])
    out += fmt::format("Warning: {}\n", warning.get<std::string>());
  return out;
}

}  // namespace core_ha::report

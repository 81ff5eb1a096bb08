// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <regex>
#include <string_view>

#include "ha/words.h"

namespace core_ha::ha {

namespace {

struct Suffix {
  std::string_view text;
  std::int64_t factor;
};

constexpr std::array decimal{Suffix{"P", 1'000'000'000'000'000},
                             Suffix{"T", 1'000'000'000'000},
                             Suffix{"G", 1'000'000'000},
                             Suffix{"M", 1'000'000},
                             Suffix{"k", 1'000},
                             Suffix{"", 1}};
constexpr std::array binary{Suffix{"Pi", std::int64_t{1} << 50}, Suffix{"Ti", std::int64_t{1} << 40},
                            Suffix{"Gi", std::int64_t{1} << 30}, Suffix{"Mi", std::int64_t{1} << 20},
                            Suffix{"Ki", std::int64_t{1} << 10}};

constexpr const char* quantity_words = "a quantity, as 100m, 0.5, 70Mi or 1Gi";

template <std::size_t N>
const Suffix* suffix_of(const std::array<Suffix, N>& table, std::string_view text) {
  const auto it = std::find_if(table.begin(), table.end(), [&](const Suffix& suffix) { return suffix.text == text; });
  return it == table.end() ? nullptr : &*it;
}

/// In the largest unit that leaves no fraction, as resource.Quantity's canonical form is (apimachinery).
template <std::size_t N>
std::optional<std::string> in_largest(const std::array<Suffix, N>& table, std::int64_t amount) {
  for (const auto& suffix : table)
    if (amount % suffix.factor == 0) return fmt::format("{}{}", amount / suffix.factor, suffix.text);
  return std::nullopt;
}

bool is_one_of(const Json& value, std::initializer_list<const char*> allowed) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const char* word) { return value == word; });
}

}  // namespace

std::optional<std::string> canonical_quantity(const Json& value) {
  static const std::regex form(R"((\d{1,12})(?:\.(\d{1,12}))?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?)");
  std::smatch parts;
  const std::string text = value.is_string() ? value.get<std::string>() : value.is_number() ? value.dump() : "";
  if (!std::regex_match(text, parts, form)) return std::nullopt;
  const std::string unit = parts[3].str();
  const auto* two = suffix_of(binary, unit);
  const auto* ten = suffix_of(decimal, unit);
  // In thousandths, which is as fine as the API stores: 12 digits of the largest unit fill 128 bits easily.
  __extension__ using Wide = __int128;
  Wide thousandths = Wide{std::stoll(parts[1].str())} * 1000;
  Wide part = 0;
  Wide scale = 1;
  for (const char digit : parts[2].str()) {
    part = part * 10 + (digit - '0');
    scale *= 10;
  }
  const Wide factor = two != nullptr ? two->factor : ten != nullptr ? ten->factor : 1;
  Wide fine = part * 1000 * factor;
  if (fine % scale != 0) return std::nullopt;
  thousandths = thousandths * factor + fine / scale;
  if (unit == "m") {
    if (thousandths % 1000 != 0) return std::nullopt;
    thousandths /= 1000;
  }
  if (thousandths > Wide{INT64_MAX}) return std::nullopt;
  const auto amount = static_cast<std::int64_t>(thousandths);
  if (amount % 1000 != 0) return fmt::format("{}m", amount);
  if (two != nullptr)
    if (const auto words = in_largest(binary, amount / 1000); words && amount != 0) return words;
  return amount == 0 ? "0" : in_largest(decimal, amount / 1000);
}

Json canonical_resources(Json resources) {
  for (auto& group : resources)
    for (auto& value : group)
      value = canonical_quantity(value).value_or("");
  return resources;
}

Json settings_body(const Json& deployment, const PodSettings& settings) {
  Json pod = Json::object();
  const Json& live = deployment["spec"]["template"]["spec"];
  if (!settings.tolerations.empty()) {
    pod["tolerations"] = live.value("tolerations", Json::array());
    for (const auto& toleration : settings.tolerations)
      if (std::find(pod["tolerations"].begin(), pod["tolerations"].end(), toleration) == pod["tolerations"].end())
        pod["tolerations"].push_back(toleration);
  }
  if (!settings.image.empty() || !settings.resources.empty()) {
    Json container = {{"name", live["containers"].at(0).value("name", "")}};
    if (!settings.image.empty()) container["image"] = settings.image;
    if (!settings.resources.empty()) container["resources"] = settings.resources;
    pod["containers"] = Json::array({container});
  }
  if (pod.empty()) return Json::object();
  return {{"spec", {{"template", {{"spec", pod}}}}}};
}

std::optional<std::string> fault_of_image(const Json& value) {
  const bool good = value.is_string() && !value.get_ref<const std::string&>().empty() &&
                    value.get_ref<const std::string&>().find_first_of(" \t\n") == std::string::npos;
  if (good) return std::nullopt;
  return fmt::format(" is {}; allowed is the name of an image", found_words(value));
}

std::optional<std::string> fault_of_resources(const Json& value) {
  if (!value.is_object()) return fmt::format(" is {}; allowed is a mapping of requests and limits", found_words(value));
  for (const auto& [group, amounts] : value.items()) {
    if (group != "requests" && group != "limits")
      return fmt::format(" has the key {}; allowed are requests and limits", group);
    if (!amounts.is_object())
      return fmt::format(".{} is {}; allowed is a mapping of resources to quantities", group, found_words(amounts));
    for (const auto& [name, amount] : amounts.items())
      if (!canonical_quantity(amount))
        return fmt::format(".{}.{} is {}; allowed is {}", group, name, found_words(amount), quantity_words);
  }
  return std::nullopt;
}

std::optional<std::string> fault_of_tolerations(const Json& value) {
  if (!value.is_array()) return fmt::format(" is {}; allowed is a list of tolerations", found_words(value));
  for (std::size_t i = 0; i < value.size(); ++i) {
    const Json& toleration = value[i];
    const std::string at = fmt::format("[{}]", i);
    if (!toleration.is_object()) return fmt::format("{} is {}; allowed is a mapping", at, found_words(toleration));
    for (const auto& [key, entry] : toleration.items()) {
      const std::string place = fmt::format("{}.{}", at, key);
      if (key == "operator") {
        if (!is_one_of(entry, {"Exists", "Equal"}))
          return fmt::format("{} is {}; allowed is one of Exists, Equal", place, found_words(entry));
      } else if (key == "effect") {
        if (!is_one_of(entry, {"NoSchedule", "PreferNoSchedule", "NoExecute"}))
          return fmt::format("{} is {}; allowed is one of NoSchedule, PreferNoSchedule, NoExecute", place,
                             found_words(entry));
      } else if (key == "tolerationSeconds") {
        if (!entry.is_number_integer())
          return fmt::format("{} is {}; allowed is an integer", place, found_words(entry));
      } else if (key == "key" || key == "value") {
        if (!entry.is_string()) return fmt::format("{} is {}; allowed is a string", place, found_words(entry));
      } else {
        return fmt::format("{} is not known; known are key, operator, value, effect, tolerationSeconds", place);
      }
    }
  }
  return std::nullopt;
}

}  // namespace core_ha::ha

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ha/corefile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>
#include <vector>

namespace core_ha::ha {

namespace {

constexpr const char* blanks = " \t\r";
constexpr int usual_port = 53;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// The text without a comment, which begins with a word.
std::string_view without_comment(std::string_view line) {
  for (std::size_t at = line.find('#'); at != std::string_view::npos; at = line.find('#', at + 1))
    if (at == 0 || std::string_view(blanks).find(line[at - 1]) != std::string_view::npos) return line.substr(0, at);
  return line;
}

/// Takes the brace off that opens a block at the line's end; false: there is none.
bool opens(std::string_view& line) {
  if (line != "{" && !line.ends_with(" {") && !line.ends_with("\t{")) return false;
  line = trimmed(line.substr(0, line.size() - 1));
  return true;
}

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream in{std::string(line)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) {
    if (word.ends_with(',')) word.pop_back();
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

/// Reads line by line, with one server and one plugin open at most.
class Reader {
 public:
  Result<Json> read(const std::string& corefile) {
    std::istringstream in(corefile);
    for (std::string line; std::getline(in, line);) {
      ++number_;
      const std::string_view text = trimmed(without_comment(line));
      if (text.empty()) continue;
      if (const char* what = take(text); what != nullptr) return fault(what, text);
    }
    if (in_server_) return fault("its last block is not closed", "");
    if (servers_.empty()) return fault("it has no server", "");
    Json values = {{"servers", servers_}};
    if (!import_.empty()) values["extraConfig"]["import"]["parameters"] = import_;
    return values;
  }

 private:
  Error fault(const char* what, std::string_view line) const {
    const std::string where = line.empty() ? "" : fmt::format(", at line {} (`{}`)", number_, line);
    return Error{ExitStatus::unsafe, fmt::format("The Corefile of ConfigMap kube-system/coredns cannot be put into the "
                                                 "chart's values: {}{}. Give coredns_values.servers.",
                                                 what, where)};
  }

  /// What of the line cannot be read; null: nothing.
  const char* take(std::string_view line) {
    if (line == "}") return close();
    if (in_plugin_) return take_in_plugin(line);
    if (in_server_) return take_plugin(line);
    return take_outside(line);
  }

  const char* close() {
    if (!in_server_) return "a block ends that never began";
    (in_plugin_ ? in_plugin_ : in_server_) = false;
    return nullptr;
  }

  const char* take_outside(std::string_view line) {
    if (line.starts_with("import ")) {
      if (!import_.empty()) return "it imports twice outside of its servers, and the values have place for one";
      import_ = trimmed(line.substr(std::string_view("import ").size()));
      return nullptr;
    }
    if (!opens(line)) return "outside of its servers there are imports alone";
    if (line.starts_with('(')) return "it has a snippet";
    return open_server(words_of(line));
  }

  const char* open_server(const std::vector<std::string>& addresses) {
    Json zones = Json::array();
    int port = 0;
    for (const auto& address : addresses) {
      std::string zone = address;
      if (zone.find("://") != std::string::npos) return "a server has a scheme";
      int number = usual_port;
      if (const auto colon = zone.rfind(':'); colon != std::string::npos) {
        const char* end = zone.data() + zone.size();
        if (std::from_chars(zone.data() + colon + 1, end, number).ptr != end) return "a server's port is no number";
        zone.resize(colon);
      }
      if (port != 0 && number != port) return "a server has two ports";
      port = number;
      zones.push_back({{"zone", zone.empty() ? "." : zone}});
    }
    if (zones.empty()) return "a server has no zone";
    // The chart writes the port behind the last zone alone.
    if (zones.size() > 1 && port != usual_port) return "a server has several zones, at another port than 53";
    servers_.push_back({{"zones", zones}, {"port", port}, {"plugins", Json::array()}});
    in_server_ = true;
    return nullptr;
  }

  const char* take_plugin(std::string_view line) {
    in_plugin_ = opens(line);
    const auto end = std::min(line.find_first_of(blanks), line.size());
    if (end == 0) return "a block has no name";
    Json plugin = {{"name", line.substr(0, end)}};
    if (const auto rest = trimmed(line.substr(end)); !rest.empty()) plugin["parameters"] = rest;
    servers_.back()["plugins"].push_back(std::move(plugin));
    return nullptr;
  }

  const char* take_in_plugin(std::string_view line) {
    if (opens(line)) return "it has a block in a plugin's";
    Json& block = servers_.back()["plugins"].back()["configBlock"];
    block = block.is_null() ? std::string(line) : fmt::format("{}\n{}", block.get<std::string>(), line);
    return nullptr;
  }

  Json servers_ = Json::array();
  std::string import_;
  int number_ = 0;
  bool in_server_ = false;
  bool in_plugin_ = false;
};

}  // namespace

Result<Json> chart_values_of(const std::string& corefile) {
  return Reader().read(corefile);
}

void add_lameduck(Json& servers, int seconds) {
  for (auto& server : servers)
    for (auto& plugin : server["plugins"]) {
      if (plugin["name"] != "health") continue;
      const std::string block = plugin.value("configBlock", "");
      if (block.find("lameduck") == std::string::npos)
        plugin["configBlock"] = fmt::format("{}lameduck {}s", block.empty() ? "" : block + "\n", seconds);
    }
}

void replace_path(Json& servers, const std::string& path, const std::string& other) {
  for (auto& server : servers)
    for (auto& plugin : server["plugins"])
      for (const char* key : {"parameters", "configBlock"}) {
        if (!plugin.contains(key)) continue;
        std::string text = plugin[key];
        for (auto at = text.find(path); at != std::string::npos; at = text.find(path, at + other.size()))
          text.replace(at, path.size(), other);
        plugin[key] = text;
      }
}

}  // namespace core_ha::ha

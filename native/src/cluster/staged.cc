// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/staged.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "base/file.h"
#include "base/log.h"
#include "base/yaml.h"

namespace core_ha::cluster {

namespace {

namespace fs = std::filesystem;

/// What a `.skip` of ours says. k3s looks only whether the file is there.
constexpr std::string_view mark = "k3s-core-ha\n";

struct Manifest {
  const char* name;
  const char* directory;
};

constexpr std::array manifests{Manifest{coredns_manifest, ""}, Manifest{metrics_server_manifest, "metrics-server"}};

fs::path beside(const fs::path& directory, const Manifest& manifest, const char* ending) {
  return directory / manifest.directory / (std::string(manifest.name) + ending);
}

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

}  // namespace

std::set<std::string> names_in(std::string_view text) {
  std::set<std::string> names;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    if (end > 0) names.emplace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

Json read_staged(const fs::path& directory) {
  Json staged = Json::object();
  for (const auto& manifest : manifests) {
    const fs::path file = beside(directory, manifest, ".yaml");
    if (!is_there(file)) continue;
    const auto text = read_file(file);
    auto documents = text ? parse_yaml_documents(*text) : Result<Json>(text.error());
    if (!documents) {
      log::progress(text ? file.string() + " " + documents.error().message : text.error().message);
      continue;
    }
    Json objects = Json::array();
    for (auto& document : *documents)
      if (document.is_object() && document.contains("metadata")) objects.push_back(std::move(document));
    staged[manifest.name] = std::move(objects);
  }
  return staged;
}

std::set<std::string> set_aside_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& manifest : manifests)
    if (is_there(beside(directory, manifest, ".yaml.skip")) ||
        is_there(directory / (std::string(manifest.name) + ".yaml.skip")))
      names.insert(manifest.name);
  return names;
}

Result<bool> set_aside(const fs::path& directory, const std::set<std::string>& names) {
  const auto there = set_aside_in(directory);
  bool changed = false;
  for (const auto& manifest : manifests) {
    const fs::path file = beside(directory, manifest, ".yaml.skip");
    if (names.contains(manifest.name)) {
      if (there.contains(manifest.name)) continue;
      if (auto written = replace_file(file, mark); !written) return written.error();
      changed = true;
    } else if (const auto text = is_there(file) ? read_file(file) : Result<std::string>(Error{});
               text && *text == mark) {
      std::error_code failed;
      fs::remove(file, failed);
      if (failed) return Error{ExitStatus::internal, file.string() + ": " + failed.message()};
      changed = true;
    }
  }
  return changed;
}

}  // namespace core_ha::cluster

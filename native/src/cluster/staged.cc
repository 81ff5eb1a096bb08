// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/staged.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/yaml.h"
#include "kube/object_ref.h"

namespace core_ha::cluster {

namespace {

namespace fs = std::filesystem;

/// What a `.skip` of ours says. k3s looks only whether the file is there.
constexpr std::string_view mark = "k3s-core-ha\n";

constexpr std::string_view skip_ending = ".skip";
/// A file that is larger than any of k3s's is looked at no further.
constexpr std::uintmax_t largest_rival = std::uintmax_t{1} << 20;

struct Manifest {
  const char* name;
  const char* directory;
};

constexpr std::array manifests{Manifest{coredns_manifest, ""}, Manifest{metrics_server_manifest, "metrics-server"}};

fs::path beside(const fs::path& directory, const Manifest& manifest, const char* ending) {
  return directory / manifest.directory / (std::string(manifest.name) + ending);
}

/// By which k3s tells a manifest from other files.
bool is_manifest(const fs::path& file) {
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".yaml" || ending == ".yml" || ending == ".json";
}

/// The first of these objects that the file declares, too; empty: none, or it cannot be read.
std::string declared_too(const fs::path& file, const Json& objects) {
  std::error_code failed;
  const auto size = objects.empty() ? largest_rival + 1 : fs::file_size(file, failed);
  if (failed || size > largest_rival) return {};
  const auto text = read_file(file);
  const auto documents = text ? parse_yaml_documents(*text) : Result<Json>(text.error());
  if (!documents) return {};
  Json declared = Json::array();
  for (const auto& document : *documents) {
    const bool list = document.is_object() && document.contains("items") && document["items"].is_array();
    for (const auto& object : list ? document["items"] : Json::array({document}))
      declared.push_back(object);
  }
  for (const auto& object : objects)
    for (const auto& other : declared)
      if (kube::ref_of(other) == kube::ref_of(object)) return kube::to_string(kube::ref_of(object));
  return {};
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

Json read_rivals(const fs::path& directory, const Json& staged) {
  std::error_code failed;
  std::vector<fs::path> files;
  std::set<std::string> skipped;
  for (fs::recursive_directory_iterator at(directory, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(skip_ending)) skipped.insert(name.substr(0, name.size() - skip_ending.size()));
    if (!name.starts_with('.') && is_manifest(at->path())) files.push_back(at->path());
  }
  std::sort(files.begin(), files.end());
  Json rivals = Json::array();
  for (const auto& file : files) {
    const std::string name = file.filename().string();
    if (skipped.contains(name)) continue;
    for (const auto& manifest : manifests) {
      if (file == beside(directory, manifest, ".yaml")) continue;
      const Json head = {{"name", file.lexically_relative(directory).string()}};
      if (name.substr(0, name.find('.')) == manifest.name)
        rivals.push_back({{"metadata", head}, {"manifest", manifest.name}, {"addon", true}});
      else if (const std::string object = declared_too(file, staged.value(manifest.name, Json::array()));
               !object.empty())
        rivals.push_back({{"metadata", head}, {"manifest", manifest.name}, {"object", object}});
    }
  }
  return rivals;
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

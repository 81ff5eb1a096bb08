// SPDX-License-Identifier: GPL-3.0-or-later
#include "cluster/k3s.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <array>

#include "base/encoding.h"

namespace core_ha::cluster {

namespace {

constexpr const char* args_annotation = "k3s.io/node-args";
constexpr const char* owner_annotation = "objectset.rio.cattle.io/owner-name";
constexpr const char* env_annotation = "k3s.io/node-env";
/// An annotation is at most 256 KiB, and manifests compress to a tenth.
constexpr std::size_t largest_manifest = std::size_t{8} << 20;

const std::string* annotation(const Json& object, const char* name) {
  const auto metadata = object.find("metadata");
  if (metadata == object.end()) return nullptr;
  const auto annotations = metadata->find("annotations");
  if (annotations == metadata->end() || !annotations->is_object()) return nullptr;
  const auto it = annotations->find(name);
  return it != annotations->end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

std::optional<std::string> gunzip(const std::string& packed) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  std::array<char, 16384> buffer{};
  int state = Z_OK;
  while (state == Z_OK && out.size() <= largest_manifest) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    state = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (state != Z_STREAM_END) return std::nullopt;
  return out;
}

/// wrangler keeps no more than 64 characters of a string in the annotation.
bool is_cut(const Json& value) {
  return value.is_string() && value.get_ref<const std::string&>().size() >= 64;
}

bool has_cut(const Json& value) {
  return is_cut(value) || (value.is_structured() && std::any_of(value.begin(), value.end(), has_cut));
}

bool secret_flag(std::string_view flag) {
  constexpr std::array<std::string_view, 5> names{"token", "datastore-endpoint", "secret", "password", "access-key"};
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return flag.find(name) != std::string_view::npos; });
}

}  // namespace

std::optional<Json> applied_manifest(const Json& object) {
  const std::string* text = annotation(object, applied_annotation);
  if (text == nullptr || text->empty()) return std::nullopt;
  std::optional<std::string> plain = *text;
  if (!text->starts_with("{")) {
    // k3s leaves the padding out (wrangler, pkg/apply/desiredset_compare.go: base64.RawStdEncoding).
    const auto packed = decode_base64(*text + std::string((4 - text->size() % 4) % 4, '='));
    plain = packed ? gunzip(*packed) : std::nullopt;
  }
  if (!plain) return std::nullopt;
  Json manifest = Json::parse(*plain, nullptr, false);
  if (!manifest.is_object()) return std::nullopt;
  return manifest;
}

std::optional<Json> whole_applied_manifest(const Json& object) {
  auto manifest = applied_manifest(object);
  if (manifest && has_cut(*manifest)) return std::nullopt;
  return manifest;
}

std::string addon_of(const Json& object) {
  const std::string* owner = annotation(object, owner_annotation);
  return owner == nullptr ? std::string() : *owner;
}

Durability durability(const std::optional<Json>& manifest, const FieldPath& path, const Json& wish) {
  if (!manifest) return Durability::durable;
  const Json* declared = value_at(*manifest, path);
  if (declared == nullptr || *declared == wish) return Durability::durable;
  const bool same_so_far = is_cut(*declared) && wish.is_string() &&
                           wish.get_ref<const std::string&>().starts_with(declared->get_ref<const std::string&>());
  return same_so_far ? Durability::durable : Durability::contested;
}

std::optional<std::vector<std::string>> node_args(const Json& node) {
  const std::string* text = annotation(node, args_annotation);
  if (text == nullptr) return std::nullopt;
  const Json list = Json::parse(*text, nullptr, false);
  if (!list.is_array()) return std::nullopt;
  std::vector<std::string> args;
  for (const auto& item : list)
    if (item.is_string()) args.push_back(item.get<std::string>());
  return args;
}

std::vector<std::string> flag_values(const std::vector<std::string>& args, std::string_view flag) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string_view arg = args[i];
    if (arg == flag) {
      const bool alone = i + 1 == args.size() || args[i + 1].starts_with('-');
      values.push_back(alone ? "true" : args[i + 1]);
    } else if (arg.starts_with(flag) && arg.size() > flag.size() && arg[flag.size()] == '=') {
      values.emplace_back(arg.substr(flag.size() + 1));
    }
  }
  return values;
}

std::string told_by(const Snapshot& snapshot, std::string_view flag) {
  for (const auto& node : snapshot.nodes)
    if (const auto args = node_args(node))
      if (const auto values = flag_values(*args, flag); !values.empty())
        return fmt::format("{}", fmt::join(values, ","));
  return {};
}

std::string pulled_as(const Snapshot& snapshot, std::string_view image) {
  const std::string registry = told_by(snapshot, "--system-default-registry");
  return registry.empty() ? std::string(image) : fmt::format("{}/{}", registry, image);
}

std::vector<std::string> disabled_on(const Snapshot& snapshot, std::string_view name) {
  const std::string wanted = fmt::format(",{},", name);
  std::vector<std::string> servers;
  for (const auto& node : snapshot.nodes) {
    const auto args = node_args(node);
    if (!args) continue;
    for (std::string values : flag_values(*args, "--disable")) {
      values.insert(0, ",").append(",");  // one flag may name several
      if (values.find(wanted) == std::string::npos) continue;
      servers.push_back(node["metadata"]["name"]);
      break;
    }
  }
  return servers;
}

bool disabled_everywhere(const Snapshot& snapshot, std::string_view name) {
  const auto disabled = disabled_on(snapshot, name);
  const auto servers = std::count_if(snapshot.nodes.begin(), snapshot.nodes.end(), [](const Json& node) {
    const auto args = node_args(node);
    return args && !args->empty() && args->front() == "server";
  });
  return !disabled.empty() && static_cast<std::size_t>(servers) == disabled.size();
}

std::optional<bool> kube_proxy_serves(const Snapshot& snapshot) {
  bool told = false;
  for (const auto& node : snapshot.nodes) {
    const auto args = node_args(node);
    if (!args) continue;
    told = told || (!args->empty() && args->front() == "server");  // an agent is not told what servers disable
    for (const auto& value : flag_values(*args, "--disable-kube-proxy"))
      if (value != "false") return false;
    for (const auto& value : flag_values(*args, "--kube-proxy-arg"))
      if (value.find("proxy-mode=ipvs") != std::string::npos) return false;
  }
  if (!told) return std::nullopt;
  return true;
}

void redact_node(Json& node) {
  if (!node.contains("metadata") || !node["metadata"].contains("annotations")) return;
  Json& annotations = node["metadata"]["annotations"];
  if (!annotations.is_object()) return;
  annotations.erase(env_annotation);
  auto args = node_args(node);
  if (!args) {
    annotations.erase(args_annotation);  // not a list: nothing can tell what is in it
    return;
  }
  bool next = false;
  for (auto& arg : *args) {
    const auto equals = arg.find('=');
    if (next && !arg.starts_with('-')) arg = "********";
    next = arg.starts_with('-') && equals == std::string::npos && secret_flag(arg);
    if (arg.starts_with('-') && equals != std::string::npos && secret_flag(arg.substr(0, equals)))
      arg = arg.substr(0, equals + 1) + "********";
  }
  annotations[args_annotation] = Json(*args).dump();
}

}  // namespace core_ha::cluster

// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/kubeconfig.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "base/yaml.h"

namespace core_ha::kube {
namespace {

namespace fs = std::filesystem;

/// One entry of a map, with the file that named it: relative paths resolve against that.
struct Entry {
  Json value = Json::object();
  fs::path file;
};

/// What all files come to. Its JSON holds secrets, so it is wiped when it goes.
struct Merged {
  std::map<std::string, Entry> clusters, users, contexts;
  std::string current_context;
  fs::path first_file;

  Merged() = default;
  Merged(Merged&&) = default;
  Merged& operator=(Merged&&) = default;
  Merged(const Merged&) = delete;
  Merged& operator=(const Merged&) = delete;
  ~Merged() {
    for (auto* map : {&clusters, &users, &contexts})
      for (auto& [name, entry] : *map)
        wipe_strings(entry.value);
  }
};

Error refuse(std::string message) {
  return Error{ExitStatus::usage, std::move(message)};
}

Result<void> add_entries(const Json& document, const char* list, const char* field, const fs::path& file,
                         std::map<std::string, Entry>& into) {
  const auto it = document.find(list);
  if (it == document.end() || it->is_null()) return {};
  if (!it->is_array()) return refuse(fmt::format("kubeconfig {}: {} is not a list", file.string(), list));
  for (const Json& item : *it) {
    if (!item.is_object() || text_of(item, "name").empty())
      return refuse(fmt::format("kubeconfig {}: an entry of {} has no name", file.string(), list));
    const auto value = item.find(field);
    if (value != item.end() && !value->is_object() && !value->is_null())
      return refuse(fmt::format("kubeconfig {}: {} \"{}\" is not a map", file.string(), field, text_of(item, "name")));
    // The first file that names an entry wins it whole.
    into.try_emplace(text_of(item, "name"),
                     Entry{value == item.end() || value->is_null() ? Json::object() : *value, file});
  }
  return {};
}

Result<void> merge_file(const fs::path& file, Merged& merged) {
  auto content = read_file(file);
  if (!content) return refuse(fmt::format("kubeconfig {}", content.error().message));
  auto document = parse_yaml(*content);
  wipe(*content);
  if (!document) return refuse(fmt::format("kubeconfig {} {}", file.string(), document.error().message));
  struct Wiper {
    Json& document;
    ~Wiper() { wipe_strings(document); }
  } const wiper{*document};
  if (document->is_null()) return {};  // an empty file is an empty config
  if (!document->is_object()) return refuse(fmt::format("kubeconfig {} is not a map", file.string()));
  for (const auto& [list, field, map] :
       {std::tuple{"clusters", "cluster", &merged.clusters}, std::tuple{"users", "user", &merged.users},
        std::tuple{"contexts", "context", &merged.contexts}})
    if (auto added = add_entries(*document, list, field, file, *map); !added) return added;
  if (merged.current_context.empty()) merged.current_context = text_of(*document, "current-context");
  return {};
}

std::vector<std::string> split_unique(const std::string& list) {
  std::vector<std::string> parts;
  std::set<std::string> seen;
  std::stringstream stream(list);
  for (std::string part; std::getline(stream, part, ':');)
    if (!part.empty() && seen.insert(part).second) parts.push_back(part);
  return parts;
}

Result<std::vector<std::string>> files_to_read(const KubeconfigSearch& search) {
  std::error_code ignored;
  if (!search.path.empty()) {
    if (!fs::exists(search.path, ignored)) return refuse(fmt::format("kubeconfig {} does not exist", search.path));
    return std::vector{search.path};
  }
  if (!search.env.empty()) {
    std::vector<std::string> found;
    for (const std::string& file : split_unique(search.env))
      if (fs::exists(file, ignored)) found.push_back(file);
    if (found.empty())
      return refuse(fmt::format("no kubeconfig: KUBECONFIG names {}, which does not exist", search.env));
    return found;
  }
  std::string unreadable;
  for (const std::string& file : search.defaults) {
    if (!fs::exists(file, ignored)) continue;
    if (access(file.c_str(), R_OK) == 0) return std::vector{file};
    if (unreadable.empty()) unreadable = file;  // k3s.yaml is root's alone by default: a user's own file may follow
  }
  if (!unreadable.empty()) return refuse(fmt::format("kubeconfig {} cannot be read by this user", unreadable));
  return refuse(fmt::format("no kubeconfig: give --kubeconfig or KUBECONFIG, or put one at {}",
                            fmt::join(search.defaults, " or ")));
}

/// The inline value (base64), else the file it names, else nothing.
Result<std::string> data_or_file(const Entry& entry, const std::string& key, const std::string& whose) {
  if (const auto data = entry.value.find(key + "-data");
      data != entry.value.end() && data->is_string() && !data->get_ref<const std::string&>().empty()) {
    auto decoded = decode_base64(data->get_ref<const std::string&>());
    if (!decoded) return refuse(fmt::format("{}: {}-data is no valid base64", whose, key));
    return std::move(*decoded);
  }
  const std::string file = text_of(entry.value, key.c_str());
  if (file.empty()) return std::string();
  auto content = read_file(entry.file.parent_path() / file);
  if (!content) return refuse(fmt::format("{}: {} {}", whose, key, content.error().message));
  return content;
}

Result<std::string> read_token(const fs::path& file) {
  auto token = read_file(file);
  while (token && !token->empty() && std::isspace(static_cast<unsigned char>(token->back())) != 0)
    token->pop_back();
  return token;
}

Result<void> read_cluster(const Entry& entry, const std::string& name, http::Connection& connection) {
  const std::string whose = fmt::format("kubeconfig {}: cluster \"{}\"", entry.file.string(), name);
  const std::string server = text_of(entry.value, "server");
  if (server.empty()) return refuse(whose + " has no server");
  auto url = http::server_url(server);
  if (!url) return refuse(fmt::format("{}: server {}", whose, url.error().message));
  connection.servers = {std::move(*url)};
  connection.tls_server_name = text_of(entry.value, "tls-server-name");
  connection.proxy_url = text_of(entry.value, "proxy-url");
  const auto insecure = entry.value.find("insecure-skip-tls-verify");
  connection.insecure = insecure != entry.value.end() && insecure->is_boolean() && insecure->get<bool>();
  auto ca = data_or_file(entry, "certificate-authority", whose);
  if (!ca) return ca.error();
  if (connection.insecure && !ca->empty())
    return refuse(whose + " has both a certificate authority and insecure-skip-tls-verify");
  connection.ca_pem = std::move(*ca);
  return {};
}

Result<void> read_user(Entry& entry, const std::string& name, http::Connection& connection) {
  const std::string whose = fmt::format("kubeconfig {}: user \"{}\"", entry.file.string(), name);
  for (const char* unsupported : {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra"})
    if (entry.value.contains(unsupported) && !entry.value[unsupported].is_null())
      return refuse(fmt::format("{} uses {}, which is not supported yet: use a client certificate or a token", whose,
                                unsupported));
  auto cert = data_or_file(entry, "client-certificate", whose);
  if (!cert) return cert.error();
  auto key = data_or_file(entry, "client-key", whose);
  if (!key) return key.error();
  connection.client_cert_pem = std::move(*cert);
  connection.client_key_pem = SecretString::take(std::move(*key));
  if (connection.client_cert_pem.empty() != connection.client_key_pem.empty())
    return refuse(fmt::format("{} has a client certificate without its key, or the reverse", whose));

  std::string token = text_of(entry.value, "token");
  if (const std::string file = text_of(entry.value, "tokenFile"); token.empty() && !file.empty()) {
    auto content = read_token(entry.file.parent_path() / file);
    if (!content) return refuse(fmt::format("{}: tokenFile {}", whose, content.error().message));
    token = std::move(*content);
  }
  connection.token = SecretString::take(std::move(token));
  connection.username = text_of(entry.value, "username");
  connection.password = SecretString::take(text_of(entry.value, "password"));
  if (!connection.token.empty() && !connection.username.empty())
    return refuse(whose + " has both a token and a user name: only one can be used");
  return {};
}

/// What a pod is given (client-go's rest.InClusterConfig).
Result<http::Connection> in_cluster(const KubeconfigSearch& search) {
  const fs::path account = search.service_account;
  const bool ipv6 = search.service_host.find(':') != std::string::npos;
  auto url = http::server_url(fmt::format(fmt::runtime(ipv6 ? "https://[{}]:{}" : "https://{}:{}"), search.service_host,
                                          search.service_port.empty() ? "443" : search.service_port));
  if (!url) return refuse("KUBERNETES_SERVICE_HOST and _PORT: " + url.error().message);
  http::Connection connection;
  connection.source = account.string();
  connection.context = "the pod's service account";
  connection.servers = {std::move(*url)};
  auto token = read_token(account / "token");
  if (!token) return refuse(fmt::format("the pod's service account: {}", token.error().message));
  connection.token = SecretString::take(std::move(*token));
  auto ca = read_file(account / "ca.crt");
  if (!ca) return refuse(fmt::format("the pod's service account: {}", ca.error().message));
  connection.ca_pem = std::move(*ca);
  if (auto ns = read_file(account / "namespace")) connection.namespace_ = std::move(*ns);
  return connection;
}

Result<void> keep_credentials_safe(const http::Connection& connection, const std::string& whose) {
  if (!connection.has_credentials()) return {};
  for (const std::string& server : connection.servers)
    if (!server.starts_with("https://"))
      return refuse(fmt::format("{}: {} is not https, and credentials go over https only", whose, server));
  return {};
}

}  // namespace

KubeconfigSearch default_search(std::string path, std::string context) {
  KubeconfigSearch search{std::move(path), std::move(context), {}, {"/etc/rancher/k3s/k3s.yaml"}};
  // Read once, before any thread is started.
  if (const char* env = std::getenv("KUBECONFIG")) search.env = env;
  if (const char* host = std::getenv("KUBERNETES_SERVICE_HOST")) search.service_host = host;
  if (const char* port = std::getenv("KUBERNETES_SERVICE_PORT")) search.service_port = port;
  if (const char* home = std::getenv("HOME")) search.defaults.push_back(std::string(home) + "/.kube/config");
  return search;
}

Result<http::Connection> load_kubeconfig(const KubeconfigSearch& search) {
  auto files = files_to_read(search);
  if (!files) return search.may_be_in_pod() ? in_cluster(search) : files.error();
  Merged merged;
  for (const std::string& file : *files)
    if (auto done = merge_file(fs::absolute(file), merged); !done) return done.error();

  const std::string name = search.context.empty() ? merged.current_context : search.context;
  const std::string source = files->front();
  if (name.empty()) return refuse(fmt::format("kubeconfig {} has no current-context: give --context", source));
  const auto context = merged.contexts.find(name);
  if (context == merged.contexts.end()) return refuse(fmt::format("kubeconfig {} has no context \"{}\"", source, name));
  const std::string cluster_name = text_of(context->second.value, "cluster");
  const std::string user_name = text_of(context->second.value, "user");
  const auto cluster = merged.clusters.find(cluster_name);
  if (cluster == merged.clusters.end())
    return refuse(fmt::format("kubeconfig {}: context \"{}\" names cluster \"{}\", which is not there", source, name,
                              cluster_name));
  http::Connection connection;
  connection.context = name;
  connection.source = source;
  connection.namespace_ = text_of(context->second.value, "namespace");
  if (auto done = read_cluster(cluster->second, cluster_name, connection); !done) return done.error();
  if (!user_name.empty()) {
    const auto user = merged.users.find(user_name);
    if (user == merged.users.end())
      return refuse(
          fmt::format("kubeconfig {}: context \"{}\" names user \"{}\", which is not there", source, name, user_name));
    if (auto done = read_user(user->second, user_name, connection); !done) return done.error();
  }
  if (auto safe = keep_credentials_safe(connection, fmt::format("kubeconfig {}: cluster \"{}\"", source, cluster_name));
      !safe)
    return safe.error();
  return connection;
}

Result<void> use_servers(http::Connection& connection, const std::vector<std::string>& servers) {
  connection.servers.clear();
  for (const std::string& server : servers) {
    auto url = http::server_url(server);
    if (!url) return refuse("--server " + url.error().message);
    auto& known = connection.servers;
    if (std::find(known.begin(), known.end(), *url) == known.end()) known.push_back(std::move(*url));
  }
  return keep_credentials_safe(connection, "--server");
}

}  // namespace core_ha::kube

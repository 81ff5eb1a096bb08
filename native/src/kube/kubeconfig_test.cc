// SPDX-License-Identifier: GPL-3.0-or-later
// How client-go's clientcmd reads a kubeconfig; each case names its file there.
#include "kube/kubeconfig.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using core_ha::kube::KubeconfigSearch;
using core_ha::kube::load_kubeconfig;
using core_ha::kube::use_servers;

namespace {

/// A directory of files for one test.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/core-ha-kubeconfig-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& content) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
    return file.string();
  }
  std::string at(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string config(const std::string& cluster, const std::string& user) {
  return fmt::format(R"(apiVersion: v1
kind: Config
clusters: [{{name: default, cluster: {{{}}}}}]
users: [{{name: default, user: {{{}}}}}]
contexts: [{{name: default, context: {{cluster: default, user: default, namespace: team}}}}]
current-context: default
)",
                     cluster, user);
}

const std::string k3s_cluster = "server: 'https://127.0.0.1:6443', certificate-authority-data: Y2E=";

std::string refusal(const Folder& folder, const std::string& cluster, const std::string& user) {
  const auto loaded = load_kubeconfig({folder.write("c.yaml", config(cluster, user)), "", "", {}});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().status == core_ha::ExitStatus::usage);
  const std::string& message = loaded.error().message;
  CHECK(message.find("kubeconfig /tmp/") == 0);
  return message.substr(message.find("c.yaml") + 6);
}

}  // namespace

TEST_CASE("k3s.yaml: a server with inline CA, certificate and key") {
  const Folder folder;
  const auto file =
      folder.write("k3s.yaml", config(k3s_cluster, "client-certificate-data: Y2VydA==, client-key-data: a2V5"));
  const auto loaded = load_kubeconfig({file, "", "", {}});
  REQUIRE(loaded);
  CHECK(loaded->servers == std::vector<std::string>{"https://127.0.0.1:6443"});
  CHECK(loaded->ca_pem == "ca");
  CHECK(loaded->client_cert_pem == "cert");
  CHECK(loaded->client_key_pem.reveal() == "key");
  CHECK(loaded->context == "default");
  CHECK(loaded->namespace_ == "team");
}

TEST_CASE("tools/clientcmd/loader.go: an explicit path must exist and is used alone") {
  const Folder folder;
  const auto other = folder.write("other.yaml", config(k3s_cluster, "token: t"));
  const auto loaded = load_kubeconfig({folder.at("missing"), "", other, {other}});
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().message.find("does not exist") != std::string::npos);
}

TEST_CASE("tools/clientcmd/loader.go: KUBECONFIG before the defaults; missing files are skipped; none at all is said") {
  const Folder folder;
  const auto first = folder.write("first.yaml", config("server: 'https://first'", "token: t"));
  const auto second = folder.write("second.yaml", config("server: 'https://second'", "token: t"));
  CHECK(load_kubeconfig({"", "", folder.at("missing") + ":" + first, {second}})->servers.front() == "https://first");
  CHECK(load_kubeconfig({"", "", "", {folder.at("missing"), second}})->servers.front() == "https://second");
  CHECK(load_kubeconfig({"", "", folder.at("missing"), {second}}).error().message.find("does not exist") !=
        std::string::npos);
  CHECK(
      load_kubeconfig({"", "", "", {folder.at("missing")}}).error().message.find("no kubeconfig: give --kubeconfig") ==
      0);
}

TEST_CASE("tools/clientcmd/loader.go: the first file wins an entry whole, the first non-empty current-context wins") {
  const Folder folder;
  const auto first = folder.write("1.yaml", "users: [{name: u, user: {username: a}}]\ncurrent-context: \"\"\n");
  const auto second =
      folder.write("2.yaml",
                   "users: [{name: u, user: {username: b, password: p}}]\n"
                   "clusters: [{name: c, cluster: {server: 'https://c', insecure-skip-tls-verify: true}}]\n"
                   "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n");
  const auto loaded = load_kubeconfig({"", "", first + ":" + second + ":" + first, {}});
  REQUIRE(loaded);
  CHECK(loaded->username == "a");
  CHECK(loaded->password.empty());
  CHECK(loaded->insecure);
}

TEST_CASE("tools/clientcmd/loader.go: an invalid file is an error, an empty one an empty config") {
  const Folder folder;
  CHECK(load_kubeconfig({folder.write("bad", "a: ["), "", "", {}}).error().message.find("is no valid YAML") !=
        std::string::npos);
  CHECK(load_kubeconfig({folder.write("empty", ""), "", "", {}}).error().message.find("has no current-context") !=
        std::string::npos);
}

TEST_CASE(
    "rest/config.go, loader.go: -data wins over the file; relative paths resolve against the file that named them") {
  const Folder folder;
  folder.write("pki/ca.crt", "from file");
  folder.write("pki/token", "secret\n");
  const auto file =
      folder.write("k.yaml", config("server: 'https://x', certificate-authority: pki/ca.crt", "tokenFile: pki/token"));
  auto loaded = load_kubeconfig({file, "", "", {}});
  REQUIRE(loaded);
  CHECK(loaded->ca_pem == "from file");
  CHECK(loaded->token.reveal() == "secret");
  const auto both = folder.write(
      "b.yaml",
      config("server: 'https://x', certificate-authority: pki/ca.crt, certificate-authority-data: Y2E=", "token: t"));
  CHECK(load_kubeconfig({both, "", "", {}})->ca_pem == "ca");
}

TEST_CASE("validation.go: what does not fit together is one sentence") {
  const Folder folder;
  CHECK(refusal(folder, "insecure-skip-tls-verify: true", "token: t") == ": cluster \"default\" has no server");
  CHECK(refusal(folder, k3s_cluster, "client-certificate-data: Y2VydA==") ==
        ": user \"default\" has a client certificate without its key, or the reverse");
  CHECK(refusal(folder, k3s_cluster, "token: t, username: u, password: p") ==
        ": user \"default\" has both a token and a user name: only one can be used");
  CHECK(refusal(folder, k3s_cluster, "exec: {command: x}") ==
        ": user \"default\" uses exec, which is not supported yet: use a client certificate or a token");
  CHECK(refusal(folder, k3s_cluster, "client-certificate: none.crt, client-key: none.key").find("No such file") !=
        std::string::npos);
  CHECK(refusal(folder, k3s_cluster, "client-certificate-data: '*', client-key-data: a2V5") ==
        ": user \"default\": client-certificate-data is no valid base64");
}

TEST_CASE("client_config.go: credentials go over https only") {
  const Folder folder;
  CHECK(refusal(folder, "server: 'http://10.0.0.1:8080'", "token: t") ==
        ": cluster \"default\": http://10.0.0.1:8080 is not https, and credentials go over https only");
  CHECK(load_kubeconfig({folder.write("p", config("server: 'http://127.0.0.1:8001'", "")), "", "", {}}));
}

TEST_CASE("clientcmd/api/v1/types.go: each field that a cluster, a user and a context have") {
  const Folder folder;
  const auto load = [&](const std::string& cluster, const std::string& user) {
    auto loaded = load_kubeconfig({folder.write("t.yaml", config(cluster, user)), "", "", {}});
    REQUIRE(loaded);
    return std::move(*loaded);
  };
  const auto one =
      load("server: 'https://a', tls-server-name: kubernetes, insecure-skip-tls-verify: true, proxy-url: 'http://p:1'",
           "username: u, password: p");
  CHECK(one.servers == std::vector<std::string>{"https://a"});
  CHECK(one.tls_server_name == "kubernetes");
  CHECK(one.insecure);
  CHECK(one.proxy_url == "http://p:1");
  CHECK(one.username == "u");
  CHECK(one.password.reveal() == "p");
  CHECK(one.context == "default");
  CHECK(one.namespace_ == "team");
  CHECK(load("server: 'https://a'", "token: t").token.reveal() == "t");
  for (const char* field : {"as", "as-uid", "exec", "auth-provider"})
    CHECK(refusal(folder, k3s_cluster, fmt::format("{}: x", field)).find(fmt::format("uses {}, which is", field)) !=
          std::string::npos);
}

TEST_CASE("servers named beside the kubeconfig take the place of its own, with its credentials") {
  const Folder folder;
  auto loaded = load_kubeconfig({folder.write("k.yaml", config(k3s_cluster, "token: t")), "", "", {}});
  REQUIRE(loaded);
  CHECK(use_servers(*loaded, {"https://a:6443/", "b:6443", "https://a:6443"}));
  CHECK(loaded->servers == std::vector<std::string>{"https://a:6443", "https://b:6443"});
  CHECK(loaded->token.reveal() == "t");
  CHECK(use_servers(*loaded, {"http://a"}).error().message ==
        "--server: http://a is not https, and credentials go over https only");
  CHECK(
      use_servers(*loaded, {"https://a", "nonsense://b"}).error().message.find("--server \"nonsense://b\" is no URL") ==
      0);
}

TEST_CASE("a context that names what is not there is said") {
  const Folder folder;
  const auto file = folder.write("c", config(k3s_cluster, "token: t"));
  CHECK(load_kubeconfig({file, "other", "", {}}).error().message.ends_with("has no context \"other\""));
}

TEST_CASE("merged_client_builder.go: the pod's service account, only when no kubeconfig was given or found") {
  const Folder folder;
  const auto token = folder.write("account/token", "t0ken\n");
  folder.write("account/ca.crt", "a certificate");
  folder.write("account/namespace", "kube-system");
  KubeconfigSearch search{"", "", "", {folder.at("absent")}, "10.43.0.1", "443", folder.at("account")};
  auto loaded = load_kubeconfig(search);
  REQUIRE(loaded);
  CHECK(loaded->servers == std::vector<std::string>{"https://10.43.0.1:443"});
  CHECK(loaded->token.reveal() == "t0ken");
  CHECK(loaded->ca_pem == "a certificate");
  CHECK(loaded->namespace_ == "kube-system");

  search.service_host = "fd00::1";
  CHECK(load_kubeconfig(search)->servers == std::vector<std::string>{"https://[fd00::1]:443"});

  search.defaults.push_back(folder.write("found", config(k3s_cluster, "token: other")));
  CHECK(load_kubeconfig(search)->token.reveal() == "other");
  search.defaults.pop_back();
  search.env = folder.at("absent");
  CHECK_FALSE(load_kubeconfig(search));
  search.env.clear();
  std::filesystem::remove(token);
  CHECK(load_kubeconfig(search).error().message.find("the pod's service account: " + token) == 0);
  search.service_host.clear();
  CHECK(load_kubeconfig(search).error().message.find("no kubeconfig") == 0);
}

// SPDX-License-Identifier: GPL-3.0-or-later
// How a Kubernetes client behaves, against a real HTTPS server; each case names the file of client-go, apimachinery or
// kubectl that sets the rule.
#include "kube/api_client.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/version.h"
#include "http/https_server_testing.h"
#include "kube/status.h"

using namespace core_ha;
using namespace core_ha::kube;
using core_ha::http::testing::HttpsServer;
using core_ha::http::testing::Reply;
using core_ha::http::testing::SeenRequest;
using namespace std::chrono_literals;

namespace {

const ObjectRef deployment{"apps/v1", "Deployment", "kube-system", "coredns"};

std::unique_ptr<ApiClient> client_of(const HttpsServer& server, std::chrono::milliseconds timeout = 5s) {
  auto client = ApiClient::open(server.connection(), {.connect_timeout = 2s, .request_timeout = timeout}, {});
  REQUIRE(client);
  return std::move(*client);
}

/// What is logged while one lives, at the most detailed level.
class VerboseLog {
 public:
  VerboseLog()
      : verbosity_(log::verbosity()),
        stderr_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)),
        file_(memfd_create("log", MFD_CLOEXEC)) {
    REQUIRE(dup2(file_, STDERR_FILENO) == STDERR_FILENO);
    log::set_verbosity(2);
  }
  ~VerboseLog() {
    log::set_verbosity(verbosity_);
    dup2(stderr_, STDERR_FILENO);
    close(stderr_);
    close(file_);
  }
  VerboseLog(const VerboseLog&) = delete;
  VerboseLog& operator=(const VerboseLog&) = delete;

  std::string text() const {
    struct stat file{};
    REQUIRE(fstat(file_, &file) == 0);
    std::string text(static_cast<size_t>(file.st_size), '\0');
    REQUIRE(pread(file_, text.data(), text.size(), 0) == file.st_size);
    return text;
  }

 private:
  int verbosity_;
  int stderr_;
  int file_;
};

std::string status_body(int code, const std::string& reason, const std::string& message, Json causes = Json::array()) {
  return Json{{"kind", "Status"},
              {"code", code},
              {"reason", reason},
              {"message", message},
              {"details", {{"causes", std::move(causes)}}}}
      .dump();
}

}  // namespace

TEST_CASE("rest/config.go: a client certificate, the user agent and the CA of the kubeconfig, all from memory") {
  const HttpsServer server([](const SeenRequest&) { return Reply{.body = R"({"gitVersion":"v1.36.3"})"}; });
  const auto answer = client_of(server)->get("/version");
  REQUIRE(answer);
  CHECK((*answer)["gitVersion"] == "v1.36.3");
  const auto seen = server.seen();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].client_name == "admin");
  CHECK(seen[0].headers.at("user-agent") == fmt::format("k3s-core-ha/{}", version));
}

TEST_CASE("a server that another authority signed is not trusted, in one sentence") {
  const HttpsServer server([](const SeenRequest&) { return Reply{}; });
  const http::testing::Authority other;
  http::Connection connection = server.connection();
  connection.ca_pem = other.cert_pem();
  const auto answer = (*ApiClient::open(std::move(connection), {}, {}))->get("/version");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().status == ExitStatus::api);
  CHECK(answer.error().message.find("cannot be trusted") != std::string::npos);
  CHECK(server.seen().empty());
}

TEST_CASE("tls-server-name is what the certificate is held against") {
  const HttpsServer server([](const SeenRequest&) { return Reply{}; }, "DNS:kubernetes.example");
  http::Connection connection = server.connection();
  CHECK_FALSE((*ApiClient::open(server.connection(), {}, {}))->get("/version"));
  connection.tls_server_name = "kubernetes.example";
  CHECK((*ApiClient::open(std::move(connection), {}, {}))->get("/version"));
}

TEST_CASE("token and basic authentication") {
  const HttpsServer server([](const SeenRequest&) { return Reply{}; });
  http::Connection bearer = server.connection();
  bearer.token = SecretString("t0ken");
  CHECK((*ApiClient::open(std::move(bearer), {}, {}))->get("/a"));
  http::Connection basic = server.connection();
  basic.username = "u";
  basic.password = SecretString("p");
  CHECK((*ApiClient::open(std::move(basic), {}, {}))->get("/b"));
  CHECK(server.seen()[0].headers.at("authorization") == "Bearer t0ken");
  CHECK(server.seen()[1].headers.at("authorization") == "Basic dTpw");
}

TEST_CASE("transport/round_trippers.go: at -vv, too, nothing that authenticates is logged, whatever becomes of it") {
  // client-go masks what authorizes in its own log of requests, and rest/config.go in what it prints of a client.
  const HttpsServer server([](const SeenRequest& request) {
    if (request.path == "/gone") return Reply{.fault = Reply::Fault::reset};
    return request.path == "/ok" ? Reply{}
                                 : Reply{.code = 401, .body = status_body(401, "Unauthorized", "who are you")};
  });
  const std::string dead = HttpsServer([](const SeenRequest&) { return Reply{}; }).url();
  const http::testing::Authority other;
  for (const bool by_token : {true, false}) {
    CAPTURE(by_token);
    std::vector<std::string> secrets = {"hunter2", "t0ken"};
    std::string said;
    const auto ask = [&](const std::string& first_server, const std::string& ca, const std::string& path) {
      http::Connection connection = server.connection("operator");
      const std::string key(connection.client_key_pem.reveal());
      secrets.push_back(key.substr(key.find('\n') + 1, 64));
      if (!first_server.empty()) connection.servers = {first_server};
      if (!ca.empty()) connection.ca_pem = ca;
      if (by_token) connection.token = SecretString("t0ken");
      if (!by_token) connection.username = "operator";
      if (!by_token) connection.password = SecretString("hunter2");
      const VerboseLog captured;
      const auto client = ApiClient::open(std::move(connection), {.request_timeout = 5s, .retry_time = 0ms}, {});
      REQUIRE(client);
      const auto read = (*client)->get(path);
      const auto written = (*client)->merge_patch(deployment, Json::object(), {});
      CHECK(bool(read) == (path == "/ok"));
      for (const auto* answer : {&read, &written})
        if (!*answer) said += answer->error().message + "\n";
      const std::string logged = captured.text();
      CHECK(logged.find("GET " + path) != std::string::npos);
      said += logged;
    };
    ask("", "", "/ok");
    ask("", "", "/refused");
    ask("", "", "/gone");
    ask(dead, "", "/dead");
    ask("", other.cert_pem(), "/foreign");
    for (const char* told : {"GET /ok 200", "GET /refused 401", "401 Unauthorized", "Connection refused"})
      CHECK(said.find(told) != std::string::npos);
    for (const SeenRequest& request : server.seen()) {  // it was there to be logged
      const std::string& sent = request.headers.at("authorization");
      secrets.push_back(sent.substr(sent.find(' ') + 1));
    }
    for (const std::string& secret : secrets)
      CHECK(said.find(secret) == std::string::npos);
  }
}

TEST_CASE("util/net/http.go: no proxy is ever asked for a loopback address") {
  setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
  const HttpsServer server([](const SeenRequest&) { return Reply{}; });
  CHECK(client_of(server)->get("/version"));
  unsetenv("HTTPS_PROXY");
  for (const char* host : {"localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"})
    CHECK(http::is_loopback(host));
  for (const char* host : {"127.example.com", "10.0.0.1", "localhost.example"})
    CHECK_FALSE(http::is_loopback(host));
}

TEST_CASE("rest/with_retry.go: 429 or 5xx with an integer Retry-After is sent again, any verb, body replayed") {
  std::atomic<int> count{0};
  const HttpsServer server(
      [&](const SeenRequest&) { return ++count == 1 ? Reply{.code = 429, .headers = {"Retry-After: 0"}} : Reply{}; });
  CHECK(client_of(server)->merge_patch(deployment, {{"spec", {{"replicas", 3}}}}, {.subresource = "scale"}));
  const auto seen = server.seen();
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].body == R"({"spec":{"replicas":3}})");
  CHECK(seen[1].body == seen[0].body);
  CHECK(
      seen[0].path ==
      "/apis/apps/v1/namespaces/kube-system/deployments/coredns/scale?fieldManager=k3s-core-ha&fieldValidation=Strict");
}

TEST_CASE("rest/with_retry.go: without the header, or with a date, the answer stands") {
  const HttpsServer server([&](const SeenRequest& request) {
    return request.path == "/date" ? Reply{.code = 503, .headers = {"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"}}
                                   : Reply{.code = request.path == "/busy" ? 429 : 503};
  });
  const auto client = client_of(server);
  CHECK(client->get("/none").error().code == 503);
  CHECK(client->get("/busy").error().reason == "TooManyRequests");
  CHECK(client->get("/date").error().reason == "ServiceUnavailable");
  CHECK(server.seen().size() == 3);
}

TEST_CASE("rest/with_retry.go: at most 10 retries") {
  const HttpsServer server([](const SeenRequest&) { return Reply{.code = 503, .headers = {"Retry-After: 0"}}; });
  CHECK_FALSE(client_of(server)->get("/version"));
  CHECK(server.seen().size() == 11);
}

TEST_CASE(
    "rest/request.go: one time for all tries: a Retry-After beyond it, or beyond the deadline, is not waited for") {
  struct Row {
    int retry_after;
    std::chrono::milliseconds retry_time;
    Deadline deadline;
  };
  for (const Row& row :
       {Row{600, 1h, Deadline::after(60s)}, Row{3600, http::Options{}.retry_time, {}}, Row{0, 0ms, {}}}) {
    CAPTURE(row.retry_after);
    const HttpsServer server([&](const SeenRequest&) {
      return Reply{.code = 429, .headers = {fmt::format("Retry-After: {}", row.retry_after)}};
    });
    const auto client = ApiClient::open(server.connection(), {.retry_time = row.retry_time}, row.deadline);
    REQUIRE(client);
    CHECK((*client)->get("/version").error().reason == "TooManyRequests");
    CHECK(server.seen().size() == 1);
  }
}

TEST_CASE("rest/with_retry.go: a reset connection is tried again for GET, after a second") {
  std::atomic<int> count{0};
  const auto start = Deadline::Clock::now();
  const HttpsServer server(
      [&](const SeenRequest&) { return ++count == 1 ? Reply{.fault = Reply::Fault::reset} : Reply{}; });
  CHECK(client_of(server)->get("/version"));
  CHECK(server.seen().size() == 2);
  CHECK(Deadline::Clock::now() - start >= 1s);
}

TEST_CASE("rest/request.go: a write is never repeated blindly after a network error, nor on a connection used before") {
  const HttpsServer server([&](const SeenRequest& request) {
    return request.method == "GET" ? Reply{} : Reply{.fault = Reply::Fault::reset};
  });
  const auto client = client_of(server);
  CHECK(client->get("/version"));
  const auto answer = client->apply(deployment, {{"kind", "Deployment"}}, {});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().no_answer());
  CHECK(answer.error().sent);
  CHECK(server.seen().size() == 2);
}

TEST_CASE("rest/with_retry.go: connection refused is not retried, and says where") {
  std::string url;
  http::Connection connection;
  {
    const HttpsServer server([](const SeenRequest&) { return Reply{}; });
    connection = server.connection();
    url = server.url();
  }
  const auto answer = (*ApiClient::open(std::move(connection), {}, {}))->get("/version");
  REQUIRE_FALSE(answer);
  CHECK_FALSE(answer.error().sent);
  CHECK(answer.error().status == ExitStatus::api);
  CHECK(answer.error().message.find("the API at " + url + " cannot be reached") == 0);
  CHECK_FALSE(http::retry_after({}, {.fault = http::Fault::refused}));  // nobody is there to count tries
}

TEST_CASE("a server that hangs costs no more than the request's time") {
  const HttpsServer server([](const SeenRequest&) { return Reply{.fault = Reply::Fault::hang}; });
  const auto answer = client_of(server, 200ms)->get("/version");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().sent);
  CHECK(answer.error().message == "the API at " + server.url() + " did not answer GET /version in time");
}

TEST_CASE("a signal ends a read at once") {
  catch_interrupts();
  reset_interrupts();
  const HttpsServer server([](const SeenRequest&) {
    std::raise(SIGTERM);
    return Reply{.fault = Reply::Fault::hang};
  });
  const auto answer = client_of(server, 20s)->get("/version");
  reset_interrupts();
  REQUIRE_FALSE(answer);
  CHECK(answer.error().status == ExitStatus::interrupted);
}

TEST_CASE("api/errors/errors.go: errors carry a Status: its reason decides, the code only without one") {
  const HttpsServer server([](const SeenRequest& request) {
    if (request.path == "/forbidden") return Reply{.code = 403, .body = status_body(403, "Forbidden", "no rights")};
    if (request.path == "/html") return Reply{.code = 502, .body = "<html>\n" + std::string(5000, 'x')};
    return Reply{.code = 404, .body = "404 page not found"};
  });
  const auto client = client_of(server);
  CHECK(client->get("/forbidden").error().message == "the API refused GET /forbidden (403 Forbidden): no rights");
  CHECK(client->get("/gone?x=1").error().not_found());
  const std::string message = client->get("/html").error().message;
  CHECK(message.size() < 300);
  CHECK(message.find('\n') == std::string::npos);
  CHECK(reason_of(409, "POST") == "AlreadyExists");
  CHECK(reason_of(409, "PATCH") == "Conflict");
}

TEST_CASE("an answer that is no JSON is an error that says so") {
  const HttpsServer server([](const SeenRequest&) { return Reply{.body = "ok"}; });
  CHECK(client_of(server)->get("/x").error().message.find("something that is not JSON: ok") != std::string::npos);
}

TEST_CASE("meta/v1/types.go: an apply is strict, without managedFields; a conflict names each field and its owner") {
  CHECK(field_manager.size() <= 128);  // or the API refuses it
  const HttpsServer server([](const SeenRequest&) {
    return Reply{
        .code = 409,
        .body = status_body(409, "Conflict", "Apply failed with 2 conflicts",
                            {{{"reason", "FieldManagerConflict"},
                              {"message", "conflict with \"deploy@server-1\" using apps/v1"},
                              {"field", ".spec.replicas"}},
                             {{"reason", "FieldManagerConflict"},
                              {"message", "conflict with \"kubectl\" with subresource \"scale\" using apps/v1"},
                              {"field", ".spec.paused"}},
                             {{"reason", "Other"}}})};
  });
  const Json body{{"kind", "Deployment"}, {"metadata", {{"name", "coredns"}, {"managedFields", {1}}}}};
  const auto answer = client_of(server)->apply(deployment, body, {.dry_run = true});
  REQUIRE_FALSE(answer);
  REQUIRE(answer.error().conflicts.size() == 2);
  CHECK(answer.error().conflicts[0].field == ".spec.replicas");
  CHECK(answer.error().conflicts[0].owner == "deploy@server-1");
  CHECK(answer.error().conflicts[1].owner == "kubectl");
  const auto seen = server.seen().at(0);
  CHECK(seen.method == "PATCH");
  CHECK(seen.headers.at("content-type") == "application/apply-patch+yaml");
  CHECK(seen.path ==
        "/apis/apps/v1/namespaces/kube-system/deployments/coredns?fieldManager=k3s-core-ha&force=false&"
        "fieldValidation=Strict&dryRun=All");
  CHECK(seen.body.find("managedFields") == std::string::npos);
}

TEST_CASE("rest/request.go: an object is created in its collection, and replaced under its own path and version") {
  const HttpsServer server([](const SeenRequest& request) {
    return request.method == "POST" ? Reply{.code = 409, .body = "{}"} : Reply{.body = request.body};
  });
  const Json body{{"metadata", {{"name", "coredns"}, {"resourceVersion", "7"}}}};
  CHECK(client_of(server)->create(deployment, body).error().reason == "AlreadyExists");
  CHECK(*client_of(server)->replace(deployment, body) == body);
  CHECK(server.seen().at(0).path ==
        "/apis/apps/v1/namespaces/kube-system/deployments?fieldManager=k3s-core-ha&fieldValidation=Strict");
  const auto put = server.seen().at(1);
  CHECK(put.method == "PUT");
  CHECK(put.path ==
        "/apis/apps/v1/namespaces/kube-system/deployments/coredns?fieldManager=k3s-core-ha&fieldValidation=Strict");
  CHECK(put.headers.at("content-type") == "application/json");
  CHECK(Json::parse(put.body)["metadata"]["resourceVersion"] == "7");
}

TEST_CASE("meta/v1/types.go: deletes carry a uid precondition, also a version, and the propagation policy") {
  const HttpsServer server([](const SeenRequest&) { return Reply{}; });
  CHECK(client_of(server)->remove({"apps/v1", "ReplicaSet", "kube-system", "coredns-1"},
                                  {.uid = "u1", .version = "7", .propagation = "Orphan", .dry_run = true}));
  const auto seen = server.seen().at(0);
  CHECK(seen.method == "DELETE");
  CHECK(seen.path == "/apis/apps/v1/namespaces/kube-system/replicasets/coredns-1?dryRun=All");
  const Json body = Json::parse(seen.body);
  CHECK(body["preconditions"] == Json{{"uid", "u1"}, {"resourceVersion", "7"}});
  CHECK(body["propagationPolicy"] == "Orphan");
  CHECK(body["dryRun"] == Json{"All"});
}

TEST_CASE("kubectl drain.go: an eviction names its pod and its uid") {
  const HttpsServer server([](const SeenRequest&) { return Reply{}; });
  CHECK(client_of(server)->evict({"v1", "Pod", "kube-system", "coredns-1"}, {.uid = "u1", .dry_run = true}));
  const auto seen = server.seen().at(0);
  CHECK(seen.method == "POST");
  CHECK(seen.path == "/api/v1/namespaces/kube-system/pods/coredns-1/eviction?dryRun=All");
  const Json body = Json::parse(seen.body);
  CHECK(body["apiVersion"] == "policy/v1");
  CHECK(body["kind"] == "Eviction");
  CHECK(body["metadata"]["name"] == "coredns-1");
  CHECK(body["deleteOptions"]["preconditions"]["uid"] == "u1");
  CHECK(body["deleteOptions"]["dryRun"] == Json{"All"});
}

TEST_CASE("rest/warnings.go: warnings reach the user once") {
  const HttpsServer server([](const SeenRequest&) {
    return Reply{.headers = {R"(Warning: 299 - "v1 Endpoints is deprecated")", R"(Warning: 199 - "not ours")"}};
  });
  const auto client = client_of(server);
  CHECK(client->get("/a"));
  CHECK(client->get("/b"));
  CHECK(client->take_warnings() == std::vector<std::string>{"v1 Endpoints is deprecated"});
  CHECK(client->take_warnings().empty());
  CHECK(http::parse_warning_header(R"(299 - "a \"b\", c", 299 x "d" "date")") ==
        std::vector<std::string>{R"(a "b", c)", "d"});
  CHECK(http::parse_warning_header("299 - unquoted").empty());
}

TEST_CASE("tools/pager: pages of 500 are joined; a 410 on a later page means one full list") {
  for (const bool expires : {false, true}) {
    const HttpsServer server([&](const SeenRequest& request) {
      const bool paged = request.path.find("limit=500") != std::string::npos;
      const bool later = request.path.find("continue=next%2F") != std::string::npos;
      Json list{{"kind", "PodList"}, {"apiVersion", "v1"}, {"metadata", Json::object()}};
      if (later && expires) return Reply{.code = 410, .body = status_body(410, "Expired", "too old")};
      if (paged && !later) list["metadata"]["continue"] = "next/";
      if (!paged || !later) list["items"].push_back({{"metadata", {{"name", "a"}}}});
      if (!paged || later) list["items"].push_back({{"metadata", {{"name", "b"}}}});
      return Reply{.body = list.dump()};
    });
    const auto lists =
        client_of(server)->read_all({{.path = "/api/v1/pods", .list = true, .label_selector = "k8s-app=kube-dns"},
                                     {.path = "/api/v1/pods", .list = true}});
    REQUIRE(lists.size() == 2);
    for (const auto& list : lists) {
      REQUIRE(list);
      REQUIRE((*list)["items"].size() == 2);
      CHECK((*list)["items"][1]["metadata"]["name"] == "b");
      CHECK((*list)["items"][0]["kind"] == "Pod");
      CHECK((*list)["items"][0]["apiVersion"] == "v1");
    }
    const auto seen = server.seen();
    CHECK(std::count_if(seen.begin(), seen.end(), [](const SeenRequest& request) {
            return request.path.find("labelSelector=k8s-app%3Dkube-dns") != std::string::npos;
          }) == (expires ? 3 : 2));
  }
}

TEST_CASE("tools/pager: pages that do not end are given up, also without a deadline") {
  const std::string page = Json{
      {"kind", "PodList"},
      {"apiVersion", "v1"},
      {"metadata", {{"continue", "more"}}},
      {"items", Json::array()}}.dump();
  const HttpsServer server([&](const SeenRequest&) { return Reply{.body = page}; });
  const auto lists = client_of(server)->read_all({{.path = "/api/v1/pods", .list = true}});
  REQUIRE_FALSE(lists.front());
  CHECK_FALSE(lists.front().error().may_pass());
  CHECK(lists.front().error().message.find("the API does not come to the end of GET /api/v1/pods: 1000 pages") == 0);
  CHECK(server.seen().size() == most_pages);
}

TEST_CASE("parallel reads keep their order and share few connections") {
  const HttpsServer server(
      [](const SeenRequest& request) { return Reply{.body = Json{{"path", request.path}}.dump()}; });
  std::vector<Read> reads;
  reads.reserve(40);
  for (int i = 0; i < 40; ++i)
    reads.push_back({.path = fmt::format("/{}", i)});
  const auto answers = client_of(server)->read_all(reads);
  for (size_t i = 0; i < answers.size(); ++i)
    CHECK((*answers[i])["path"] == fmt::format("/{}", i));
  for (const auto& request : server.seen())
    CHECK(request.connection <= core_ha::http::Options{}.parallel);
}

// client-go leaves it to its user to wait for an API that is not there; what says that it is there is the API server's
// own check (server/healthz).
TEST_CASE("server/healthz: waiting for /readyz is bounded, and over as soon as it answers") {
  std::atomic<int> count{0};
  const HttpsServer server([&](const SeenRequest& request) {
    return request.path == "/readyz" && ++count < 3 ? Reply{.code = 500, .body = "not yet"} : Reply{.body = "ok"};
  });
  CHECK(client_of(server)->wait_until_ready(30s));
  count = -1000;
  const auto never = client_of(server)->wait_until_ready(1s);
  REQUIRE_FALSE(never);
  CHECK(never.error().status == ExitStatus::api);
  CHECK(never.error().message == "the API at " + server.url() + " was not ready within 1 s: /readyz answers 500");
}

TEST_CASE("server/healthz: of several servers the first whose /readyz answers is the one that is asked from then on") {
  const HttpsServer starting([](const SeenRequest&) { return Reply{.code = 500, .body = "not yet"}; });
  const HttpsServer ready(
      [](const SeenRequest& request) { return Reply{.body = request.path == "/readyz" ? "ok" : "{}"}; });
  http::Connection connection = starting.connection();
  connection.servers.push_back(ready.url());
  const auto client = ApiClient::open(std::move(connection), {}, {});
  REQUIRE(client);
  CHECK((*client)->wait_until_ready(30s));
  CHECK((*client)->get("/version"));
  CHECK(starting.seen().size() == 1);
}

TEST_CASE("REST paths and plurals of what we touch") {
  CHECK(rest_path({"v1", "Service", "kube-system", "kube-dns"}) == "/api/v1/namespaces/kube-system/services/kube-dns");
  CHECK(rest_path({"v1", "Node", "", ""}) == "/api/v1/nodes");
  CHECK(rest_path(deployment, "scale") == "/apis/apps/v1/namespaces/kube-system/deployments/coredns/scale");
  CHECK(resource_of("NetworkPolicy") == "networkpolicies");
  CHECK(resource_of("Ingress") == "ingresses");
  CHECK(resource_of("EndpointSlice") == "endpointslices");
  CHECK(resource_of("Gateway") == "gateways");
  CHECK(to_string(deployment) == "apps/v1 Deployment kube-system/coredns");
  CHECK(to_string(ObjectRef{"v1", "Node", "", "server-1"}) == "v1 Node server-1");
}

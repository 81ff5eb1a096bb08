// SPDX-License-Identifier: GPL-3.0-or-later
// The rules for lists and watches, against a real HTTPS server; each case names the file of client-go that sets it.
#include "kube/watch.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <set>
#include <thread>

#include "base/interrupt.h"
#include "http/https_server_testing.h"
#include "kube/api_client.h"

using namespace core_ha;
using namespace core_ha::kube;
using http::testing::HttpsServer;
using http::testing::Reply;
using http::testing::SeenRequest;
using namespace std::chrono_literals;

namespace {

const Read pods{.path = "/api/v1/namespaces/kube-system/pods", .label_selector = "k8s-app=kube-dns"};

Json pod(const std::string& name, int version) {
  return {{"metadata", {{"name", name}, {"namespace", "kube-system"}, {"resourceVersion", std::to_string(version)}}}};
}

std::string event(const std::string& type, const Json& object) {
  return Json{{"type", type}, {"object", object}}.dump() + "\n";
}

Json status(int code, const std::string& reason) {
  return {{"kind", "Status"}, {"code", code}, {"reason", reason}, {"message", "so it is"}};
}

/// A server of one list of pods (version 10, pod a) and of what the nth watch, from 1, answers.
HttpsServer::Handler serving(std::function<Reply(int, const SeenRequest&)> watch) {
  return [watch = std::move(watch), count = std::make_shared<std::atomic<int>>(0)](const SeenRequest& request) {
    if (request.path.find("watch=true") != std::string::npos) return watch(++*count, request);
    const Json list{
        {"kind", "PodList"}, {"apiVersion", "v1"}, {"metadata", {{"resourceVersion", "10"}}}, {"items", {pod("a", 7)}}};
    return Reply{.body = list.dump()};
  };
}

std::unique_ptr<ApiClient> watcher_of(const HttpsServer& server) {
  auto client = ApiClient::open(server.connection(), {.connect_timeout = 2s, .request_timeout = 5s}, {});
  REQUIRE(client);
  return std::move(*client);
}

bool has(const SeenRequest& request, const std::string& parameter) {
  return (request.path + "&").find(parameter + "&") != std::string::npos;
}

size_t lists_in(const std::vector<SeenRequest>& seen) {
  return static_cast<size_t>(std::count_if(seen.begin(), seen.end(), [](const SeenRequest& request) {
    return request.path.find("watch=true") == std::string::npos;
  }));
}

const auto until_empty = [](const Objects& found) { return found.empty(); };

}  // namespace

TEST_CASE("tools/cache/reflector.go: a watch goes on from the list's version, with bookmarks, for 5 to 10 minutes") {
  const HttpsServer server(serving([](int, const SeenRequest&) {
    return Reply{
        .fault = Reply::Fault::hang,
        .chunks = {event("ADDED", pod("b", 11)), event("DELETED", pod("a", 12)), event("DELETED", pod("b", 13))}};
  }));
  std::vector<size_t> counts;
  const auto seen_empty = watcher_of(server)->follow(
      pods,
      [&](const Objects& found) {
        counts.push_back(found.size());
        return found.empty();
      },
      Deadline::after(20s));
  REQUIRE(seen_empty);
  CHECK(*seen_empty);
  CHECK(counts == std::vector<size_t>{1, 2, 1, 0});
  const auto seen = server.seen();
  REQUIRE(seen.size() == 2);
  CHECK(has(seen[1], "labelSelector=k8s-app%3Dkube-dns"));
  CHECK(has(seen[1], "allowWatchBookmarks=true"));
  CHECK(has(seen[1], "resourceVersion=10"));
  const int seconds = std::stoi(seen[1].path.substr(seen[1].path.find("timeoutSeconds=") + 15));
  CHECK(seconds >= 300);
  CHECK(seconds <= 600);
  std::set<std::chrono::seconds> drawn;
  for (int i = 0; i < 20; ++i)
    drawn.insert(watch_time());
  CHECK(drawn.size() > 1);
}

TEST_CASE("tools/cache/reflector.go: the next watch goes on from the last event's version, also a bookmark's") {
  for (const bool breaks : {false, true}) {
    const HttpsServer server(serving([&](int number, const SeenRequest&) {
      if (number == 1)
        return Reply{.fault = breaks ? Reply::Fault::end : Reply::Fault::none,
                     .chunks = {event("MODIFIED", pod("a", 11)), event("BOOKMARK", pod("", 20)), "{\"type\": \"DEL"}};
      return Reply{.chunks = {event("DELETED", pod("a", 21))}};
    }));
    CHECK(*watcher_of(server)->follow(pods, until_empty, Deadline::after(20s)));
    const auto seen = server.seen();
    REQUIRE(seen.size() == 3);
    CHECK(has(seen[2], "resourceVersion=20"));
  }
}

TEST_CASE("tools/cache/reflector.go: 410, as the answer or as an ERROR event, means a new list") {
  for (const bool as_event : {false, true}) {
    const HttpsServer server(serving([&](int number, const SeenRequest&) {
      const Json gone = status(410, "Expired");
      if (number > 1) return Reply{.chunks = {event("DELETED", pod("a", 11))}};
      return as_event ? Reply{.chunks = {event("ERROR", gone)}} : Reply{.code = 410, .body = gone.dump()};
    }));
    CHECK(*watcher_of(server)->follow(pods, until_empty, Deadline::after(20s)));
    CHECK(lists_in(server.seen()) == 2);
  }
}

TEST_CASE("tools/cache/reflector.go: an ERROR event carries a Status, which decides") {
  const HttpsServer server(serving([](int number, const SeenRequest&) {
    // What the server cannot do now is asked again, what it refuses is an error.
    return Reply{.chunks = {event("ERROR", number == 1 ? status(500, "InternalError") : status(403, "Forbidden"))}};
  }));
  const auto answer = watcher_of(server)->follow(pods, until_empty, Deadline::after(20s));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == "Forbidden");
  CHECK(answer.error().message == "the API refused to watch on (403 Forbidden): so it is");
  CHECK(server.seen().size() == 3);
}

TEST_CASE("tools/cache/reflector.go: connection refused is tried again after a pause, without a new list") {
  const auto handler =
      serving([](int, const SeenRequest&) { return Reply{.chunks = {event("DELETED", pod("a", 11))}}; });
  auto server = std::make_unique<HttpsServer>(handler);
  const auto client = watcher_of(*server);
  const int port = server->port();
  std::thread outage;
  const auto answer = client->follow(
      pods,
      [&](const Objects& found) {
        if (!outage.joinable()) {
          server.reset();
          outage = std::thread([&] {
            sleep_for(500ms);  // as long as nobody listens
            server = std::make_unique<HttpsServer>(handler, "IP:127.0.0.1", http::testing::Protocol::http1, port);
          });
        }
        return found.empty();
      },
      Deadline::after(20s));
  outage.join();
  REQUIRE(answer);
  CHECK(*answer);
  CHECK(lists_in(server->seen()) == 0);
}

TEST_CASE("tools/cache/reflector.go, rest/with_retry.go: a busy server's Retry-After holds for a watch") {
  const HttpsServer server(serving([](int number, const SeenRequest&) {
    if (number == 1)
      return Reply{.code = 429, .body = status(429, "TooManyRequests").dump(), .headers = {"Retry-After: 1"}};
    return Reply{.chunks = {event("DELETED", pod("a", 11))}};
  }));
  const auto start = Deadline::Clock::now();
  CHECK(*watcher_of(server)->follow(pods, until_empty, Deadline::after(20s)));
  CHECK(Deadline::Clock::now() - start >= 1s);
  CHECK(lists_in(server.seen()) == 1);
}

TEST_CASE("a watch ends with the caller's deadline, or the run's") {
  const HttpsServer server(
      serving([](int, const SeenRequest&) { return Reply{.fault = Reply::Fault::hang, .chunks = {"\n"}}; }));
  const auto client = watcher_of(server);
  CHECK_FALSE(*client->follow(pods, until_empty, Deadline::after(200ms)));
  client->set_deadline(Deadline::after(200ms));
  CHECK_FALSE(*client->follow(pods, until_empty, Deadline::after(60s)));
}

TEST_CASE("a signal ends a watch at once") {
  catch_interrupts();
  reset_interrupts();
  const HttpsServer server(serving([](int, const SeenRequest&) {
    std::raise(SIGINT);
    return Reply{.fault = Reply::Fault::hang, .chunks = {"\n"}};
  }));
  const auto answer = watcher_of(server)->follow(pods, until_empty, Deadline::after(20s));
  reset_interrupts();
  REQUIRE_FALSE(answer);
  CHECK(answer.error().status == ExitStatus::interrupted);
}

TEST_CASE("what may not be read is an error, not a wait") {
  const HttpsServer server(
      [](const SeenRequest&) { return Reply{.code = 403, .body = status(403, "Forbidden").dump()}; });
  const auto answer = watcher_of(server)->follow(pods, until_empty, Deadline::after(20s));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().reason == "Forbidden");
}

TEST_CASE("events are taken whole, wherever the answer was cut") {
  const std::string text = event("ADDED", pod("b", 11)) + event("NEW", pod("c", 12)) + "nonsense\n";
  for (size_t cut = 0; cut < text.size(); ++cut) {
    WatchedList list(Json{{"metadata", {{"resourceVersion", "10"}}}});
    std::string heard;
    const auto tell = [&](ApiResult<bool> changed) {
      heard += !changed ? 'x' : *changed ? '+' : '-';
      return true;
    };
    CHECK(list.take(std::string_view(text).substr(0, cut), tell));
    CHECK(list.take(std::string_view(text).substr(cut), tell));
    CHECK(heard == "+-x");
    CHECK(list.objects().size() == 1);
    CHECK(list.version() == "12");
  }
}

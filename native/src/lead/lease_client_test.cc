// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/lease_client.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "kube/fake_client_testing.h"

using namespace std::chrono_literals;
using core_ha::Json;
using core_ha::Result;
using core_ha::kube::ApiResult;
using core_ha::kube::Client;
using core_ha::kube::testing::FakeClient;
using core_ha::lead::BootClock;
using core_ha::lead::LeaseClient;
using core_ha::lead::Order;

namespace {

using Connected = Result<std::unique_ptr<Client>>;

const auto ref = core_ha::lead::lease_ref("kube-system", "gate");

Order order(Order::Kind kind, Json body = {}) {
  return {.kind = kind, .body = std::move(body), .until = BootClock::now() + 60s};
}

ApiResult<Json> answer_of(LeaseClient& client, Order order) {
  client.send(std::move(order));
  pollfd entry{client.fd(), POLLIN, 0};
  REQUIRE(poll(&entry, 1, 60000) == 1);
  auto answer = client.take_answer();
  REQUIRE(answer);
  return std::move(*answer);
}

}  // namespace

TEST_CASE("lease client: reads, creates and replaces, and says when the answer is there") {
  LeaseClient client(ref, [](int) -> Connected { return std::unique_ptr<Client>(std::make_unique<FakeClient>()); });
  CHECK_FALSE(client.take_answer());
  CHECK(answer_of(client, order(Order::Kind::read)).error().not_found());
  const Json lease = core_ha::lead::new_lease(ref, {.identity = "us_1"}, {});
  auto stored = answer_of(client, order(Order::Kind::create, lease));
  REQUIRE(stored);
  CHECK((*stored)["spec"] == lease["spec"]);
  CHECK(answer_of(client, order(Order::Kind::replace, *stored)));
  CHECK(answer_of(client, order(Order::Kind::replace, *stored)).error().conflict());
}

TEST_CASE("lease client: a Lease is not taken while a pod that is asked for may run") {
  const core_ha::kube::ObjectRef pod{"v1", "Pod", "kube-system", "old-1"};
  FakeClient* fake = nullptr;
  LeaseClient client(
      ref,
      [&](int) -> Connected {
        auto made = std::make_unique<FakeClient>();
        fake = made.get();
        Json object = {{"apiVersion", "v1"}, {"kind", "Pod"}, {"metadata", {{"name", "old-1"}}}};
        object["metadata"]["namespace"] = "kube-system";
        object["metadata"]["labels"] = {{"app", "old"}};
        fake->put(object);
        return std::unique_ptr<Client>(std::move(made));
      },
      "app=old");
  const Json lease = core_ha::lead::new_lease(ref, {.identity = "us_1"}, {});
  CHECK(answer_of(client, order(Order::Kind::read)).error().not_found());
  Order take = order(Order::Kind::create, lease);
  take.takes = true;
  const auto refused = answer_of(client, take);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "pod old-1 is still there, and may run what we are to run");
  CHECK_FALSE(refused.error().no_answer());  // the connection is kept
  CHECK(fake->remove(pod, {}));
  CHECK(answer_of(client, take));
  // A holder's renewal asks for nothing.
  CHECK(fake->find(pod) == nullptr);
}

TEST_CASE("lease client: connects anew after silence and after 401, and counts the silences") {
  std::vector<int> connected;
  LeaseClient client(ref, [&](int failures) -> Connected {
    connected.push_back(failures);
    if (connected.size() == 1) return core_ha::Error{core_ha::ExitStatus::usage, "no kubeconfig"};
    auto made = std::make_unique<FakeClient>();
    made->fault = [number = connected.size()](const auto&) -> std::optional<core_ha::kube::ApiError> {
      if (number == 2) return core_ha::kube::testing::lost_answer(false);
      if (number == 3) return core_ha::kube::testing::status_error(401, "Unauthorized");
      return std::nullopt;
    };
    return std::unique_ptr<Client>(std::move(made));
  });
  CHECK(answer_of(client, order(Order::Kind::read)).error().message == "no kubeconfig");
  CHECK(answer_of(client, order(Order::Kind::read)).error().no_answer());
  CHECK(answer_of(client, order(Order::Kind::read)).error().code == 401);
  CHECK(answer_of(client, order(Order::Kind::read)).error().not_found());
  CHECK(answer_of(client, order(Order::Kind::read)).error().not_found());
  CHECK(connected == std::vector{0, 0, 1, 1});
}

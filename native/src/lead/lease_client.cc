// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/lease_client.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace core_ha::lead {
namespace {

// client-go reads a token's file again each minute (transport/token_source.go).
constexpr std::chrono::seconds connected_for{60};

kube::ApiError to_api_error(const Error& error) {
  kube::ApiError failed;
  failed.status = error.status;
  failed.message = error.message;
  return failed;
}

/// A client, connected anew when its credentials may have changed or the connection is good for nothing.
class Connected {
 public:
  Connected(kube::ObjectRef lease, Connect connect, std::string while_none)
      : lease_(std::move(lease)), connect_(std::move(connect)), while_none_(std::move(while_none)) {}

  kube::ApiResult<Json> perform(const Order& order) {
    if (client_ && BootClock::now() >= since_ + connected_for) client_.reset();
    if (!client_) {
      auto made = connect_(failures_);
      if (!made) return to_api_error(made.error());
      client_ = std::move(*made);
      since_ = BootClock::now();
    }
    client_->set_deadline(
        Deadline::after(std::chrono::floor<std::chrono::milliseconds>(order.until - BootClock::now())));
    auto answer = ask(order);
    const bool silent = !answer && answer.error().no_answer();
    if (silent) ++failures_;
    if (silent || (!answer && answer.error().code == 401)) client_.reset();
    return answer;
  }

 private:
  kube::ApiResult<Json> ask(const Order& order) {
    if (order.takes && !while_none_.empty())
      if (auto none = see_that_none_runs(); !none) return none.error();
    switch (order.kind) {
      case Order::Kind::create: return client_->create(lease_, order.body);
      case Order::Kind::replace: return client_->replace(lease_, order.body);
      case Order::Kind::read: break;
    }
    return client_->get_object(lease_);
  }

  kube::ApiResult<void> see_that_none_runs() {
    auto pods = client_->read_all({{.path = kube::rest_path({"v1", "Pod", lease_.ns, ""}),
                                    .list = true,
                                    .label_selector = while_none_,
                                    .field_selector = kube::pods_that_run}});
    if (!pods.front()) return pods.front().error();
    const Json& items = (*pods.front())["items"];
    if (items.empty()) return {};
    auto there = to_api_error({ExitStatus::unsafe, fmt::format("pod {} is still there, and may run what we are to run",
                                                               items.front()["metadata"].value("name", ""))});
    there.code = 412;  // it was answered: the connection is good
    return there;
  }

  kube::ObjectRef lease_;
  Connect connect_;
  std::string while_none_;
  std::unique_ptr<kube::Client> client_;
  BootTime since_;
  int failures_ = 0;
};

}  // namespace

/// What both threads hold, and the last one to go takes away.
struct LeaseClient::Shared {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Order> order;
  std::optional<kube::ApiResult<Json>> answer;
  bool ended = false;

  ~Shared() { close(event); }
};

LeaseClient::LeaseClient(kube::ObjectRef lease, Connect connect, std::string while_none)
    : shared_(std::make_shared<Shared>()) {
  std::thread([shared = shared_,
               client = std::make_unique<Connected>(std::move(lease), std::move(connect), std::move(while_none))] {
    std::unique_lock lock(shared->mutex);
    for (;;) {
      shared->changed.wait(lock, [&] { return shared->order || shared->ended; });
      if (shared->ended) return;
      const Order order = *std::exchange(shared->order, std::nullopt);
      lock.unlock();
      auto answer = client->perform(order);
      lock.lock();
      shared->answer.emplace(std::move(answer));
      eventfd_write(shared->event, 1);
    }
  }).detach();
}

LeaseClient::~LeaseClient() {
  const std::lock_guard lock(shared_->mutex);
  shared_->ended = true;
  shared_->changed.notify_one();
}

int LeaseClient::fd() const {
  return shared_->event;
}

void LeaseClient::send(Order order) {
  const std::lock_guard lock(shared_->mutex);
  shared_->order = std::move(order);
  shared_->changed.notify_one();
}

std::optional<kube::ApiResult<Json>> LeaseClient::take_answer() {
  const std::lock_guard lock(shared_->mutex);
  eventfd_t ignored = 0;
  eventfd_read(shared_->event, &ignored);
  return std::exchange(shared_->answer, std::nullopt);
}

}  // namespace core_ha::lead

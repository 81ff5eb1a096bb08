// SPDX-License-Identifier: GPL-3.0-or-later
#include "lead/elector.h"

#include <fmt/format.h>

namespace core_ha::lead {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int most_clashes = 5;  // somebody else writes to the Lease all the time: it then runs out by itself

std::string in_seconds(std::chrono::nanoseconds span) {
  return fmt::format("{:.3g} s", std::chrono::duration<double>(span).count());
}

Error refuse(std::string message) {
  return Error{ExitStatus::usage, std::move(message)};
}

}  // namespace

Result<void> check(const Timing& timing) {
  const auto& [lease_duration, renew_deadline, retry_period] = timing;
  if (lease_duration < seconds(1) || lease_duration % seconds(1) != milliseconds(0))
    return refuse(fmt::format("the lease duration is {}, and a Lease holds whole seconds, at least 1",
                              in_seconds(lease_duration)));
  if (retry_period < milliseconds(10))
    return refuse(fmt::format("the retry period is {}, and must be at least 0.01 s", in_seconds(retry_period)));
  if (lease_duration <= renew_deadline)
    return refuse(fmt::format(
        "the lease duration ({}) must be longer than the renew deadline ({}): in between the program comes to its end",
        in_seconds(lease_duration), in_seconds(renew_deadline)));
  if (renew_deadline * 10 <= retry_period * 12)
    return refuse(fmt::format(
        "the renew deadline ({}) must be longer than 1.2 times the retry period ({}), or no renewal is in time",
        in_seconds(renew_deadline), in_seconds(retry_period)));
  return {};
}

Moment Moment::now() {
  return {BootClock::now(), std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())};
}

Elector::Elector(kube::ObjectRef lease, std::string identity, Timing timing, Random random)
    : lease_(std::move(lease)),
      claim_{.identity = std::move(identity), .duration = std::chrono::ceil<seconds>(timing.lease_duration)},
      timing_(timing),
      random_(std::move(random)) {}

Next Elector::next(Moment now) {
  advance(now.boot);
  Next next;
  next.order = order(now);
  if (state_ == State::leader) next.program = Program::run;
  if (state_ == State::ending)
    next.program = at_once_ || now.boot >= renewed_ + timing_.kill_after() ? Program::kill : Program::terminate;
  if (state_ == State::leader || state_ == State::ending) next.switch_at = renewed_ + timing_.switch_after();
  next.wake = wake();
  next.finished = state_ == State::finished;
  return next;
}

void Elector::answered(BootTime now, const kube::ApiResult<Json>& answer) {
  advance(now);
  const Purpose purpose = *std::exchange(under_way_, std::nullopt);
  if (answer) {
    failure_told_.clear();
    see(now, *answer);
  } else if (answer.error().not_found()) {
    seen_.reset();
    current_ = true;
  } else if (purpose != Purpose::look) {
    current_ = false;  // it may have been done, or somebody else has written
  }
  switch (state_) {
    case State::candidate: return candidate_answered(now, purpose, answer);
    case State::leader: return leader_answered(now, purpose, answer);
    case State::releasing: return release_answered(now, purpose, answer);
    case State::ending:
    case State::finished: return;
  }
}

void Elector::program_gone() {
  if (state_ == State::leader || (state_ == State::ending && leaving_ && !lost_)) {
    state_ = State::releasing;
  } else if (state_ == State::ending && leaving_) {
    state_ = State::finished;
  } else if (state_ == State::ending) {
    state_ = State::candidate;
    current_ = false;
    next_try_ = no_take_before_ = BootTime::min();
  }
}

void Elector::leave() {
  leaving_ = true;
}

void Elector::abort() {
  leaving_ = true;
  if (state_ != State::leader && state_ != State::ending) return;
  state_ = State::ending;
  at_once_ = true;
}

/// What the clock alone decides, before anything else is heard.
void Elector::advance(BootTime now) {
  if (state_ == State::leader && now >= renewed_ + timing_.terminate_after())
    lose(fmt::format("not renewed for {}{}", in_seconds(now - renewed_),
                     failure_told_.empty() ? "" : " (" + failure_told_ + ")"),
         false);
  if (state_ == State::releasing && now >= renewed_ + timing_.lease_duration) state_ = State::finished;
  // A Lease that is being taken must be released again.
  if (state_ == State::candidate && leaving_ && under_way_ != Purpose::take) state_ = State::finished;
}

void Elector::see(BootTime now, const Json& object) {
  Lease lease(object);
  const bool changed = !seen_ || seen_->record() != lease.record();
  seen_ = std::move(lease);
  current_ = true;
  if (!changed) return;
  const std::string holder = seen_->holder();
  if (holder.empty() || ours()) {
    held_until_ = BootTime::min();
  } else {
    const milliseconds duration = seen_->duration();
    held_until_ = now + (duration.count() > 0 ? duration : timing_.lease_duration);
  }
}

void Elector::candidate_answered(BootTime now, Purpose purpose, const kube::ApiResult<Json>& answer) {
  if (purpose == Purpose::take && answer) {
    renewed_ = sent_;
    if (leaving_)
      state_ = State::releasing;
    else if (now < sent_ + timing_.terminate_after())
      lead(now);
    else  // it was under way for so long that there is nothing left to begin with
      no_take_before_ = now + pause();
    return;
  }
  next_try_ = now + pause();
  if (purpose == Purpose::take) {
    no_take_before_ = next_try_;
    if (answer.error().conflict() || answer.error().reason == "AlreadyExists") {
      next_try_ = now;  // another one was first: the sooner it is seen, the sooner its term is known
      return;
    }
  }
  if (!answer) {
    // That it is not there is no failure; but it may be the namespace that a new one is refused for.
    if (purpose == Purpose::take || !answer.error().not_found()) fail(answer.error());
    return;
  }
  const std::string holder = seen_->holder();
  if (holder.empty() || ours() || holder == holder_told_) return;
  holder_told_ = holder;
  news_.push_back(fmt::format("waiting for {}, held by {}", name(), holder));
}

void Elector::leader_answered(BootTime now, Purpose purpose, const kube::ApiResult<Json>& answer) {
  next_try_ = std::max(now, sent_ + timing_.retry_period);
  if (answer) {
    if (!ours())
      return lose(seen_->holder().empty() ? "released by somebody else" : "held by " + seen_->holder(), true);
    if (purpose == Purpose::renew) renewed_ = sent_;
    if (purpose == Purpose::look) next_try_ = now;
    return;
  }
  const kube::ApiError& error = answer.error();
  if (error.not_found()) return lose("it is gone", true);
  // Somebody wrote to it, or put another one in its place: who holds it now?
  if (purpose == Purpose::renew && error.conflict()) {
    next_try_ = now;
    return;
  }
  fail(error);
}

void Elector::release_answered(BootTime, Purpose purpose, const kube::ApiResult<Json>& answer) {
  if (purpose == Purpose::release && answer) {
    news_.push_back("released " + name());
    state_ = State::finished;
  } else if (!answer && purpose != Purpose::renew && !answer.error().conflict()) {
    if (!answer.error().not_found())
      news_.push_back(fmt::format("{} is not released: {}", name(), answer.error().message));
    state_ = State::finished;
  } else if ((seen_ && current_ && !ours()) || (!answer && ++clashes_ > most_clashes)) {
    state_ = State::finished;
  }
}

void Elector::lead(BootTime now) {
  state_ = State::leader;
  lost_ = at_once_ = false;
  next_try_ = std::max(now, sent_ + timing_.retry_period);
  holder_told_.clear();
  news_.push_back("leading " + name());
}

void Elector::lose(const std::string& why, bool at_once) {
  state_ = State::ending;
  lost_ = true;
  at_once_ = at_once;
  news_.push_back(fmt::format("lost {}: {}", name(), why));
}

void Elector::fail(const kube::ApiError& error) {
  if (error.message == failure_told_) return;
  failure_told_ = error.message;
  news_.push_back(error.message + "; trying again");
}

std::optional<Order> Elector::order(Moment now) {
  if (under_way_) return std::nullopt;
  switch (state_) {
    case State::candidate: return candidate_order(now);
    case State::leader: return leader_order(now);
    case State::releasing: return release_order(now);
    case State::ending:
    case State::finished: return std::nullopt;
  }
  return std::nullopt;
}

/// When a candidate may take the Lease as it knows it. One that was held when it was last seen stays so for its time,
/// also if it is gone: its holder need not know of that yet.
BootTime Elector::free_at() const {
  return current_ ? std::max(held_until_, no_take_before_) : BootTime::max();
}

std::optional<Order> Elector::candidate_order(Moment now) {
  if (now.boot >= free_at()) {
    if (!seen_)
      return send(now, Purpose::take,
                  {.kind = Order::Kind::create, .body = new_lease(lease_, claim_, now.wall), .until = {}});
    return send(now, Purpose::take,
                {.kind = Order::Kind::replace, .body = seen_->taken(claim_, now.wall), .until = {}});
  }
  if (now.boot >= next_try_) return send(now, Purpose::look, {.until = {}});
  return std::nullopt;
}

std::optional<Order> Elector::leader_order(Moment now) {
  if (now.boot < next_try_) return std::nullopt;
  Order order = current_ ? send(now, Purpose::renew,
                                {.kind = Order::Kind::replace, .body = seen_->renewed(claim_, now.wall), .until = {}})
                         : send(now, Purpose::look, {.until = {}});
  order.until = std::min(order.until, renewed_ + timing_.terminate_after());
  return order;
}

std::optional<Order> Elector::release_order(Moment now) {
  Order order = current_ ? send(now, Purpose::release,
                                {.kind = Order::Kind::replace, .body = seen_->released(now.wall), .until = {}})
                         : send(now, Purpose::look, {.until = {}});
  order.until = std::min(order.until, renewed_ + timing_.lease_duration);
  return order;
}

Order Elector::send(Moment now, Purpose purpose, Order order) {
  under_way_ = purpose;
  sent_ = now.boot;
  order.until = now.boot + timing_.request_timeout();
  order.takes = purpose == Purpose::take;
  return order;
}

BootTime Elector::wake() const {
  BootTime at = BootTime::max();
  if (state_ == State::leader) at = renewed_ + timing_.terminate_after();
  if (state_ == State::ending && !at_once_) at = renewed_ + timing_.kill_after();
  if (under_way_) return at;
  if (state_ == State::candidate) at = std::min(next_try_, free_at());
  if (state_ == State::leader) at = std::min(at, next_try_);
  return at;
}

}  // namespace core_ha::lead

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/client.h"
#include "kube/object_ref.h"
#include "lead/boot_clock.h"
#include "lead/lease.h"

namespace core_ha::lead {

/// client-go's three times, with its defaults.
struct Timing {
  std::chrono::milliseconds lease_duration{15000};  ///< whole seconds: that is what a Lease holds
  std::chrono::milliseconds renew_deadline{10000};
  std::chrono::milliseconds retry_period{2000};

  /// How long one request may take: a leader that hears nothing has time for a second one.
  std::chrono::milliseconds request_timeout() const {
    return std::min(renew_deadline, std::max(renew_deadline / 2, std::chrono::milliseconds(1000)));
  }
  // From the beginning of the last renewal that succeeded: when the program is told to end, when it is killed with all
  // that it started, and when the kernel does that for us should we not have. What is left then until the Lease has
  // run out is the time that dying may take.
  std::chrono::milliseconds terminate_after() const { return renew_deadline; }
  std::chrono::milliseconds kill_after() const { return renew_deadline + (lease_duration - renew_deadline) / 2; }
  std::chrono::milliseconds switch_after() const { return renew_deadline + (lease_duration - renew_deadline) * 3 / 4; }
};

/// Refuses, in one sentence (exit 2), what would let two hold the Lease, or one lose it for nothing.
Result<void> check(const Timing& timing);

/// A point in time by both clocks: ours decides, the other one is written down for people.
struct Moment {
  BootTime boot;
  WallTime wall;

  static Moment now();
};

/// A request that is to be sent now. One at a time.
struct Order {
  enum class Kind { read, create, replace };
  Kind kind = Kind::read;
  Json body = {};
  BootTime until;      ///< without an answer by then it has failed
  bool takes = false;  ///< the Lease is not ours, and would be
};

/// What the program behind the Lease is to do.
enum class Program {
  none,       ///< not there
  run,        ///< is to be started, or runs
  terminate,  ///< is told to end (SIGTERM)
  kill        ///< is ended, with all that it started (SIGKILL)
};

struct Next {
  std::optional<Order> order = {};
  Program program = Program::none;
  BootTime wake = BootTime::max();       ///< ask again then, or when something has happened
  BootTime switch_at = BootTime::max();  ///< at this time everything must be dead, whatever becomes of us
  bool finished = false;
};

/// Decides what a candidate, and then a leader, does next: from the clock, the Lease as it was seen, and what became of
/// requests and of the program. Does no I/O.
///
/// Why two are never active: a holder counts from before it sent its last renewal, and its program is dead before the
/// Lease has run out. A candidate counts from after it first saw that renewal, which is later, and waits all of the
/// holder's duration; then the server takes its write only if the Lease has not changed since. Clocks need not agree;
/// they must only run equally fast.
class Elector {
 public:
  using Random = std::function<std::chrono::milliseconds(std::chrono::milliseconds, std::chrono::milliseconds)>;

  /// `random` gives a time from [least, most). The identity must be nobody else's: whoever finds it in the Lease takes
  /// that for its own.
  Elector(kube::ObjectRef lease, std::string identity, Timing timing, Random random);

  /// What is to be done now. An order in it counts as sent.
  Next next(Moment now);
  /// What became of the order.
  void answered(BootTime now, const kube::ApiResult<Json>& answer);
  /// The program and all that it started are gone.
  void program_gone();
  /// No further term: a candidate ends; a leader releases the Lease when its program is gone.
  void leave();
  /// The same, and the program is killed at once.
  void abort();

  bool leading() const { return state_ == State::leader; }
  /// Sentences on what has happened since the last call.
  std::vector<std::string> take_news() { return std::exchange(news_, {}); }

 private:
  enum class State { candidate, leader, ending, releasing, finished };
  /// What the order under way is for.
  enum class Purpose { look, take, renew, release };

  void advance(BootTime now);
  void see(BootTime now, const Json& object);
  void candidate_answered(BootTime now, Purpose purpose, const kube::ApiResult<Json>& answer);
  void leader_answered(BootTime now, Purpose purpose, const kube::ApiResult<Json>& answer);
  void release_answered(BootTime now, Purpose purpose, const kube::ApiResult<Json>& answer);
  void lead(BootTime now);
  void lose(const std::string& why, bool at_once);
  void fail(const kube::ApiError& error);
  std::optional<Order> order(Moment now);
  std::optional<Order> candidate_order(Moment now);
  std::optional<Order> leader_order(Moment now);
  std::optional<Order> release_order(Moment now);
  Order send(Moment now, Purpose purpose, Order order);
  BootTime wake() const;
  BootTime free_at() const;
  bool ours() const { return seen_ && seen_->holder() == claim_.identity; }
  std::chrono::milliseconds pause() { return random_(timing_.retry_period, timing_.retry_period * 12 / 10); }
  std::string name() const { return lease_.ns + "/" + lease_.name; }

  kube::ObjectRef lease_;
  Claim claim_;
  Timing timing_;
  Random random_;

  State state_ = State::candidate;
  bool leaving_ = false;
  bool lost_ = false;     ///< of ending: the Lease is, or may soon be, another's
  bool at_once_ = false;  ///< of ending: the program gets no word before
  std::optional<Purpose> under_way_ = {};
  BootTime sent_;            ///< when what is under way was
  BootTime next_try_;        ///< a candidate's next look, a leader's next renewal
  BootTime no_take_before_;  ///< after one that failed
  int clashes_ = 0;          ///< of releasing

  std::optional<Lease> seen_ = {};  ///< as it was last read or written; nothing: absent, or never read
  bool current_ = false;            ///< as far as we know `seen_` is what the server has
  BootTime held_until_;             ///< of a candidate: until then the last holder it saw may be active
  BootTime renewed_;                ///< of a leader: when the last renewal that succeeded was sent

  std::string holder_told_;
  std::string failure_told_;
  std::vector<std::string> news_;
};

}  // namespace core_ha::lead

// SPDX-License-Identifier: GPL-3.0-or-later
//
// The problem: to say what a client lost, and for how long, a probe must not wait for the server it measures. A loop
// that sends, waits and sends again sends fewer queries just while answers are missing, and so counts fewer losses.
// Here each query has a planned time, computed from the start of the probe (number / rate, so nothing adds up), and is
// sent then, whatever became of the others. When this process itself was held up, it sends what is due at once, tells
// by how much it was late, and first reads what has come meanwhile: the kernel's time stamps, not the time of reading,
// decide whether a response was in time.
//
// Queries stand in one queue in the order of their planned times; they all have the same time limit, so three cursors
// that only move forward do: up to where queries have expired, have been told to the observer, and can be forgotten.
#include "drill/prober.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <deque>
#include <limits>
#include <optional>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "drill/dns_message.h"

namespace core_ha::drill {
namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
constexpr int ports_tried = 64;
constexpr int sends_in_a_row = 64;  // when late, between two looks at what has come

// What an epoll event is about: a query's number, or one of these.
constexpr std::uint64_t fixed_tag = std::uint64_t{1} << 62;
constexpr std::uint64_t timer_tag = std::uint64_t{1} << 63;
constexpr std::uint64_t stop_tag = timer_tag | 1;

std::int64_t nanoseconds(double seconds) {
  return std::llround(seconds * 1e9);
}

std::string errno_name(int error) {
  switch (error) {
    case EMFILE: return "EMFILE";
    case ENFILE: return "ENFILE";
    case ENOBUFS: return "ENOBUFS";
    case ENOMEM: return "ENOMEM";
    case EADDRINUSE: return "EADDRINUSE";
    case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
    case EAGAIN: return "EAGAIN";
    case EPERM: return "EPERM";
    case EACCES: return "EACCES";
    case EINVAL: return "EINVAL";
    case ENETUNREACH: return "ENETUNREACH";
    case EHOSTUNREACH: return "EHOSTUNREACH";
    case ENETDOWN: return "ENETDOWN";
    case EAFNOSUPPORT: return "EAFNOSUPPORT";
    default: return fmt::format("errno {}", error);
  }
}

/// Each query from a fresh port has a socket of its own until its time is up; at a high rate, and with a server that
/// is silent, that is more than the 1,024 that a process commonly has.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// The planned times of one source of queries.
struct Stream {
  int client = 0;
  double rate = 0;
  std::int64_t offset = 0;
  std::int64_t number = 0;

  std::int64_t next() const {
    return offset + std::llround(static_cast<double>(number) * static_cast<double>(second_ns) / rate);
  }
};

struct Query {
  QueryRecord record;
  std::uint16_t id = 0;
  bool late_seen = false;
  UdpSocket socket;  ///< of a fresh port
};

/// A client that keeps its source port.
struct FixedClient {
  UdpSocket socket;
  std::uint16_t next_id = 0;
  std::unordered_map<std::uint16_t, std::uint64_t> open;  ///< id → number of the query
};

class Prober {
 public:
  Prober(const ProbeOptions& options, const ProbeObserver& observer)
      : options_(options),
        observer_(observer),
        timeout_(nanoseconds(options.timeout_s)),
        late_(nanoseconds(options.late_s)),
        end_(options.duration_s > 0 ? nanoseconds(options.duration_s) : never),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
        ports_(PortCycle::of_system()),
        random_(std::random_device{}()) {}

  Result<ProbeRun> run();

 private:
  std::int64_t elapsed() const { return monotonic_ns() - start_; }
  Query& query(std::uint64_t number) { return queries_[number - first_]; }
  std::uint64_t next_number() const { return first_ + queries_.size(); }
  Tick::Counts& counts(int client) { return client == 0 ? tick_.fresh : tick_.fixed; }

  Result<void> prepare();
  void watch(int fd, std::uint64_t tag) const;
  int open_socket(UdpSocket& socket);
  int transmit(Query& query, std::uint64_t number);
  bool dispatch(std::int64_t now);
  void drain();
  void on_event(std::uint64_t tag);
  void on_response(std::uint64_t number, const Received& received, std::span<const std::uint8_t> bytes);
  void read_fixed(FixedClient& client);
  void settle(Query& query, Ending ending);
  void expire(std::int64_t now);
  void report();
  void forget(std::int64_t now);
  bool reclaim_socket();
  void tick(std::int64_t now);
  std::int64_t next_wake();
  void sleep_until(std::int64_t wake) const;

  const ProbeOptions& options_;
  const ProbeObserver& observer_;
  std::int64_t timeout_;
  std::int64_t late_;
  std::int64_t end_;
  FileDescriptor epoll_;
  FileDescriptor timer_;
  PortCycle ports_;
  std::mt19937 random_;

  std::int64_t start_ = 0;
  Bytes message_;                ///< the query, but for its id
  DnsResponse wanted_;           ///< its question, as a response repeats it
  std::vector<Stream> streams_;  ///< a heap, the earliest first
  std::vector<FixedClient> clients_;

  std::deque<Query> queries_;
  std::uint64_t first_ = 0;      ///< number of the queue's first query
  std::uint64_t expired_ = 0;    ///< below: all have ended
  std::uint64_t reported_ = 0;   ///< below: the observer knows
  std::uint64_t reclaimed_ = 0;  ///< below: no socket is open any more that only waits for a late response

  std::array<std::uint8_t, 4096> buffer_{};
  std::int64_t waiting_ = 0;
  Tick tick_;
  std::int64_t next_tick_ = second_ns;
  ProbeRun run_;
};

bool later(const Stream& a, const Stream& b) {
  return std::pair(a.next(), a.client) > std::pair(b.next(), b.client);
}

Result<void> Prober::prepare() {
  if (epoll_.get() < 0 || timer_.get() < 0) {
    return Error{ExitStatus::internal, fmt::format("No epoll or timer to be had: {}.", std::strerror(errno))};
  }
  Result<Bytes> message = encode_query(0, options_.name, options_.type);
  if (!message) return message.error();
  message_ = std::move(*message);
  // Read back as a response repeats it: lower case, no dot at the end.
  Bytes echo = message_;
  echo[2] |= 0x80;
  wanted_ = decode_response(echo).value_or(DnsResponse{});

  raise_file_limit();
  if (options_.rate > 0) streams_.push_back({.client = 0, .rate = options_.rate});
  if (options_.fixed_rate > 0) {
    clients_.resize(options_.fixed_ports);
    for (int i = 0; i < options_.fixed_ports; ++i) {
      clients_[i].next_id = static_cast<std::uint16_t>(random_());
      // Evenly in between each other.
      const std::int64_t offset = nanoseconds(i / (options_.fixed_rate * options_.fixed_ports));
      streams_.push_back({.client = i + 1, .rate = options_.fixed_rate, .offset = offset});
    }
  }
  if (streams_.empty()) return Error{ExitStatus::usage, "Nothing to send: both rates are 0."};
  std::make_heap(streams_.begin(), streams_.end(), later);
  watch(timer_.get(), timer_tag);
  if (options_.stop_fd >= 0) watch(options_.stop_fd, stop_tag);
  return {};
}

void Prober::watch(int fd, std::uint64_t tag) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

int Prober::open_socket(UdpSocket& socket) {
  int error = EADDRINUSE;
  for (int attempt = 0; attempt < ports_tried; ++attempt) {
    error = socket.open(options_.server, ports_.next());
    if ((error == EMFILE || error == ENFILE) && reclaim_socket()) continue;
    if (error != EADDRINUSE) break;
  }
  return error;
}

int Prober::transmit(Query& query, std::uint64_t number) {
  UdpSocket* socket = &query.socket;
  if (query.record.client == 0) {
    query.id = static_cast<std::uint16_t>(random_());
    if (const int error = open_socket(*socket); error != 0) return error;
    watch(socket->fd(), number);
  } else {
    const int index = query.record.client - 1;
    FixedClient& client = clients_[index];
    socket = &client.socket;
    query.id = client.next_id++;
    if (!socket->is_open()) {
      if (const int error = open_socket(*socket); error != 0) return error;
      watch(socket->fd(), fixed_tag | static_cast<std::uint64_t>(index));
    }
    client.open[query.id] = number;
  }
  message_[0] = static_cast<std::uint8_t>(query.id >> 8);
  message_[1] = static_cast<std::uint8_t>(query.id & 0xff);
  query.record.lag_ns = std::max<std::int64_t>(0, elapsed() - query.record.planned_ns);
  return socket->send(message_);
}

/// Sends what is due; true when there may be more.
bool Prober::dispatch(std::int64_t now) {
  for (int i = 0; i < sends_in_a_row; ++i) {
    const std::int64_t planned = streams_.front().next();
    if (planned > now || planned >= end_) return false;
    std::pop_heap(streams_.begin(), streams_.end(), later);
    const std::uint64_t number = next_number();
    Query& query = queries_.emplace_back();
    query.record.client = streams_.back().client;
    query.record.planned_ns = planned;
    ++streams_.back().number;
    std::push_heap(streams_.begin(), streams_.end(), later);

    ++counts(query.record.client).planned;
    if (const int error = transmit(query, number); error != 0) {
      ++run_.socket_errors[errno_name(error)];
      settle(query, Ending::error);
    } else {
      ++counts(query.record.client).sent;
      ++waiting_;
    }
  }
  return true;
}

void Prober::drain() {
  std::array<epoll_event, 64> events{};
  while (true) {
    const int ready = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
    if (ready <= 0) return;
    for (int i = 0; i < ready; ++i)
      on_event(events[i].data.u64);
  }
}

void Prober::on_event(std::uint64_t tag) {
  if (tag == timer_tag) {
    std::uint64_t expirations = 0;
    while (::read(timer_.get(), &expirations, sizeof expirations) > 0)
      continue;
  } else if (tag == stop_tag) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, options_.stop_fd, nullptr);
    run_.stopped = true;
    end_ = std::min(end_, elapsed());
  } else if ((tag & fixed_tag) != 0) {
    read_fixed(clients_[tag & ~fixed_tag]);
  } else {
    while (query(tag).socket.is_open()) {
      const std::optional<Received> received = query(tag).socket.receive(buffer_);
      if (!received) break;
      on_response(tag, *received, std::span(buffer_).first(received->size));
    }
  }
}

void Prober::read_fixed(FixedClient& client) {
  while (const std::optional<Received> received = client.socket.receive(buffer_)) {
    const std::span<const std::uint8_t> bytes = std::span(buffer_).first(received->size);
    const std::optional<std::uint16_t> id = message_id(bytes);
    const auto found = id ? client.open.find(*id) : client.open.end();
    if (found == client.open.end()) {
      ++run_.malformed;
    } else {
      on_response(found->second, *received, bytes);
    }
  }
}

void Prober::on_response(std::uint64_t number, const Received& received, std::span<const std::uint8_t> bytes) {
  Query& asked = query(number);
  Ending ending = Ending::icmp;
  if (received.icmp_errno == 0) {
    const std::optional<DnsResponse> response = decode_response(bytes);
    if (!response || response->id != asked.id || response->name != wanted_.name || response->type != wanted_.type) {
      ++run_.malformed;
      return;
    }
    switch (response->rcode) {
      case Rcode::no_error: ending = Ending::answered; break;
      case Rcode::serv_fail: ending = Ending::servfail; break;
      case Rcode::nx_domain: ending = Ending::nxdomain; break;
      case Rcode::refused: ending = Ending::refused; break;
      default: ending = Ending::other; break;
    }
  }
  const std::int64_t arrived = received.arrived_ns - start_;
  const std::int64_t latency = std::max<std::int64_t>(0, arrived - asked.record.planned_ns - asked.record.lag_ns);
  if (asked.record.ending == Ending::pending && arrived > asked.record.planned_ns + timeout_) {
    settle(asked, Ending::lost);
  }
  if (asked.record.ending == Ending::pending) {
    asked.record.latency_ns = latency;
    settle(asked, ending);
  } else if (asked.record.ending == Ending::lost && !asked.late_seen && received.icmp_errno == 0) {
    asked.late_seen = true;
    asked.socket.close();
    if (observer_.on_late) observer_.on_late(asked.record.client, latency);
  }
}

void Prober::settle(Query& query, Ending ending) {
  query.record.ending = ending;
  if (ending != Ending::error) --waiting_;
  if (ending != Ending::lost) query.socket.close();
  Tick::Counts& seen = counts(query.record.client);
  if (ending == Ending::answered) {
    ++seen.answered;
  } else if (ending == Ending::lost) {
    ++seen.lost;
  } else {
    ++seen.failed;
  }
}

/// `now` is from before what had come was read, so that what came until then counts.
void Prober::expire(std::int64_t now) {
  for (; expired_ < next_number(); ++expired_) {
    Query& oldest = query(expired_);
    if (oldest.record.ending != Ending::pending) continue;
    if (oldest.record.planned_ns + timeout_ > now) return;
    settle(oldest, Ending::lost);
  }
}

void Prober::report() {
  for (; reported_ < expired_; ++reported_) {
    if (observer_.on_record) observer_.on_record(query(reported_).record);
  }
}

void Prober::forget(std::int64_t now) {
  while (first_ < reported_) {
    const Query& oldest = queries_.front();
    const bool may_still_come = oldest.record.ending == Ending::lost && !oldest.late_seen;
    if (may_still_come && now < oldest.record.planned_ns + timeout_ + late_) return;
    if (oldest.record.client > 0) {
      auto& open = clients_[oldest.record.client - 1].open;
      // After 65,536 queries the id may be another's.
      if (const auto found = open.find(oldest.id); found != open.end() && found->second == first_) open.erase(found);
    }
    queries_.pop_front();
    ++first_;
  }
}

/// Gives up a socket that only waits for a late response.
bool Prober::reclaim_socket() {
  for (reclaimed_ = std::max(reclaimed_, first_); reclaimed_ < expired_;) {
    Query& old = query(reclaimed_++);
    if (!old.socket.is_open()) continue;
    old.socket.close();
    return true;
  }
  return false;
}

void Prober::tick(std::int64_t now) {
  if (now < next_tick_) return;
  tick_.t_ns = now / second_ns * second_ns;
  tick_.waiting = waiting_;
  next_tick_ = tick_.t_ns + second_ns;
  if (observer_.on_tick) observer_.on_tick(tick_);
  tick_ = {};
}

std::int64_t Prober::next_wake() {
  std::int64_t wake = next_tick_;
  if (const std::int64_t planned = streams_.front().next(); planned < end_) wake = std::min(wake, planned);
  if (expired_ < next_number()) wake = std::min(wake, query(expired_).record.planned_ns + timeout_);
  return wake;
}

void Prober::sleep_until(std::int64_t wake) const {
  const std::int64_t at = start_ + wake;
  itimerspec when{};
  when.it_value.tv_sec = at / second_ns;
  when.it_value.tv_nsec = at % second_ns;
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  epoll_event event{};
  // What it reports stays ready, and is taken by the next drain().
  epoll_wait(epoll_.get(), &event, 1, -1);
}

Result<ProbeRun> Prober::run() {
  if (const Result<void> ready = prepare(); !ready) return ready.error();
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  start_ = monotonic_ns();
  run_.start_epoch = static_cast<double>(wall.tv_sec) + static_cast<double>(wall.tv_nsec) / 1e9;
  if (observer_.on_start) observer_.on_start(run_.start_epoch);

  while (true) {
    const bool more = dispatch(elapsed());
    const std::int64_t now = elapsed();
    drain();
    expire(now);
    report();
    forget(now);
    tick(now);
    if (more) continue;
    if (streams_.front().next() >= end_ && expired_ == next_number()) break;
    sleep_until(next_wake());
  }
  tick(next_tick_);
  run_.length_ns = end_;
  return run_;
}

}  // namespace

Result<ProbeRun> run_probe(const ProbeOptions& options, const ProbeObserver& observer) {
  return Prober(options, observer).run();
}

}  // namespace core_ha::drill

// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/pool.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "http/exchange.h"

namespace core_ha::http {
namespace {

using std::chrono::milliseconds;

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

std::string describe(const Request& request, const Response& response) {
  return fmt::format("{} {} {}", request.method, request.path,
                     response.answered() ? std::to_string(response.code) : response.detail);
}

}  // namespace

struct Pool::Impl {
  Connection connection;
  Options options;
  std::vector<Endpoint> endpoints;
  size_t current = 0;  ///< which endpoint is asked
  std::unique_ptr<CURLM, MultiDeleter> multi;
  std::vector<std::unique_ptr<Exchange>> all;  ///< every handle ever needed, to use again
  std::vector<Exchange*> free;
  std::vector<Exchange*> running;

  std::optional<Response> start(Job job, milliseconds timeout);
  /// Lets time pass; the exchanges that ended, none of them running any more.
  std::vector<Exchange*> turn();
  void stop(Exchange& exchange);
  bool goes_on(const Exchange& exchange, Deadline deadline) const;
  std::vector<Job> leave(Exchange& failed);

  ~Impl() {
    all.clear();  // before what they borrow: the keys, and the multi handle
    multi.reset();
  }
};

/// Puts the job on its way; a response when there is none.
std::optional<Response> Pool::Impl::start(Job job, milliseconds timeout) {
  job.server = current;
  const Endpoint& endpoint = endpoints[current];
  if (timeout.count() == 0 || (should_stop() && job.request->is_read())) {
    const bool stopped = should_stop();
    return Response{.fault = stopped ? Fault::interrupted : Fault::timeout,
                    .detail = stopped ? "interrupted" : "the time for this run is over",
                    .server = endpoint.url};
  }
  if (free.empty()) free.push_back(all.emplace_back(std::make_unique<Exchange>()).get());
  Exchange& exchange = *free.back();
  exchange.job = std::move(job);
  const CURLcode prepared = exchange.prepare(connection, endpoint, options, timeout);
  if (prepared != CURLE_OK || curl_multi_add_handle(multi.get(), exchange.easy.get()) != CURLM_OK) {
    exchange.finish(prepared == CURLE_OK ? CURLE_FAILED_INIT : prepared, endpoint);
    return std::move(exchange.response);
  }
  free.pop_back();
  running.push_back(&exchange);
  return std::nullopt;
}

void Pool::Impl::stop(Exchange& exchange) {
  curl_multi_remove_handle(multi.get(), exchange.easy.get());
  std::erase(running, &exchange);
  free.push_back(&exchange);
}

std::vector<Exchange*> Pool::Impl::turn() {
  int active = 0;
  curl_multi_perform(multi.get(), &active);
  std::vector<Exchange*> ended;
  int queued = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    char* mine = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &mine);
    auto& exchange = *reinterpret_cast<Exchange*>(mine);
    Endpoint& endpoint = endpoints[exchange.job.server];
    exchange.finish(code, endpoint);
    if (exchange.response.answered()) endpoint.silent = false;
    ended.push_back(&exchange);
  }
  if (ended.empty() && should_stop()) {
    for (Exchange* const exchange : running) {
      if (!exchange->job.request->is_read()) continue;
      exchange->response = {
          .fault = Fault::interrupted, .detail = "interrupted", .server = endpoints[exchange->job.server].url};
      ended.push_back(exchange);
    }
  }
  for (Exchange* const exchange : ended)
    stop(*exchange);
  if (ended.empty() && active > 0) {
    // Once a signal has come its pipe stays readable: waiting for it again would spin.
    curl_waitfd extra{interrupt_fd(), CURL_WAIT_POLLIN, 0};
    const unsigned count = extra.fd >= 0 && !interrupted() ? 1 : 0;
    curl_multi_poll(multi.get(), &extra, count, 1000, nullptr);
  }
  return ended;
}

bool Pool::Impl::goes_on(const Exchange& exchange, Deadline deadline) const {
  const Response& response = exchange.response;
  const bool lost =
      response.fault == Fault::refused || response.fault == Fault::reset || response.fault == Fault::timeout;
  return lost && exchange.job.tries < endpoints.size() && (!response.sent || exchange.job.request->is_read()) &&
         !deadline.expired();
}

/// Gives up the server of an exchange that failed, and returns the jobs for the next one: the exchange's own, and
/// those that still wait for a connection to a server that cannot be reached.
std::vector<Job> Pool::Impl::leave(Exchange& failed) {
  const size_t left = failed.job.server;
  const std::string& why = failed.response.detail;
  if (left == current) current = (current + 1) % endpoints.size();
  if (!std::exchange(endpoints[left].silent, true))
    log::progress(fmt::format("the API at {} does not answer ({}); going on with {}", endpoints[left].url, why,
                              endpoints[current].url));
  std::vector<Job> jobs;
  jobs.push_back(std::move(failed.job));
  for (Exchange* const exchange : std::vector(running)) {
    if (failed.response.sent || exchange->sent || exchange->job.server != left) continue;
    stop(*exchange);
    jobs.push_back(std::move(exchange->job));
  }
  for (Job& job : jobs)
    job.tried += fmt::format(", nor {} ({})", endpoints[left].url, why);
  return jobs;
}

bool http2_is_sound(unsigned libcurl) {
  constexpr unsigned rewritten = 0x080100;
  return libcurl >= rewritten;
}

bool http2_is_sound() {
  return http2_is_sound(curl_version_info(CURLVERSION_NOW)->version_num);
}

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pool::~Pool() = default;

const std::string& Pool::server() const {
  return impl_->endpoints[impl_->current].url;
}

void Pool::ask_next() {
  impl_->current = (impl_->current + 1) % impl_->endpoints.size();
}

Result<std::unique_ptr<Pool>> Pool::open(Connection connection, const Options& options) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return Error{ExitStatus::internal, "libcurl does not start"};
  auto impl = std::make_unique<Impl>();
  impl->connection = std::move(connection);
  impl->options = options;
  for (const std::string& server : impl->connection.servers) {
    auto url = server_url(server);
    if (!url) return url.error();
    impl->endpoints.emplace_back(std::move(*url), impl->connection.tls_server_name);
  }
  if (!options.connect_timeout)
    impl->options.connect_timeout = impl->endpoints.size() > 1 ? milliseconds(5000) : options.request_timeout;
  impl->multi.reset(curl_multi_init());
  if (!impl->multi) return Error{ExitStatus::internal, "libcurl does not start"};
  curl_multi_setopt(impl->multi.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(impl->multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options.parallel));
  return std::unique_ptr<Pool>(new Pool(std::move(impl)));
}

std::vector<Response> Pool::send(const std::vector<Request>& requests, Deadline deadline) {
  Impl& impl = *impl_;
  std::vector<Response> responses(requests.size());
  std::deque<Job> waiting;
  for (size_t i = 0; i < requests.size(); ++i)
    waiting.push_back({.request = &requests[i], .slot = i});
  while (!waiting.empty() || !impl.running.empty()) {
    while (!waiting.empty() && impl.running.size() < impl.options.parallel) {
      Job job = std::move(waiting.front());
      waiting.pop_front();
      ++job.tries;
      const size_t slot = job.slot;
      if (auto refused = impl.start(std::move(job), std::min(impl.options.request_timeout, deadline.remaining())))
        responses[slot] = std::move(*refused);
    }
    for (Exchange* const exchange : impl.turn()) {
      if (impl.goes_on(*exchange, deadline)) {
        for (Job& left : impl.leave(*exchange))
          waiting.push_back(std::move(left));
        continue;
      }
      const Job& job = exchange->job;
      exchange->response.detail += job.tried;
      log::trace(describe(*job.request, exchange->response));
      responses[job.slot] = std::move(exchange->response);
    }
  }
  return responses;
}

Response Pool::stream(const Request& request, const std::function<bool(std::string_view)>& take, Deadline deadline) {
  Impl& impl = *impl_;
  Job job{.request = &request};
  for (;;) {
    ++job.tries;
    if (auto refused = impl.start(std::move(job), deadline.remaining())) return std::move(*refused);
    Exchange& exchange = *impl.running.back();
    const Deadline beginning = Deadline::after(impl.options.request_timeout);
    bool ended = false;
    while (!ended) {
      ended = !impl.turn().empty();
      Response& response = exchange.response;
      if (exchange.status() == 200 && !response.body.empty() && !take(std::exchange(response.body, {}))) {
        if (!ended) impl.stop(exchange);
        response.code = 200;
        response.fault = Fault::none;
        log::trace(describe(request, response));
        return std::move(response);
      }
      if (!ended && exchange.status() == 0 && beginning.expired()) {
        impl.stop(exchange);
        exchange.finish(CURLE_OPERATION_TIMEDOUT, impl.endpoints[exchange.job.server]);
        ended = true;
      }
    }
    if (!impl.goes_on(exchange, deadline) || exchange.status() != 0) {
      exchange.response.detail += exchange.job.tried;
      log::trace(describe(request, exchange.response));
      return std::move(exchange.response);
    }
    job = std::move(impl.leave(exchange).front());
  }
}

}  // namespace core_ha::http

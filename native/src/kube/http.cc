// SPDX-License-Identifier: GPL-3.0-or-later
#include "kube/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <map>
#include <system_error>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/version.h"

namespace core_ha::kube {
namespace {

using std::chrono::milliseconds;

constexpr size_t max_body = size_t{1} << 30U;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;
using Multi = std::unique_ptr<CURLM, MultiDeleter>;
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

void add_header(HeaderList& list, const std::string& header) {
  curl_slist* const head = curl_slist_append(list.get(), header.c_str());
  if (head != nullptr && head != list.get()) {
    static_cast<void>(list.release());
    list.reset(head);
  }
}

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
         });
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

/// One exchange under way; it stays in place, because curl holds its address.
struct Exchange {
  Easy easy;
  HeaderList headers;
  HttpResponse response;
  bool is_read = true;
  bool too_large = false;
  std::array<char, CURL_ERROR_SIZE> error_text{};
};

size_t on_body(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (exchange.response.body.size() + size > max_body) {
    exchange.too_large = true;
    return 0;
  }
  exchange.response.body.append(data, size);
  return size;
}

size_t on_header(char* data, size_t, size_t size, void* user) {
  auto& response = static_cast<Exchange*>(user)->response;
  const std::string_view line(data, size);
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trim(line.substr(colon + 1));
  if (same_word(name, "retry-after")) {
    int seconds = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (error == std::errc() && end == value.data() + value.size() && seconds >= 0) response.retry_after = seconds;
  } else if (same_word(name, "warning")) {
    for (std::string& text : parse_warning_header(value))
      response.warnings.push_back(std::move(text));
  }
  return size;
}

NetFault fault_of(CURLcode code, long os_errno) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return NetFault::refused;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return NetFault::reset;
    case CURLE_SSL_CONNECT_ERROR: return os_errno == ECONNRESET ? NetFault::reset : NetFault::tls;
    case CURLE_OPERATION_TIMEDOUT: return NetFault::timeout;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR: return NetFault::tls;
    default: return NetFault::other;
  }
}

curl_blob borrow(std::string_view bytes) {
  // Without a copy: what must be wiped stays where it is known.
  return {const_cast<char*>(bytes.data()), bytes.size(), CURL_BLOB_NOCOPY};
}

/// Sets options and remembers the first that failed: an ignored failure could leave a certificate unchecked.
struct Setter {
  CURL* easy;
  CURLcode failed = CURLE_OK;
  template <class T>
  void operator()(CURLoption option, T value) {
    // In brackets: the macro of that name checks types only where the option is a constant.
    const CURLcode code = (curl_easy_setopt)(easy, option, value);
    if (failed == CURLE_OK) failed = code;
  }
};

std::string describe(const HttpRequest& request, const HttpResponse& response) {
  return fmt::format("{} {} {}", request.method, request.path,
                     response.answered() ? std::to_string(response.code) : response.detail);
}

Result<std::string> host_of(const std::string& server, std::string& port) {
  const std::unique_ptr<CURLU, UrlDeleter> url(curl_url());
  char* host = nullptr;
  char* number = nullptr;
  if (curl_url_set(url.get(), CURLUPART_URL, server.c_str(), 0) != CURLUE_OK ||
      curl_url_get(url.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK)
    return Error{ExitStatus::usage, fmt::format("server {} is no valid URL", server)};
  if (curl_url_get(url.get(), CURLUPART_PORT, &number, CURLU_DEFAULT_PORT) == CURLUE_OK) port = number;
  std::string text = host;
  curl_free(host);
  curl_free(number);
  return text;
}

}  // namespace

struct Http::Impl {
  Connection connection;
  HttpOptions options;
  std::string host;
  std::string base_url;   ///< what requests go to; its host is the TLS server name where one is set
  HeaderList connect_to;  ///< then: where that name really is
  std::string user_agent = fmt::format("k3s-core-ha/{}", version);
  Multi multi;
  std::vector<std::unique_ptr<Exchange>> pool;  ///< every handle ever needed, to use again

  Exchange& take(std::vector<Exchange*>& free);
  CURLcode prepare(Exchange& exchange, const HttpRequest& request, milliseconds timeout);
  /// Goes on until at least one exchange has ended; ended ones leave `running`.
  void run(std::vector<Exchange*>& running);
  bool abort_reads(std::vector<Exchange*>& running);
  static void finish(Exchange& exchange, CURLcode code);

  ~Impl() {
    pool.clear();  // before what they borrow: the keys, and the multi handle
    multi.reset();
  }
};

Exchange& Http::Impl::take(std::vector<Exchange*>& free) {
  if (free.empty()) {
    auto& exchange = pool.emplace_back(std::make_unique<Exchange>());
    exchange->easy.reset(curl_easy_init());
    return *exchange;
  }
  Exchange& exchange = *free.back();
  free.pop_back();
  return exchange;
}

CURLcode Http::Impl::prepare(Exchange& exchange, const HttpRequest& request, milliseconds timeout) {
  CURL* const easy = exchange.easy.get();
  curl_easy_reset(easy);
  exchange.headers.reset();
  exchange.response = {};
  exchange.is_read = request.is_read();
  exchange.too_large = false;
  exchange.error_text[0] = '\0';
  add_header(exchange.headers, "Accept: application/json");
  add_header(exchange.headers, "Expect:");
  if (!request.content_type.empty()) add_header(exchange.headers, "Content-Type: " + request.content_type);

  Setter set{easy};
  set(CURLOPT_URL, (base_url + request.path).c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(CURLOPT_HTTPHEADER, exchange.headers.get());
  set(CURLOPT_USERAGENT, user_agent.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max(milliseconds(1), timeout).count()));
  set(CURLOPT_ERRORBUFFER, exchange.error_text.data());
  set(CURLOPT_WRITEFUNCTION, on_body);
  set(CURLOPT_WRITEDATA, &exchange);
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, &exchange);
  set(CURLOPT_PRIVATE, &exchange);
  if (!request.is_read() || !request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.is_read()) {
    set(CURLOPT_PIPEWAIT, 1L);  // wait to hear whether the first connection can carry the others too
  } else {
    // curl repeats a request by itself when a connection that it used before turns out dead. A write must not be
    // repeated without being read back first, so it gets a connection of its own.
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_FORBID_REUSE, 1L);
  }

  if (is_loopback(host)) {
    set(CURLOPT_PROXY, "");
  } else if (!connection.proxy_url.empty()) {
    set(CURLOPT_PROXY, connection.proxy_url.c_str());
  }
  if (connect_to) set(CURLOPT_CONNECT_TO, connect_to.get());

  if (connection.insecure) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  } else if (!connection.ca_pem.empty()) {
    curl_blob ca = borrow(connection.ca_pem);
    set(CURLOPT_CAINFO_BLOB, &ca);
  }
  if (!connection.client_cert_pem.empty()) {
    curl_blob cert = borrow(connection.client_cert_pem);
    curl_blob key = borrow(connection.client_key_pem.reveal());
    set(CURLOPT_SSLCERT_BLOB, &cert);
    set(CURLOPT_SSLKEY_BLOB, &key);
  }
  if (!connection.token.empty()) {
    std::string token(connection.token.reveal());
    set(CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    set(CURLOPT_XOAUTH2_BEARER, token.c_str());
    wipe(token);
  } else if (!connection.username.empty()) {
    std::string password(connection.password.reveal());
    set(CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    set(CURLOPT_USERNAME, connection.username.c_str());
    set(CURLOPT_PASSWORD, password.c_str());
    wipe(password);
  }
  return set.failed;
}

void Http::Impl::finish(Exchange& exchange, CURLcode code) {
  CURL* const easy = exchange.easy.get();
  HttpResponse& response = exchange.response;
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    response.code = static_cast<int>(status);
    return;
  }
  long os_errno = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
  response.fault = fault_of(code, os_errno);
  response.detail = exchange.error_text[0] != '\0' ? exchange.error_text.data() : curl_easy_strerror(code);
  // The system's own words ("Connection refused") say it shorter than curl's.
  if (response.fault == NetFault::refused && os_errno != 0)
    response.detail = std::generic_category().message(static_cast<int>(os_errno));
  if (exchange.too_large) response.detail = "the answer is larger than 1 GiB";
}

void Http::Impl::run(std::vector<Exchange*>& running) {
  int active = 1;
  while (!running.empty()) {
    curl_multi_perform(multi.get(), &active);
    int queued = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.get(), &queued)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* const easy = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto at = std::find_if(running.begin(), running.end(), [&](Exchange* e) { return e->easy.get() == easy; });
      if (at == running.end()) continue;
      finish(**at, code);
      curl_multi_remove_handle(multi.get(), easy);
      running.erase(at);
      return;  // there is room for the next request
    }
    if (should_stop() && abort_reads(running)) return;
    // Once a signal has come its pipe stays readable: waiting for it again would spin.
    curl_waitfd extra{interrupt_fd(), CURL_WAIT_POLLIN, 0};
    const unsigned count = extra.fd >= 0 && !interrupted() ? 1 : 0;
    if (active > 0) curl_multi_poll(multi.get(), &extra, count, 1000, nullptr);
  }
}

bool Http::Impl::abort_reads(std::vector<Exchange*>& running) {
  const size_t before = running.size();
  std::erase_if(running, [&](Exchange* exchange) {
    if (!exchange->is_read) return false;
    curl_multi_remove_handle(multi.get(), exchange->easy.get());
    exchange->response.fault = NetFault::interrupted;
    exchange->response.detail = "interrupted";
    return true;
  });
  return running.size() != before;
}

Http::Http(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Http::~Http() = default;

const std::string& Http::server() const {
  return impl_->connection.server;
}

Result<std::unique_ptr<Http>> Http::open(Connection connection, const HttpOptions& options) {
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return Error{ExitStatus::internal, "libcurl does not start"};
  auto impl = std::make_unique<Impl>();
  impl->connection = std::move(connection);
  impl->options = options;
  impl->base_url = impl->connection.server;
  std::string port;
  auto host = host_of(impl->connection.server, port);
  if (!host) return host.error();
  impl->host = *host;
  if (const std::string& name = impl->connection.tls_server_name; !name.empty()) {
    // curl takes the name to verify from the URL: that becomes the TLS name, and the way leads to the real host.
    impl->base_url = fmt::format("https://{}:{}", name, port);
    add_header(impl->connect_to, fmt::format("{}:{}:{}:{}", name, port, *host, port));
  }
  impl->multi.reset(curl_multi_init());
  if (!impl->multi) return Error{ExitStatus::internal, "libcurl does not start"};
  curl_multi_setopt(impl->multi.get(), CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  curl_multi_setopt(impl->multi.get(), CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options.parallel));
  return std::unique_ptr<Http>(new Http(std::move(impl)));
}

std::vector<HttpResponse> Http::send(const std::vector<HttpRequest>& requests, Deadline deadline) {
  Impl& impl = *impl_;
  std::vector<HttpResponse> responses(requests.size());
  std::vector<Exchange*> running;
  std::map<Exchange*, size_t> carries;  // which request
  std::vector<Exchange*> free;
  free.reserve(impl.pool.size());
  for (const auto& exchange : impl.pool)
    free.push_back(exchange.get());

  size_t next = 0;
  while (next < requests.size() || !running.empty()) {
    while (next < requests.size() && running.size() < impl.options.parallel) {
      const size_t index = next++;
      const milliseconds timeout = std::min(impl.options.request_timeout, deadline.remaining());
      if (timeout.count() == 0 || (should_stop() && requests[index].is_read())) {
        responses[index].fault = should_stop() ? NetFault::interrupted : NetFault::timeout;
        responses[index].detail = should_stop() ? "interrupted" : "the time for this run is over";
        continue;
      }
      Exchange& exchange = impl.take(free);
      const CURLcode prepared = impl.prepare(exchange, requests[index], timeout);
      if (prepared != CURLE_OK || curl_multi_add_handle(impl.multi.get(), exchange.easy.get()) != CURLM_OK) {
        impl.finish(exchange, prepared == CURLE_OK ? CURLE_FAILED_INIT : prepared);
        responses[index] = std::move(exchange.response);
        free.push_back(&exchange);
        continue;
      }
      carries[&exchange] = index;
      running.push_back(&exchange);
    }
    impl.run(running);
    for (auto it = carries.begin(); it != carries.end();) {
      Exchange* const exchange = it->first;
      if (std::find(running.begin(), running.end(), exchange) != running.end()) {
        ++it;
        continue;
      }
      responses[it->second] = std::move(exchange->response);
      log::trace(describe(requests[it->second], responses[it->second]));
      free.push_back(exchange);
      it = carries.erase(it);
    }
  }
  return responses;
}

std::vector<std::string> parse_warning_header(std::string_view value) {
  // warn-code SP warn-agent SP quoted-string, several by comma (RFC 7234, 5.5); only code 299 is Kubernetes'.
  std::vector<std::string> texts;
  while (!(value = trim(value)).empty()) {
    const auto quote = value.find('"');
    if (quote == std::string_view::npos) break;
    const bool persistent = value.starts_with("299 ");
    std::string text;
    size_t at = quote + 1;
    for (; at < value.size() && value[at] != '"'; ++at) {
      if (value[at] == '\\' && at + 1 < value.size()) ++at;
      text += value[at];
    }
    if (at >= value.size()) break;
    if (persistent && !text.empty()) texts.push_back(std::move(text));
    const auto comma = value.find(',', at);
    if (comma == std::string_view::npos) break;
    value.remove_prefix(comma + 1);
  }
  return texts;
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host == "::1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace core_ha::kube

// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/exchange.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/secret.h"
#include "base/version.h"
#include "http/url.h"

namespace core_ha::http {
namespace {

using std::chrono::milliseconds;

constexpr size_t max_body = size_t{1} << 30U;

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

/// Just before a request goes out on a connection that is established.
int on_request_start(void* user, char*, char*, int, int) {
  static_cast<Exchange*>(user)->sent = true;
  return CURL_PREREQFUNC_OK;
}

/// A peer that lost its power says nothing any more: a silent connection is asked after 30 s whether it still lives,
/// and 15 s later it does not (client-go's figures for HTTP/2). What was sent may go unheard as long: until it is, the
/// kernel does not ask; and with a shorter time for that it would take one lost question for an answer.
int on_socket(void* user, curl_socket_t socket, curlsocktype) {
  static_cast<Exchange*>(user)->connects = true;
  struct Option {
    int level, name, value;
  };
  for (const Option& option : {Option{SOL_SOCKET, SO_KEEPALIVE, 1}, Option{IPPROTO_TCP, TCP_KEEPIDLE, 30},
                               Option{IPPROTO_TCP, TCP_KEEPINTVL, 5}, Option{IPPROTO_TCP, TCP_KEEPCNT, 3},
                               Option{IPPROTO_TCP, TCP_USER_TIMEOUT, 45000}})
    if (setsockopt(socket, option.level, option.name, &option.value, sizeof(option.value)) != 0)
      return CURL_SOCKOPT_ERROR;
  return CURL_SOCKOPT_OK;
}

/// A handshake that the other side let go of, as a server does that is ending or just starting: no judgement on
/// certificates. curl gives it the same code and tells it apart in words alone.
bool handshake_broke(long os_errno, std::string_view words) {
  return os_errno == ECONNRESET || words.find("SSL_ERROR_SYSCALL") != std::string_view::npos ||
         words.find("unexpected eof") != std::string_view::npos;
}

Fault fault_of(CURLcode code, long os_errno, std::string_view words) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Fault::refused;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return Fault::reset;
    case CURLE_SSL_CONNECT_ERROR: return handshake_broke(os_errno, words) ? Fault::reset : Fault::tls;
    case CURLE_OPERATION_TIMEDOUT: return Fault::timeout;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR: return Fault::tls;
    default: return Fault::other;
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

}  // namespace

Endpoint::Endpoint(std::string url_, const std::string& tls_server_name) : url(std::move(url_)), base_url(url) {
  Url parts(url);
  host = parts.part(CURLUPART_HOST);
  if (tls_server_name.empty()) return;
  // curl takes the name to verify from the URL: that becomes the TLS name, and the way leads to the real host.
  const std::string port = parts.part(CURLUPART_PORT);
  add_header(connect_to, fmt::format("{}:{}:{}:{}", tls_server_name, port, host, port));
  parts.set(CURLUPART_HOST, tls_server_name);
  base_url = parts.part(CURLUPART_URL);
  while (base_url.ends_with('/'))
    base_url.pop_back();
}

CURLcode Exchange::prepare(const Connection& connection, const Endpoint& endpoint, const Options& options,
                           milliseconds timeout) {
  const Request& request = *job.request;
  curl_easy_reset(easy.get());
  headers.reset();
  response = {};
  connects = false;
  sent = false;
  too_large = false;
  error_text[0] = '\0';
  add_header(headers, "Accept: " + (request.accept.empty() ? "application/json" : request.accept));
  add_header(headers, "Expect:");
  if (!request.content_type.empty()) add_header(headers, "Content-Type: " + request.content_type);

  static const std::string user_agent = fmt::format("k3s-core-ha/{}", version);
  Setter set{easy.get()};
  set(CURLOPT_URL, (endpoint.base_url + request.path).c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_USERAGENT, user_agent.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_SOCKOPTFUNCTION, on_socket);
  set(CURLOPT_SOCKOPTDATA, this);
  set(CURLOPT_PREREQFUNCTION, on_request_start);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout->count()));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max(milliseconds(1), timeout).count()));
  set(CURLOPT_ERRORBUFFER, error_text.data());
  set(CURLOPT_WRITEFUNCTION, on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_PRIVATE, this);
  if (!request.is_read() || !request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.is_read()) {
    if (options.http2) set(CURLOPT_PIPEWAIT, 1L);  // wait to hear whether the first connection can carry the others too
  } else {
    // curl repeats a request by itself when a connection that it used before turns out dead. A write must not be
    // repeated without being read back first, so it gets a connection of its own.
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_FORBID_REUSE, 1L);
  }

  if (is_loopback(endpoint.host)) {
    set(CURLOPT_PROXY, "");
  } else if (!connection.proxy_url.empty()) {
    set(CURLOPT_PROXY, connection.proxy_url.c_str());
  }
  if (endpoint.connect_to) set(CURLOPT_CONNECT_TO, endpoint.connect_to.get());

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

int Exchange::status() const {
  long code = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &code);
  return static_cast<int>(code);
}

void Exchange::finish(CURLcode code, const Endpoint& endpoint) {
  response.server = endpoint.url;
  long http = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_HTTP_VERSION, &http);
  if (connects && code == CURLE_OK)
    log::detail(fmt::format("connected to {} by HTTP/{}", endpoint.url, http == CURL_HTTP_VERSION_2_0 ? "2" : "1.1"));
  if (code == CURLE_OK) {
    response.code = status();
    return;
  }
  long os_errno = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_OS_ERRNO, &os_errno);
  response.fault = fault_of(code, os_errno, error_text.data());
  response.sent = sent;
  response.detail = error_text[0] != '\0' ? error_text.data() : curl_easy_strerror(code);
  // The system's own words ("Connection refused") say it shorter than curl's.
  if (response.fault == Fault::refused && os_errno != 0)
    response.detail = std::generic_category().message(static_cast<int>(os_errno));
  if (too_large) response.detail = "the answer is larger than 1 GiB";
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

}  // namespace core_ha::http

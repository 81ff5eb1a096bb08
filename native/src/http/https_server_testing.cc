// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/https_server_testing.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <stdexcept>

namespace core_ha::http::testing {
namespace {

template <auto Free>
struct With {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, With<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, With<X509_free>>;
using Bio = std::unique_ptr<BIO, With<BIO_free_all>>;
using Context = std::unique_ptr<SSL_CTX, With<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, With<SSL_free>>;

Key new_key() {
  return Key(EVP_EC_gen("P-256"));
}

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

std::string pem(X509* cert) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), cert);
  return drain(bio.get());
}

std::string pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return drain(bio.get());
}

void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) throw std::runtime_error("certificate extension " + value);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

Cert new_cert(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, const std::string& names) {
  static std::atomic<long> serial{1};
  Cert cert(X509_new());
  X509_set_version(cert.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_NAME* const subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509* const signer = issuer == nullptr ? cert.get() : issuer;
  X509_set_issuer_name(cert.get(), X509_get_subject_name(signer));
  X509_set_pubkey(cert.get(), key);
  add_extension(cert.get(), signer, NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!names.empty()) add_extension(cert.get(), signer, NID_subject_alt_name, names);
  X509_sign(cert.get(), issuer_key, EVP_sha256());
  return cert;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

struct Authority::Impl {
  Key key = new_key();
  Cert cert = new_cert("test CA", key.get(), nullptr, key.get(), "");
  std::string pem_text = pem(cert.get());
};

Authority::Authority() : impl_(std::make_unique<Impl>()) {}
Authority::~Authority() = default;
const std::string& Authority::cert_pem() const {
  return impl_->pem_text;
}

KeyPair Authority::issue(const std::string& common_name, const std::string& names) const {
  const Key key = new_key();
  const Cert cert = new_cert(common_name, key.get(), impl_->cert.get(), impl_->key.get(), names);
  return {pem(cert.get()), pem(key.get())};
}

namespace {

int choose_http2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                 void*) {
  static constexpr unsigned char http2[] = {2, 'h', '2'};
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, http2, sizeof(http2), in, in_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

struct HttpsServer::Tls {
  Context context{SSL_CTX_new(TLS_server_method())};

  Tls(const std::string& names, Protocol protocol) {
    if (protocol == Protocol::http2) SSL_CTX_set_alpn_select_cb(context.get(), choose_http2, nullptr);
    const KeyPair pair = authority().issue("server", names);
    const Bio cert_bio(BIO_new_mem_buf(pair.cert_pem.data(), static_cast<int>(pair.cert_pem.size())));
    const Bio key_bio(BIO_new_mem_buf(pair.key_pem.data(), static_cast<int>(pair.key_pem.size())));
    const Bio ca_bio(BIO_new_mem_buf(authority().cert_pem().data(), static_cast<int>(authority().cert_pem().size())));
    const Cert cert(PEM_read_bio_X509(cert_bio.get(), nullptr, nullptr, nullptr));
    const Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
    const Cert ca(PEM_read_bio_X509(ca_bio.get(), nullptr, nullptr, nullptr));
    SSL_CTX_use_certificate(context.get(), cert.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), ca.get());
    constexpr unsigned char session_context[] = "test";  // else OpenSSL refuses to resume a session with a client cert
    SSL_CTX_set_session_id_context(context.get(), session_context, sizeof(session_context));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);  // asked for, not demanded
  }
};

const Authority& HttpsServer::authority() {
  static const Authority shared;
  return shared;
}

HttpsServer::HttpsServer(Handler handler, const std::string& names, Protocol protocol, int port)
    : handler_(std::move(handler)), tls_(std::make_unique<Tls>(names, protocol)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  const int again = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &again, sizeof(again));
  socklen_t size = sizeof(address);
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no port for the test server");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(); });
}

HttpsServer::~HttpsServer() {
  stopping_ = true;
  acceptor_.join();
  for (std::thread& worker : workers_)
    worker.join();
  close(listener_);
}

std::string HttpsServer::url() const {
  return "https://127.0.0.1:" + std::to_string(port_);
}

Connection HttpsServer::connection(const std::string& client) const {
  Connection connection;
  connection.servers = {url()};
  connection.ca_pem = authority().cert_pem();
  KeyPair pair = authority().issue(client, "");
  connection.client_cert_pem = pair.cert_pem;
  connection.client_key_pem = SecretString::take(std::move(pair.key_pem));
  return connection;
}

std::vector<SeenRequest> HttpsServer::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void HttpsServer::accept_loop() {
  int number = 0;
  while (!stopping_) {
    pollfd entry{listener_, POLLIN, 0};
    if (poll(&entry, 1, 20) <= 0) continue;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) workers_.emplace_back([this, fd, number = ++number] { serve(fd, number); });
  }
}

namespace {

/// Reads until `enough` says so; false at the end of the connection.
bool read_until(SSL* ssl, int fd, std::string& buffer, const std::atomic<bool>& stopping,
                const std::function<bool()>& enough) {
  while (!enough()) {
    if (SSL_pending(ssl) == 0) {
      pollfd entry{fd, POLLIN, 0};
      while (poll(&entry, 1, 20) == 0)
        if (stopping) return false;
    }
    char chunk[4096];
    const int got = SSL_read(ssl, chunk, sizeof(chunk));
    if (got <= 0) return false;
    buffer.append(chunk, static_cast<size_t>(got));
  }
  return true;
}

SeenRequest parse_head(const std::string& head) {
  SeenRequest request;
  const auto first = head.find(' ');
  const auto second = head.find(' ', first + 1);
  request.method = head.substr(0, first);
  request.path = head.substr(first + 1, second - first - 1);
  for (size_t at = head.find("\r\n"); at != std::string::npos;) {
    const auto end = head.find("\r\n", at + 2);
    const std::string line = head.substr(at + 2, end == std::string::npos ? end : end - at - 2);
    if (const auto colon = line.find(": "); colon != std::string::npos)
      request.headers[lower(line.substr(0, colon))] = line.substr(colon + 2);
    at = end;
  }
  return request;
}

std::string client_name(SSL* ssl) {
  const Cert cert(SSL_get1_peer_certificate(ssl));
  char name[256] = {};
  if (cert) X509_NAME_get_text_by_NID(X509_get_subject_name(cert.get()), NID_commonName, name, sizeof(name));
  return name;
}

}  // namespace

void HttpsServer::note(const SeenRequest& request) {
  const std::lock_guard lock(mutex_);
  seen_.push_back(request);
}

void HttpsServer::serve(int fd, int number) {
  const Session session(SSL_new(tls_->context.get()));
  SSL_set_fd(session.get(), fd);
  if (SSL_accept(session.get()) == 1) {
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(session.get(), &chosen, &size);
    size != 0 ? serve_http2(session.get(), fd, number) : serve_http1(session.get(), fd, number);
  }
  close(fd);
}

/// True when the connection is at its end.
bool HttpsServer::carry_out_fault(Reply::Fault fault, int fd) const {
  if (fault == Reply::Fault::hang) {
    pollfd entry{fd, POLLIN, 0};
    while (!stopping_ && poll(&entry, 1, 20) == 0) {
    }
  }
  if (fault == Reply::Fault::reset) {
    const linger now{1, 0};  // close sends RST
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  return fault != Reply::Fault::none;
}

void HttpsServer::serve_http1(SSL* session, int fd, int number) {
  std::string buffer;
  const auto send = [&](const std::string& text) {
    return SSL_write(session, text.data(), static_cast<int>(text.size())) > 0;
  };
  for (bool open = true; open;) {
    size_t head_end = std::string::npos;
    if (!read_until(session, fd, buffer, stopping_,
                    [&] { return (head_end = buffer.find("\r\n\r\n")) != std::string::npos; }))
      return;
    SeenRequest request = parse_head(buffer.substr(0, head_end));
    const auto length_header = request.headers.find("content-length");
    const size_t length = length_header == request.headers.end() ? 0 : std::stoul(length_header->second);
    if (!read_until(session, fd, buffer, stopping_, [&] { return buffer.size() >= head_end + 4 + length; })) return;
    request.body = buffer.substr(head_end + 4, length);
    buffer.erase(0, head_end + 4 + length);
    request.client_name = client_name(session);
    request.connection = number;
    note(request);
    const Reply reply = handler_(request);
    if (reply.chunks.empty() && carry_out_fault(reply.fault, fd)) return;
    std::string answer = "HTTP/1.1 " + std::to_string(reply.code) + " x\r\nContent-Type: application/json\r\n";
    for (const std::string& header : reply.headers)
      answer += header + "\r\n";
    if (reply.chunks.empty()) {
      open = send(answer + "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n" + reply.body);
      continue;
    }
    open = send(answer + "Transfer-Encoding: chunked\r\n\r\n");
    for (const std::string& chunk : reply.chunks)
      open = open && send(fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk));
    if (carry_out_fault(reply.fault, fd)) return;
    open = open && send("0\r\n\r\n");
  }
}

void HttpsServer::serve_http2(SSL* session, int fd, int number) {
  // Of RFC 9113 just what an answer takes: type, flags and stream of a frame, and one header from HPACK's own table.
  enum Type : unsigned char { data = 0, headers = 1, settings = 4, go_away = 7 };
  constexpr size_t preface = 24;
  constexpr size_t frame_head = 9;
  const auto send = [&](Type type, unsigned char flags, std::uint32_t stream, const std::string& payload) {
    std::string frame;
    for (const int shift : {16, 8, 0})
      frame += static_cast<char>(payload.size() >> shift);
    frame += static_cast<char>(type);
    frame += static_cast<char>(flags);
    for (const int shift : {24, 16, 8, 0})
      frame += static_cast<char>(stream >> shift);
    frame += payload;
    return SSL_write(session, frame.data(), static_cast<int>(frame.size())) > 0;
  };
  std::string buffer;
  const auto byte = [&](size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(buffer[at])); };
  if (!read_until(session, fd, buffer, stopping_, [&] { return buffer.size() >= preface; })) return;
  buffer.erase(0, preface);
  send(settings, 0, 0, "");
  for (;;) {
    size_t whole = frame_head;
    if (!read_until(session, fd, buffer, stopping_, [&] {
          if (buffer.size() >= frame_head) whole = frame_head + (byte(0) << 16U | byte(1) << 8U | byte(2));
          return buffer.size() >= whole;
        }))
      return;
    const auto type = byte(3);
    const bool acknowledged = (byte(4) & 1U) != 0;
    const std::uint32_t stream = byte(5) << 24U | byte(6) << 16U | byte(7) << 8U | byte(8);
    buffer.erase(0, whole);
    if (type == settings && !acknowledged) send(settings, 1, 0, "");
    if (type != headers) continue;
    const SeenRequest request{.method = "GET", .client_name = client_name(session), .connection = number};
    note(request);
    const Reply reply = handler_(request);
    if (reply.fault == Reply::Fault::goaway) send(go_away, 0, 0, std::string(8, '\0'));  // no stream was looked at
    if (carry_out_fault(reply.fault, fd)) return;
    constexpr unsigned char end_headers = 4;
    send(headers, end_headers, stream, "\x88");  // :status 200
    send(data, 1, stream, reply.body);
  }
}

}  // namespace core_ha::http::testing

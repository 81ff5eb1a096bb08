// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "http/connection.h"
#include "http/pool.h"

namespace core_ha::http {

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

/// One of the servers, as curl wants to be told of it.
struct Endpoint {
  std::string url;        ///< as it is called in messages
  std::string host;       ///< where it really is
  std::string base_url;   ///< what requests go to; its host is the TLS server name where one is set
  HeaderList connect_to;  ///< then: where that name is
  bool silent = false;    ///< it was said that it does not answer, and it has not answered since

  Endpoint(std::string url_, const std::string& tls_server_name);
};

/// A request on its way among the servers.
struct Job {
  const Request* request = nullptr;
  size_t slot = 0;         ///< of the answer
  size_t server = 0;       ///< which one has it now
  size_t tries = 0;        ///< servers that had it
  std::string tried = {};  ///< what became of it there
};

/// A curl handle and the exchange under way on it; it stays in place, because curl holds its address.
struct Exchange {
  std::unique_ptr<CURL, EasyDeleter> easy{curl_easy_init()};
  HeaderList headers = {};
  Job job = {};
  Response response = {};
  bool connects = false;  ///< a connection is made for it
  bool sent = false;      ///< the request may have left
  bool too_large = false;
  std::array<char, CURL_ERROR_SIZE> error_text{};

  /// Makes the handle ready for the job. Keys are borrowed from the connection, which must outlive the exchange.
  CURLcode prepare(const Connection& connection, const Endpoint& endpoint, const Options& options,
                   std::chrono::milliseconds timeout);
  /// Takes the status, or what went wrong, into the response.
  void finish(CURLcode code, const Endpoint& endpoint);
  /// The status of an answer that has begun; 0 before.
  int status() const;
};

}  // namespace core_ha::http

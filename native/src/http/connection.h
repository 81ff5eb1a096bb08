// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace core_ha::http {

/// How to reach one cluster as one user: what a context of a kubeconfig comes to.
struct Connection {
  std::vector<std::string> servers;  ///< `https://127.0.0.1:6443`, at least one; all of the same cluster
  std::string tls_server_name;       ///< what certificates are held against; empty: the server's host
  bool insecure = false;             ///< do not verify the server's certificate
  std::string ca_pem;                ///< empty: the system's certificate authorities
  std::string proxy_url;             ///< empty: the environment's proxy
  std::string client_cert_pem;
  SecretString client_key_pem;
  SecretString token;
  std::string username;
  SecretString password;
  std::string namespace_;  ///< the context's
  std::string context;     ///< its name
  std::string source;      ///< the file that named it, for messages

  bool has_credentials() const { return !client_key_pem.empty() || !token.empty() || !username.empty(); }
};

/// The URL of a server as requests are made from it: without a scheme it is https, a slash at the end goes.
/// The error is one sentence on what was found and what is allowed (exit 2).
Result<std::string> server_url(std::string_view text);

/// True for localhost and loopback addresses, which no proxy is ever asked for.
bool is_loopback(std::string_view host);

}  // namespace core_ha::http

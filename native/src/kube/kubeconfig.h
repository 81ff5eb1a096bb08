// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace core_ha::kube {

/// How to reach one cluster as one user: what a context of a kubeconfig comes to.
struct Connection {
  std::string server;           ///< `https://127.0.0.1:6443`, without a slash at the end
  std::string tls_server_name;  ///< empty: the server's host
  bool insecure = false;        ///< do not verify the server's certificate
  std::string ca_pem;           ///< empty: the system's certificate authorities
  std::string proxy_url;        ///< empty: the environment's proxy
  std::string client_cert_pem;
  SecretString client_key_pem;
  SecretString token;
  std::string username;
  SecretString password;
  std::string namespace_;  ///< the context's
  std::string context;     ///< its name
  std::string source;      ///< the file that named it, for messages
};

/// Where kubeconfigs are looked for; the defaults are the machine's.
struct KubeconfigSearch {
  std::string path;                   ///< `--kubeconfig`: must exist, is used alone
  std::string context;                ///< `--context`; empty: current-context
  std::string env;                    ///< the value of KUBECONFIG
  std::vector<std::string> defaults;  ///< the first that exists and can be read, when neither of the above is set
};

/// The search of this process: its environment, then k3s's own file, then ~/.kube/config.
KubeconfigSearch default_search(std::string path, std::string context);

/// Finds, reads, merges and validates; every failure is one sentence (exit 2).
Result<Connection> load_kubeconfig(const KubeconfigSearch& search);

}  // namespace core_ha::kube

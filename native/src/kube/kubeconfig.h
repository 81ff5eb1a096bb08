// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "http/connection.h"

namespace core_ha::kube {

/// Where kubeconfigs are looked for; the defaults are the machine's.
struct KubeconfigSearch {
  std::string path;                   ///< `--kubeconfig`: must exist, is used alone
  std::string context;                ///< `--context`; empty: current-context
  std::string env;                    ///< the value of KUBECONFIG
  std::vector<std::string> defaults;  ///< the first that exists and can be read, when neither of the above is set
  // Inside a pod, when none of these is there:
  std::string service_host = {};  ///< the value of KUBERNETES_SERVICE_HOST; empty: not in a pod
  std::string service_port = {};  ///< and of KUBERNETES_SERVICE_PORT
  std::string service_account = "/var/run/secrets/kubernetes.io/serviceaccount";  ///< where its files are mounted

  bool may_be_in_pod() const { return path.empty() && env.empty() && !service_host.empty(); }
};

/// The search of this process: its environment, then k3s's own file, then ~/.kube/config, then the pod's own account.
KubeconfigSearch default_search(std::string path, std::string context);

/// Finds, reads, merges and validates; every failure is one sentence (exit 2).
Result<http::Connection> load_kubeconfig(const KubeconfigSearch& search);

/// Puts other addresses of the same cluster in the place of the kubeconfig's; each is checked, and named once (exit 2).
Result<void> use_servers(http::Connection& connection, const std::vector<std::string>& servers);

}  // namespace core_ha::kube

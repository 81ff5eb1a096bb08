// SPDX-License-Identifier: GPL-3.0-or-later
#include "report/manifests.h"

#include <algorithm>

#include "base/yaml.h"

namespace core_ha::report {

std::string manifests(const std::vector<Json>& objects, const std::vector<std::string>& warnings) {
  std::string out =
      "# Made by `k3s-core-ha plan -o manifests` for the cluster as it was then. For server-side apply only:\n"
      "#   kubectl apply --server-side --force-conflicts --field-manager=k3s-core-ha -f FILE\n"
      "# The force takes fields from k3s alone, which leaves them be. The first roll-out that this brings about is\n"
      "# Kubernetes's ordinary one and may lose queries; `k3s-core-ha apply` loses none.\n"
      "# `kubectl delete -f FILE` is refused for what is k3s's own and for what serves in its place.\n";
  for (std::string warning : warnings) {
    std::replace(warning.begin(), warning.end(), '\n', ' ');
    out += "# Warning: " + warning + "\n";
  }
  for (const auto& object : objects)
    out += "---\n" + to_yaml(object);
  return out;
}

}  // namespace core_ha::report

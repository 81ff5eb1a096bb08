# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Where the helper is and which cluster it talks to.
    DOCUMENTATION = r"""
options:
  executable:
    description:
      - The helper C(k3s-core-ha) on the host where the module runs.
      - The role P(k3s_ha.core.k3s_core_ha#role) puts it there.
    type: path
    default: /usr/local/bin/k3s-core-ha
  kubeconfig:
    description:
      - The kubeconfig to use, C(/etc/rancher/k3s/k3s.yaml) on a server of k3s.
      - When not given, the files that the environment variable E(KUBECONFIG) names are used, else
        C(/etc/rancher/k3s/k3s.yaml), else C(~/.kube/config).
    type: path
  context:
    description:
      - The context of the kubeconfig to use, when it is not to be the current one.
    type: str
  api_servers:
    description:
      - URLs of the API on several control-plane nodes, C(https://198.51.100.1:6443) for example, to be used in the
        place of the kubeconfig's one, with its certificate authority and credentials.
      - They are asked in this order. One that does not answer is passed over, also in the middle of a change.
    type: list
    elements: str
  wait_api:
    description:
      - For how many seconds to wait for the API to be ready, as it is not for a while after k3s has been restarted.
    type: int
    default: 0
  timeout:
    description:
      - The number of seconds after which the whole run is given up. The helper then goes back, for up to 15 minutes
        more, and fails.
    type: int
    default: 1800
requirements:
  - The helper C(k3s-core-ha) on the host where the module runs. Nothing else, no Python library.
"""

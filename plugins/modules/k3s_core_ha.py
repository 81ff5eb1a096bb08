#!/usr/bin/python

# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_core_ha
short_description: Make the core components of k3s survive the loss of a node
version_added: 0.1.0
description:
  - Brings the components that k3s ships as single replicas to a state in which they survive the loss of a node, and
    keeps them so through restarts and upgrades of k3s.
  - The work is done by one run of the helper C(k3s-core-ha), in one process, without any Python library for Kubernetes.
  - Where the cluster already is as wished, the API is only read.
extends_documentation_fragment:
  - k3s_ha.core.attributes
  - k3s_ha.core.helper
  - k3s_ha.core.spec
attributes:
  check_mode:
    support: full
    details:
      - Every change is sent to the API server as a dry run, so that what would be refused is found in check mode too.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) makes the components highly available as the other options say.
      - V(absent) brings every component back to what k3s ships and leaves nothing of this collection in the cluster.
        Only O(wait_timeout) is used then, of the options that describe the wish.
    type: str
    choices: [present, absent]
    default: present
  carriers:
    description:
      - Names of nodes on which the helper is C(/usr/local/bin/k3s-core-ha), so that pods there can use it. It is
        remembered in a label of the Node.
      - The replicas of local-path-provisioner run on such nodes alone.
    type: list
    elements: str
    default: []
  set_aside:
    description:
      - Of servers, by the names of their nodes, beside which of k3s's own manifests a file C(NAME.yaml.skip) lies, so
        that k3s leaves them alone; V(coredns) and V(metrics-server-deployment). It is remembered in an annotation of
        the Node.
      - Strategy V(custom) is refused until every server has them. The role puts them there.
    type: dict
    default: {}
  manifests:
    description:
      - The directory in which k3s stages its own manifests, which strategy V(custom) builds on.
    type: path
    default: /var/lib/rancher/k3s/server/manifests
notes:
  - Run it on one server of the cluster, with C(/etc/rancher/k3s/k3s.yaml). The role
    P(k3s_ha.core.k3s_core_ha#role) chooses that server.
seealso:
  - module: k3s_ha.core.k3s_core_ha_info
author:
  - The k3s_ha.core authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Make CoreDNS survive the loss of any node
  k3s_ha.core.k3s_core_ha:
    kubeconfig: /etc/rancher/k3s/k3s.yaml

- name: Ask for at least four replicas, right after k3s was restarted
  k3s_ha.core.k3s_core_ha:
    kubeconfig: /etc/rancher/k3s/k3s.yaml
    coredns_min_replicas: 4
    coredns_max_replicas: 12
    wait_api: 120

- name: See what would be done
  k3s_ha.core.k3s_core_ha:
    kubeconfig: /etc/rancher/k3s/k3s.yaml
  check_mode: true
  diff: true

- name: Go back to what k3s ships
  k3s_ha.core.k3s_core_ha:
    kubeconfig: /etc/rancher/k3s/k3s.yaml
    state: absent
"""

RETURN = r"""
level:
  description: The level that was taken and why.
  returned: when the helper came to a plan
  type: dict
  contains:
    name:
      description: V(none), V(node) or V(zone).
      type: str
    reason:
      description: One sentence.
      type: str
  sample:
    name: node
    reason: 3 nodes can take CoreDNS, so 3 replicas on 3 nodes survive the loss of any one of them
steps:
  description: What was done, in order.
  returned: when the helper came to a plan
  type: list
  elements: dict
  contains:
    id:
      description: The step's name.
      type: str
    action:
      description: What the step does.
      type: str
    object:
      description: To which object, by API version, kind, namespace and name.
      type: str
    reason:
      description: Why.
      type: str
    state:
      description: V(planned) (in check mode), V(done), V(unchanged), V(failed) or V(rolled_back).
      type: str
  sample:
    - id: coredns-overlay
      action: apply
      object: apps/v1 Deployment kube-system/coredns
      reason: the overlay is not there yet
      state: done
node_steps:
  description:
    - What is to be done on nodes, which the API cannot do.
    - Always empty so far, for the role does what nodes need before and after this module.
  returned: when the helper came to a plan
  type: list
  elements: dict
  sample: []
predicted:
  description: What a fail-over costs clients of cluster DNS on the surviving nodes, once the cluster is as wished.
  returned: when the helper came to a plan
  type: dict
  contains:
    node_death:
      description: A node with a replica of CoreDNS dies.
      type: dict
      contains:
        lost_share:
          description: The share of queries that is lost, a list of the least and the most, or V(unknown).
          type: raw
        seconds:
          description: For how long, a list of the least and the most, V(unknown), or null for until the node is back.
          type: raw
        words:
          description: The same in a sentence.
          type: str
    lease_holder_death:
      description:
        - The server dies that holds the controller manager's lease; as RV(predicted.node_death).
        - Absent where there is one replica.
      type: dict
    full_strength:
      description: When CoreDNS has all its replicas again.
      type: dict
      contains:
        seconds:
          description: After how long, a list of the least and the most, or null for when the node is back.
          type: raw
  sample:
    node_death:
      lost_share: 0.333
      seconds: [40, 60]
      words: 1/3 of queries is lost until the dead endpoint goes.
    lease_holder_death:
      lost_share: 0.333
      seconds: [60, 84]
      words: 1/3 of queries is lost until the next controller manager takes the dead endpoint out.
    full_strength:
      seconds: [335, 375]
exit_status:
  description: The helper's exit status.
  returned: on failure, when the helper could be started
  type: int
  sample: 4
exit_name:
  description:
    - What that status means.
    - One of V(internal), V(usage), V(api), V(unsafe), V(conflict), V(rolled_back), V(not_rolled_back), V(below_bar),
      V(interrupted), V(timeout), V(signal) and V(unknown).
  returned: on failure, when the helper could be started
  type: str
  sample: unsafe
progress:
  description: What the helper said while it worked, line by line.
  returned: on failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.k3s_ha.core.plugins.module_utils._helper import HELPER_ARGUMENTS, Helper, HelperError
from ansible_collections.k3s_ha.core.plugins.module_utils._spec import SPEC_ARGUMENTS, ansible_diff, wished


def main() -> None:
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    carriers = {"type": "list", "elements": "str", "default": []}
    set_aside = {"type": "dict", "default": {}}
    manifests = {"type": "path", "default": "/var/lib/rancher/k3s/server/manifests"}
    own = {"state": state, "carriers": carriers, "set_aside": set_aside, "manifests": manifests}
    module = AnsibleModule(argument_spec=dict(HELPER_ARGUMENTS, **own, **SPEC_ARGUMENTS), supports_check_mode=True)
    verb = ["apply", "--spec", "-"] + (["--dry-run"] if module.check_mode else [])
    verb += [f"--carrier={name}" for name in module.params["carriers"]]
    verb += [f"--set-aside={name}={','.join(there)}" for name, there in module.params["set_aside"].items()]
    verb += ["--manifests", module.params["manifests"]]
    try:
        result = Helper.from_params(module.params).run(verb, wished(module.params))
    except HelperError as error:
        module.fail_json(**error.as_failure())
    for warning in result.get("warnings", []):
        module.warn(warning)
    answer = {key: result.get(key) for key in ("level", "steps", "node_steps", "predicted")}
    if module._diff:
        answer["diff"] = ansible_diff(result)
    module.exit_json(changed=bool(result.get("changed")), **answer)


if __name__ == "__main__":
    main()

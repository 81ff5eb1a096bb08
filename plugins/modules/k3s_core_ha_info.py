#!/usr/bin/python

# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_core_ha_info
short_description: Tell how well the core components of k3s would survive the loss of a node
version_added: 0.1.0
description:
  - Reads the cluster, holds it against the wish that the options describe, and tells what
    M(k3s_ha.core.k3s_core_ha) would change and why. Nothing is changed, not even by a dry run.
extends_documentation_fragment:
  - k3s_ha.core.attributes
  - k3s_ha.core.attributes.info_module
  - k3s_ha.core.helper
  - k3s_ha.core.spec
options:
  snapshot:
    description:
      - Whether to return RV(snapshot) too, which holds all objects that the plan was made from and can be large.
    type: bool
    default: false
  manifests:
    description:
      - The directory in which k3s stages its own manifests, which strategy V(custom) builds on.
    type: path
    default: /var/lib/rancher/k3s/server/manifests
seealso:
  - module: k3s_ha.core.k3s_core_ha
author:
  - The k3s_ha.core authors (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Hold the cluster against the defaults
  k3s_ha.core.k3s_core_ha_info:
    kubeconfig: /etc/rancher/k3s/k3s.yaml
  register: core_ha

- name: Fail where the cluster is not as wished
  ansible.builtin.assert:
    that: core_ha.converged
    fail_msg: "{{ core_ha.steps | map(attribute='reason') | join('; ') }}"
"""

RETURN = r"""
converged:
  description: Whether the cluster is as wished, so that M(k3s_ha.core.k3s_core_ha) would change nothing.
  returned: success
  type: bool
  sample: false
level:
  description: The level that would be taken and why.
  returned: success
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
components:
  description:
    - How each component stands now, by its name, and each Deployment of O(extra_deployments), by C(namespace/name).
  returned: success
  type: dict
  sample:
    coredns:
      strategy: packaged
      replicas: 1
      ready: 1
      nodes: [server-1]
steps:
  description: What would be done, in order.
  returned: success
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
      description: V(planned) or V(unchanged).
      type: str
node_steps:
  description:
    - What would have to be done on nodes, which the API cannot do.
    - Always empty so far, for the role does what nodes need before and after this module.
  returned: success
  type: list
  elements: dict
  sample: []
differences:
  description: The objects that would change, as they are and as they would be.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: API version, kind, namespace and name.
      type: str
    before:
      description: The fields in question as they are; absent for an object that is not there.
      type: raw
    after:
      description: The same as they would be; absent for an object that would be deleted.
      type: raw
predicted:
  description: What a fail-over costs clients of cluster DNS on the surviving nodes, once the cluster is as wished.
  returned: success
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
snapshot:
  description: What was read from the cluster, as C(k3s-core-ha observe) gives it.
  returned: when O(snapshot=true)
  type: dict
exit_status:
  description: The helper's exit status.
  returned: on failure, when the helper could be started
  type: int
  sample: 3
exit_name:
  description: What that status means; the names are those of M(k3s_ha.core.k3s_core_ha).
  returned: on failure, when the helper could be started
  type: str
  sample: api
progress:
  description: What the helper said while it worked, line by line.
  returned: on failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.k3s_ha.core.plugins.module_utils._helper import HELPER_ARGUMENTS, Helper, HelperError
from ansible_collections.k3s_ha.core.plugins.module_utils._spec import SPEC_ARGUMENTS, wished


def main() -> None:
    snapshot = {"type": "bool", "default": False}
    manifests = {"type": "path", "default": "/var/lib/rancher/k3s/server/manifests"}
    own = {"snapshot": snapshot, "manifests": manifests}
    module = AnsibleModule(argument_spec=dict(HELPER_ARGUMENTS, **own, **SPEC_ARGUMENTS), supports_check_mode=True)
    helper = Helper.from_params(module.params)
    try:
        where = ["--manifests", module.params["manifests"]]
        plan = helper.run(["plan", "--spec", "-", *where], wished(module.params))
        observed = {"snapshot": helper.run(["observe", *where])} if module.params["snapshot"] else {}
    except HelperError as error:
        module.fail_json(**error.as_failure())
    for warning in plan.get("warnings", []):
        module.warn(warning)
    answer = {key: plan.get(key) for key in ("level", "components", "steps", "node_steps", "predicted")}
    module.exit_json(
        changed=False, converged=not plan.get("changed"), differences=plan.get("diff", []), **answer, **observed
    )


if __name__ == "__main__":
    main()

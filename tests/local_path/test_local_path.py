# SPDX-License-Identifier: GPL-3.0-or-later
"""One active local-path-provisioner, whatever befalls its node, and volumes made and removed all along."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from cluster import wait_for
from nodes import PACKAGED
from writes import SERVERS, out_of_turn, read_writes

if TYPE_CHECKING:
    from claims import Claims
    from nodes import Nodes

OURS = {**PACKAGED, "local_path_provisioner_strategy": "replicas"}
CARRIERS = [word for server in SERVERS for word in ("--carrier", server)]
STANDBY = "k3s-core-ha-local-path-provisioner"
FAULTS = ("hang", "partition", "kill")
# The Lease's 15 s, 1.2 retry periods of 2 s, etcd's election, and what requests to a server that is gone cost: of the
# API's address one in three connections leads there until the others take it out.
LONGEST_TAKEOVER = 45.0


def holder(nodes: Nodes) -> str | None:
    """The node of the pod that holds the Lease."""
    done = nodes.run("kubectl", "get", "lease", STANDBY, "-n", "kube-system", "-o", "json")
    if done.returncode != 0:
        return None
    pod = json.loads(done.stdout)["spec"].get("holderIdentity", "").rpartition("_")[0]
    found = nodes.run("kubectl", "get", "pod", pod, "-n", "kube-system", "-o", "jsonpath={.spec.nodeName}")
    return found.stdout if pod and found.returncode == 0 else None


def test_volumes_go_on_and_one_is_active(nodes: Nodes, claims: Claims) -> None:
    """The way in, the same again, the holder's server frozen, cut off and dead, and the way back."""
    assert nodes.helper("apply", OURS, *CARRIERS)["changed"]
    assert not nodes.helper("apply", OURS)["changed"]
    claims.wait_for_one()
    print(f"\nthe way in: {claims.longest()[0]:.1f} s for a volume at most", flush=True)
    for fault in FAULTS:
        node = wait_for("a holder", lambda: holder(nodes), 30)
        at = time.monotonic()
        nodes.sandbox(fault, node)
        wait_for("another holder", lambda: holder(nodes) not in (None, node), 60)  # noqa: B023 - asked at once
        took = time.monotonic() - at
        waited = claims.wait_for_one()
        print(f"{fault} of {node}: another one is active after {took:.1f} s; then ", end="")
        print(f"{waited.bound - waited.asked:.1f} s for a volume", flush=True)
        assert took <= LONGEST_TAKEOVER
        nodes.sandbox("restore", node)
        wait_for(f"{node} ready", lambda: nodes.ready(node), 120)  # noqa: B023 - asked at once
        wait_for("both replicas", lambda: replicas_ready(nodes) == 2, 120)
    assert nodes.helper("apply", PACKAGED)["changed"]
    claims.wait_for_one()
    claims.stop()
    writes = read_writes(nodes)
    print(f"{len(claims.seen)} claims; longest for a volume {claims.longest()[0]:.1f} s, ", end="")
    print(f"for its removal {claims.longest()[1]:.1f} s; {len(writes)} writes of {len({w.pod for w in writes})} pods")
    assert out_of_turn(writes) == []
    assert len({write.pod for write in writes if not write.renews}) >= len(FAULTS)
    assert claims.left() == ""
    assert nodes.left_of_ours() == []


def replicas_ready(nodes: Nodes) -> int:
    """Of ours."""
    return nodes.one("deployments", STANDBY)["status"].get("readyReplicas", 0)


def test_a_pod_on_a_node_that_is_not_ready_is_waited_for_by_nobody(nodes: Nodes) -> None:
    """The packaged one's node dies: refused, with nothing written, until somebody says that it is off."""
    packaged = nodes.get("pods", "-l", "app=local-path-provisioner")
    (node,) = {pod["spec"]["nodeName"] for pod in packaged}
    if node == "server-1":  # that is where the helper runs
        for server in ("server-1", "agent-1"):
            nodes.sandbox("kubectl", "cordon", server)
        nodes.sandbox("kubectl", "delete", "pod", "-n", "kube-system", packaged[0]["metadata"]["name"])
        nodes.sandbox("kubectl", "rollout", "status", "-n", "kube-system", "deployment/local-path-provisioner")
        for server in ("server-1", "agent-1"):
            nodes.sandbox("kubectl", "uncordon", server)
        (node,) = {pod["spec"]["nodeName"] for pod in nodes.get("pods", "-l", "app=local-path-provisioner")}
    nodes.sandbox("kill", node)
    wait_for(f"{node} not ready", lambda: not nodes.ready(node), 120)
    mark = nodes.audit_mark()
    refused = nodes.refused(OURS, *CARRIERS)
    assert refused["error"]["exit"] == 4
    assert f"is on {node}, which is not ready" in refused["error"]["message"]
    assert nodes.audited(mark) == []
    nodes.sandbox("kubectl", "taint", "nodes", node, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    wait_for("the pod's end", lambda: on_node(nodes, node) == [], 120)
    assert nodes.helper("apply", OURS, *CARRIERS)["changed"]
    wait_for("a holder elsewhere", lambda: holder(nodes) not in (None, node), 60)


def on_node(nodes: Nodes, node: str) -> list[str]:
    """The packaged pods there."""
    pods = nodes.get("pods", "-l", "app=local-path-provisioner")
    return [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node]

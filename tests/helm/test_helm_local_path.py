# SPDX-License-Identifier: GPL-3.0-or-later
"""local-path-provisioner from a chart, by the real helm-controller and Helm, and volumes made and removed all along."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from charts import content
from claims import Claims
from cluster import Json, wait_for
from nodes import PACKAGED, is_ours
from test_helm import AFFINITY, unchanged, written
from watchers import Pods
from writes import ACCOUNT, Write, read_writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Nodes

CHART = "local-path-provisioner-ha"
CHART_POD = f"app.kubernetes.io/name={CHART}"
# On an agent, so that killing its node does not kill the only server.
VALUES = {"affinity": AFFINITY}
HELM = {
    **PACKAGED,
    "local_path_provisioner_strategy": "helm",
    "local_path_provisioner_chart": {"content": content("local-path-provisioner")},
    "local_path_provisioner_values": VALUES,
}
OTHER = {**HELM, "local_path_provisioner_values": {**VALUES, "workerThreads": 2}}
REPLICAS = {**PACKAGED, "local_path_provisioner_strategy": "replicas"}
CARRIES = ("--carrier", "server-1")
LATEST = 60  # seconds until a node's death is noticed
SERVERS = ("server-1",)
ACCOUNTS = f"({ACCOUNT}|system:serviceaccount:kube-system:{CHART})"


@pytest.fixture
def claims(nodes: Nodes) -> Iterator[Claims]:
    """Volumes on the first agent, made and removed from now on."""
    nodes.helper("apply", PACKAGED)
    made = Claims(nodes, "agent-1")
    made.start()
    yield made
    made.stop()


def chart_pods(nodes: Nodes) -> list[Json]:
    """The chart's provisioners."""
    return nodes.get("pods", "-l", CHART_POD)


def beside_each_other(writes: list[Write]) -> list[str]:
    """What a pod wrote after another one's first write had come in, unless that one had ended before."""
    first = {write.pod: write for write in reversed(writes)}
    wrong = []
    for write in writes:
        later = [pod for pod, other in first.items() if first[write.pod] < other < write]
        if later:
            wrong.append(f"{write.received.time()} {write.pod} {write.what}: after {', '.join(later)} had begun")
    return wrong


def test_claims_go_on(nodes: Nodes, claims: Claims) -> None:
    """In, other values, to the Lease, back to the chart, and out: with never two active."""
    nodes.carriers()
    pods = Pods(nodes)
    kept = claims.keep()
    ways = {"in": HELM, "other values": OTHER, "to a Lease": REPLICAS, "from a Lease": HELM, "out": PACKAGED}
    for name, wish in ways.items():
        start, under_way = time.monotonic(), len(claims.seen) - 1
        assert nodes.helper("apply", wish, *CARRIES)["changed"] is True
        took = time.monotonic() - start
        claims.wait_for_one()
        longest = max(claim.bound - claim.asked for claim in claims.seen[under_way:] if claim.bound)
        print(f"\n{name}: {took:.0f} s; {longest:.1f} s for a volume at most", flush=True)
        unchanged(nodes, wish)
        # One that another provisioner made is removed, and the next one will have such a one, too.
        claims.remove(kept)
        kept = claims.keep()
    claims.remove(kept)
    claims.stop()
    active = pods.stop()
    assert active.several == []
    assert len(active.seen) >= len(ways)
    writes = read_writes(nodes, SERVERS, ACCOUNTS)
    assert beside_each_other([write for write in writes if not write.renews]) == []
    assert len({write.pod for write in writes if write.pod.startswith(CHART)}) >= 3
    assert claims.left() == ""
    print(f"{len(claims.seen)} claims, {len(writes)} writes of {len({write.pod for write in writes})} pods", flush=True)
    wait_for("nothing of ours", lambda: nodes.left_of_ours() == [], 30)
    assert [one for kind in ("helmcharts", "helmchartconfigs") for one in nodes.get(kind) if is_ours(one)] == []
    for kind in ("deployments", "configmaps", "serviceaccounts", "roles", "rolebindings", "jobs"):
        assert [one for one in nodes.get(kind) if CHART in one["metadata"]["name"]] == []


@pytest.mark.parametrize("before", [PACKAGED, HELM], ids=["at first", "later"])
def test_broken_values(nodes: Nodes, claims: Claims, before: Json) -> None:
    """What the chart cannot be rendered with is taken back, with what the job said."""
    nodes.helper("apply", before)
    pods = Pods(nodes)
    values = {**VALUES, "rbac": "broken"}
    told = nodes.refused({**HELM, "local_path_provisioner_values": values, "wait_timeout": 30})
    assert told["error"]["exit"] == 6
    assert "at <.Values.rbac.create>" in told["error"]["message"]
    claims.wait_for_one()
    unchanged(nodes, before)
    assert pods.stop().several == []


def test_restart_of_k3s(nodes: Nodes) -> None:
    """k3s's own manifests, applied anew, undo nothing."""
    nodes.helper("apply", HELM)
    (pod,) = chart_pods(nodes)
    before = written(nodes)
    nodes.restart_all()
    unchanged(nodes, HELM)
    assert written(nodes) == before
    assert [one["metadata"]["uid"] for one in chart_pods(nodes)] == [pod["metadata"]["uid"]]


def test_node_killed(nodes: Nodes) -> None:
    """Nobody takes over from a pod on a node that is dead, until somebody says that the node is off."""
    nodes.helper("apply", HELM)
    (pod,) = chart_pods(nodes)
    victim = pod["spec"]["nodeName"]
    assert victim.startswith("agent")
    nodes.kill(victim)
    wait_for("the node's death to be noticed", lambda: not nodes.ready(victim), LATEST)
    sentence = f"Pod {pod['metadata']['name']} of local-path-provisioner is on {victim}, which is not ready"
    for wish in (OTHER, REPLICAS, PACKAGED):
        mark = nodes.audit_mark()
        told = nodes.refused(wish, *CARRIES)
        assert told["error"]["exit"] == 4
        assert sentence in told["error"]["message"]
        assert nodes.audited(mark) == []
    assert sentence in str(nodes.helper("apply", HELM))
    # As Kubernetes does after five minutes: another pod is made, and finds no node while the object is there.
    nodes.sandbox("kubectl", "delete", "pod", "-n", "kube-system", "--wait=false", pod["metadata"]["name"])
    wait_for("another pod", lambda: len(chart_pods(nodes)) == 2, 30)
    (new,) = [one for one in chart_pods(nodes) if one["metadata"]["uid"] != pod["metadata"]["uid"]]
    name = new["metadata"]["name"]
    wait_for("no node for it", lambda: "anti-affinity" in str(nodes.one("pods", name)["status"]), 30)
    out = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    nodes.sandbox("kubectl", "taint", "nodes", victim, out)
    wait_for("its start", lambda: nodes.one("pods", name)["status"]["phase"] == "Running", 60)
    other = next(node for node in nodes.names if node.startswith("agent") and node != victim)
    assert nodes.one("pods", name)["spec"]["nodeName"] == other
    claims = Claims(nodes, other)
    claims.start()
    claims.stop()
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} ready", lambda: nodes.ready(victim), 120)
    nodes.sandbox("kubectl", "taint", "nodes", victim, f"{out}-")
    unchanged(nodes, HELM)
    nodes.helper("apply", PACKAGED)
    wait_for("metrics", nodes.metrics, 120)

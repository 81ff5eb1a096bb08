# SPDX-License-Identifier: GPL-3.0-or-later
"""A wish that is refused touches nothing, by the API server's own audit log, and one sentence says why."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from cluster import Cluster, Json, Server, changes, wait_for
from helper import Helper
from state import BUDGET, DEPLOYMENT, WISH, difference, state
from ways import PACKAGED, Ways

NODES = [f"/api/v1/nodes/fleet-{i:05d}" for i in range(1, 5)]
APPLIED = "objectset.rio.cattle.io/applied"
FOREIGN_BUDGET = BUDGET.replace("k3s-core-ha-coredns", "careful")


@contextlib.contextmanager
def nothing(_: Server) -> Iterator[None]:
    """The cluster as it is."""
    yield


@contextlib.contextmanager
def each_node(server: Server, count: int, part: str, there: Json, gone: Json) -> Iterator[None]:
    """So many nodes patched, and patched back."""
    try:
        for node in NODES[:count]:
            server.patch(node + part, there)
        yield
    finally:
        for node in NODES[:count]:
            server.patch(node + part, gone)


def tainted(server: Server) -> contextlib.AbstractContextManager[None]:
    """All nodes but one."""
    taint = {"key": "example.org/gpu", "effect": "NoSchedule"}
    return each_node(server, 3, "", {"spec": {"taints": [taint]}}, {"spec": {"taints": None}})


def cordoned(server: Server) -> contextlib.AbstractContextManager[None]:
    """All nodes but one."""
    return each_node(server, 3, "", {"spec": {"unschedulable": True}}, {"spec": {"unschedulable": None}})


def in_one_zone(server: Server) -> contextlib.AbstractContextManager[None]:
    """All nodes."""
    there, gone = ({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}}} for zone in ("zone-a", None))
    return each_node(server, 4, "", there, gone)


def two_with_disks(server: Server) -> contextlib.AbstractContextManager[None]:
    """Two nodes carry a label."""
    there, gone = ({"metadata": {"labels": {"example.org/disk": disk}}} for disk in ("fast", None))
    return each_node(server, 2, "", there, gone)


def full(server: Server) -> contextlib.AbstractContextManager[None]:
    """No node has room for a replica's request."""
    there, gone = ({"status": {"allocatable": {"cpu": cpu}}} for cpu in ("50m", "4"))
    return each_node(server, 4, "/status", there, gone)


@contextlib.contextmanager
def selecting(server: Server) -> Iterator[None]:
    """The Deployment wants nodes that are not there."""
    wish = {"example.org/disk": "fast"}
    server.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"nodeSelector": wish}}}})
    try:
        wait_for("a pod without a node", lambda: [ready for _, ready in state(server)["pods"]] == [False])
        yield
    finally:
        server.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"nodeSelector": dict.fromkeys(wish)}}}})


@contextlib.contextmanager
def blocking(server: Server) -> Iterator[None]:
    """A budget of somebody else's, which lets no pod go."""
    name = FOREIGN_BUDGET.rpartition("/")
    spec = {"minAvailable": 3, "selector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name[2]}, "spec": spec}
    server.request("POST", name[0], body)
    try:
        yield
    finally:
        server.request("DELETE", FOREIGN_BUDGET)


@contextlib.contextmanager
def contested(server: Server) -> Iterator[None]:
    """A release of k3s whose own manifest says something else than we wish."""
    text = server.get(DEPLOYMENT)["metadata"]["annotations"][APPLIED]
    manifest = json.loads(gzip.decompress(base64.b64decode(text)))
    manifest["spec"]["minReadySeconds"] = 7
    other = base64.b64encode(gzip.compress(json.dumps(manifest).encode())).decode()
    server.patch(DEPLOYMENT, {"metadata": {"annotations": {APPLIED: other}}})
    try:
        yield
    finally:
        server.patch(DEPLOYMENT, {"metadata": {"annotations": {APPLIED: text}}})


@contextlib.contextmanager
def owned(server: Server) -> Iterator[None]:
    """Another program holds a field that we need."""
    path = f"{DEPLOYMENT}?fieldManager=argocd-controller&force=true"
    head = {"apiVersion": "apps/v1", "kind": "Deployment"}
    server.patch(path, {**head, "spec": {"minReadySeconds": 10}}, "apply-patch+yaml")
    try:
        yield
    finally:
        server.patch(path, head, "apply-patch+yaml")


@contextlib.contextmanager
def later_wish(server: Server) -> Iterator[None]:
    """The cluster keeps a wish of revision 7."""
    path, _, name = WISH.rpartition("/")
    labels = {"app.kubernetes.io/managed-by": "k3s-core-ha", "k3s-core-ha/component": "state"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
    server.request("POST", path, {**body, "data": {"spec": "{}", "revision": "7"}})
    try:
        yield
    finally:
        server.request("DELETE", WISH)


@dataclass
class Refusal:
    """A wish, what the cluster is like, and what the helper must say to it."""

    name: str
    status: int
    says: list[str]
    prepare: Callable[[Server], contextlib.AbstractContextManager[None]] = nothing
    spec: Json = field(default_factory=dict)
    words: tuple[str, ...] = ()
    asks: bool = True  # whether the server is asked at all

    def __str__(self) -> str:
        return self.name


REFUSALS = [
    Refusal(
        "minimum-above-hosts",
        4,
        [
            "coredns_min_replicas is 5",
            "4 of 5 registered nodes",
            "not server-1 (taint example.org/reserved:NoSchedule)",
        ],
        spec={"coredns_min_replicas": 5},
    ),
    Refusal(
        "replicas-above-hosts",
        4,
        ["coredns_replicas is 6", "4 replicas at most can be on different nodes"],
        spec={"coredns_strategy": "replicas", "coredns_replicas": 6},
    ),
    Refusal(
        "daemonset-without-a-server",
        4,
        ["0 of 1 control-plane nodes", "not server-1 (taint", "with coredns_daemonset_nodes all it is 4 nodes"],
        spec={"coredns_strategy": "daemonset"},
    ),
    Refusal(
        "tainted-but-one",
        4,
        ["level is node", "needs 2 nodes", "1 of 5 registered nodes", "taint example.org/gpu:NoSchedule"],
        tainted,
        {"level": "node"},
    ),
    Refusal(
        "zone-without-labels",
        4,
        [
            "level is zone, but 4 of 4 nodes that can run CoreDNS carry no label topology.kubernetes.io/zone",
            "kubectl label node fleet-00001 topology.kubernetes.io/zone=ZONE",
        ],
        spec={"level": "zone"},
    ),
    Refusal(
        "zone-of-one",
        4,
        ["level is zone", "nodes in 2 zones", "4 of 5 registered nodes", "in 1 zone (zone-a)"],
        in_one_zone,
        {"level": "zone"},
    ),
    Refusal(
        "affinity-matches-nothing",
        4,
        ["No registered node can run CoreDNS", "fleet-00001 (no label example.org/disk=fast)"],
        spec={"node_affinity": {"example.org/disk": "fast"}},
    ),
    Refusal(
        "replicas-above-affinity",
        4,
        ["coredns_min_replicas is 3", "2 replicas at most", "2 of 5 registered nodes"],
        two_with_disks,
        {"node_affinity": {"example.org/disk": "fast"}, "coredns_min_replicas": 3},
    ),
    Refusal("cordoned-but-one", 4, ["Only 1 of 4 nodes", "all 3 replicas would be on fleet-00004"], cordoned),
    Refusal("selector-matches-nothing", 4, ["No registered node can run CoreDNS", "fleet-00001"], selecting),
    Refusal("fits-nowhere", 4, ["requests 0.10 CPU and 70 MiB", "0 of 3 new replicas", "the 4 nodes"], full),
    Refusal(
        "blocks-every-drain",
        4,
        ["PodDisruptionBudget kube-system/careful (minAvailable 3)", "none of 3 replicas"],
        blocking,
    ),
    Refusal("contested", 4, [".spec.minReadySeconds", "is 7 in k3s's own manifest", "from 3", "custom"], contested),
    Refusal("held-by-another", 5, [".spec.minReadySeconds", "held by argocd-controller, at 10", "would be 3"], owned),
    Refusal("earlier-revision", 5, ["is of revision 6", "of revision 7"], later_wish, words=("--revision", "6")),
    Refusal("unknown-key", 2, ['"coredns_pods"', "coredns_replicas"], spec={"coredns_pods": 3}, asks=False),
    Refusal(
        "wrong-type",
        2,
        ['coredns_min_replicas is "many"', "an integer from 1 to 1000"],
        spec={"coredns_min_replicas": "many"},
        asks=False,
    ),
    Refusal(
        "label-value-no-string",
        2,
        ["node_affinity.example.org/disk is true", "quotes"],
        spec={"node_affinity": {"example.org/disk": True}},
        asks=False,
    ),
    Refusal(
        "out-of-range",
        2,
        ["coredns_cpu_utilization is 101", "an integer from 1 to 100"],
        spec={"coredns_cpu_utilization": 101},
        asks=False,
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refused(refusal: Refusal, cluster: Cluster, server: Server, ways: Ways, helper: Helper) -> None:
    """The exit status, the numbers in one sentence, and no mutating verb."""
    ways.go(PACKAGED)
    with refusal.prepare(server):
        before, mark = state(server), cluster.audit_mark()
        run = helper.run("apply", *refusal.words, spec=refusal.spec)
        events = cluster.audited(mark)
        assert difference(before, state(server)) == ""
    ways.see(PACKAGED)
    assert run.status == refusal.status, run.stderr
    assert run.result["error"]["exit"] == refusal.status
    assert "\n" not in run.sentence
    for words in refusal.says:
        assert words in run.sentence
    assert run.writes == []
    assert bool(run.requests) == refusal.asks
    assert changes(events) == []

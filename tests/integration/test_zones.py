# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones, and nodes chosen by label, with the real scheduler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster import wait_for
from test_rebalance import EVICTION, spread

if TYPE_CHECKING:
    from cluster import Server
    from helper import Helper
    from ways import Ways

ZONE = "topology.kubernetes.io/zone"
FLEET = [f"fleet-{i:05d}" for i in range(1, 5)]
COREDNS = "/api/v1/namespaces/kube-system/pods"


@contextlib.contextmanager
def labelled(server: Server, label: str, values: dict[str, str]) -> Iterator[None]:
    """These nodes carry the label; afterwards none does."""
    try:
        for node, value in values.items():
            server.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: value}}})
        yield
    finally:
        for node in FLEET:
            server.patch(f"/api/v1/nodes/{node}", {"metadata": {"labels": {label: None}}})


def drain_all(server: Server, nodes: list[str]) -> None:
    """Cordon the nodes and evict their replicas, one after the other; then let the nodes take pods again."""
    for node in nodes:
        server.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
    for node in [node for node in nodes if spread(server)[node]]:
        for pod in server.get(f"{COREDNS}?labelSelector=k8s-app%3Dkube-dns")["items"]:
            if pod["spec"].get("nodeName") == node:
                name = pod["metadata"]["name"]
                body = EVICTION | {"metadata": {"name": name, "namespace": "kube-system"}}
                server.request("POST", f"{COREDNS}/{name}/eviction", body)
        wait_for(f"no replica on {node}", lambda node=node: not spread(server)[node])
        wait_for("both replicas elsewhere", lambda: spread(server).total() == 2)
    for node in nodes:
        server.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})


def test_zones(server: Server, ways: Ways, helper: Helper) -> None:
    """Level zone is taken, given by the scheduler, missed when it was lost, and given again by moving one pod once."""
    ways.go("packaged")
    ways.at = "zones"
    zones = dict(zip(FLEET, ("a", "a", "b", "b"), strict=True))
    spec = {"coredns_strategy": "replicas", "coredns_replicas": 2}
    with labelled(server, ZONE, zones):
        run = helper.apply(spec)
        assert run.result["level"]["name"] == "zone", run.result["level"]
        assert "spread over 2 zones (a, b), so any one zone may fail" in run.result["level"]["reason"]
        assert sorted(zones[node] for node in spread(server)) == ["a", "b"]
        assert not any("Level zone" in warning for warning in run.result["warnings"])
        assert helper.apply(spec).writes == []

        drain_all(server, FLEET[2:])
        assert {zones[node] for node in spread(server)} == {"a"}
        unmet = helper.apply(spec)
        assert unmet.writes == []
        (words,) = [warning for warning in unmet.result["warnings"] if "Level zone" in warning]
        assert "all 2 replicas of CoreDNS are in a, although nodes in b take pods: `k3s-core-ha rebalance`" in words

        # At first the new one is not available yet.
        wait_for("a word of the cool-down", lambda: "for 10 min" in helper.run("rebalance").result["message"])
        moved = helper.run("rebalance", "--cool-down", "0")
        assert (moved.status, moved.result["changed"]) == (0, True), moved.stderr
        assert moved.result["message"] == "a has 2 replicas and b has 0: one was moved."
        assert sorted(zones[node] for node in spread(server)) == ["a", "b"]
        again = helper.run("rebalance", "--cool-down", "0")
        assert (again.result["changed"], again.writes) == (False, [])
        assert not any("Level zone" in warning for warning in helper.apply(spec).result["warnings"])
    ways.go("packaged")


def test_node_affinity(server: Server, ways: Ways, helper: Helper) -> None:
    """Replicas run on the nodes that carry the labels alone, are counted there alone, and the wish can change."""
    ways.go("packaged")
    ways.at = "labels"
    disks = dict(zip(FLEET, ("fast", "faster", "fast", "slow"), strict=True))
    with labelled(server, "example.org/disk", disks):
        run = helper.apply({"node_affinity": {"example.org/disk": ["fast", "faster"]}})
        assert "fleet-00004 (no label example.org/disk in fast, faster)" in run.result["level"]["reason"]
        assert sorted(spread(server)) == FLEET[:3]
        assert helper.apply({"node_affinity": {"example.org/disk": ["faster", "fast"]}}).writes == []
        other = helper.apply({"node_affinity": {"example.org/disk": ["slow", "faster"]}})
        assert other.result["level"]["name"] == "node"
        wait_for("CoreDNS on the others", lambda: sorted(spread(server)) == [FLEET[1], FLEET[3]])
        ways.go("packaged")

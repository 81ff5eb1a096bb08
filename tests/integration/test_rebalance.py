# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod that is moved, with the real scheduler."""

from __future__ import annotations

from collections import Counter

from cluster import Server, wait_for
from conftest import COREDNS_PODS
from helper import Helper
from ways import Ways

NODES = "/api/v1/nodes"
EVICTION = {"apiVersion": "policy/v1", "kind": "Eviction"}


def spread(server: Server) -> Counter[str]:
    """How many replicas each node has, of those that run and do not end."""
    pods = server.get(COREDNS_PODS)["items"]
    return Counter(
        pod["spec"].get("nodeName", "")
        for pod in pods
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    )


def drain(server: Server, node: str) -> None:
    """Cordon the node and evict its replica, as `kubectl drain` does; then let it take pods again."""
    server.patch(f"{NODES}/{node}", {"spec": {"unschedulable": True}})
    for pod in server.get(COREDNS_PODS)["items"]:
        if pod["spec"].get("nodeName") == node:
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/kube-system/pods/{name}/eviction"
            server.request("POST", path, EVICTION | {"metadata": {"name": name, "namespace": "kube-system"}})
    wait_for(f"no replica on {node}", lambda: not spread(server)[node])
    wait_for("all replicas elsewhere", lambda: spread(server).total() == 4)
    server.patch(f"{NODES}/{node}", {"spec": {"unschedulable": None}})


def test_rebalance(server: Server, ways: Ways, helper: Helper) -> None:
    """After a drain one node has two replicas and one has none; one is moved there, and then there is nothing to do."""
    ways.go("packaged")
    ways.at = "four replicas"
    helper.apply({"coredns_min_replicas": 4})
    nodes = sorted(spread(server))
    assert list(spread(server).values()) == [1, 1, 1, 1]
    drain(server, nodes[0])
    assert sorted(spread(server).values()) == [1, 1, 2]

    def early() -> str:
        run = helper.run("rebalance")
        assert (run.status, run.result["changed"], run.writes) == (0, False, [])
        return run.result["message"]

    # At first the new one is not available yet.
    wait_for("a word of the cool-down", lambda: "when nothing was made or moved for 10 min" in early())

    moved = helper.run("rebalance", "--cool-down", "0")
    assert moved.status == 0, moved.stderr
    assert moved.result["changed"] is True
    assert sorted(spread(server)) == nodes
    assert list(spread(server).values()) == [1, 1, 1, 1]

    again = helper.run("rebalance", "--cool-down", "0")
    assert (again.result["changed"], again.writes) == (False, [])
    # The packaged spread rule counts the reserved node, too: with a replica on each other one it has no place left, but
    # for one that an old replica makes.
    ways.go("packaged")

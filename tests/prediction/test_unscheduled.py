# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of CoreDNS that have no node, and are to go, take no place on one while they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cells import Cell, Node
from fleet import is_running

if TYPE_CHECKING:
    from cluster import Json
    from fleet import Fleet

SERVER = "node-role.kubernetes.io/control-plane"


def tight() -> Cell:
    """Two nodes, each with a replica; two more find no place, by k3s's spread rule.

    On the first there is room for three of ours beside the others' pods: a former replica, the new one and
    metrics-server's.
    """
    nodes = [_node("tight-0", 400), _node("tight-1", 2000)]
    nodes[0].others = [("", 16, 0)] * 6
    wish: dict[str, object] = {
        "coredns_strategy": "daemonset",
        "coredns_daemonset_nodes": "control_plane",
        "metrics_server_strategy": "replicas",
        "local_path_provisioner_strategy": "packaged",
        "wait_timeout": 45,
    }
    return Cell(0, nodes, 4, ["tight-0", "tight-1"], ["tight-1"], wish)


def _node(name: str, cpu: int) -> Node:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        SERVER: "true",
    }
    return Node(name, name, labels, [], "ready", cpu, 4096, 10)


@pytest.mark.parametrize("strategy", ["daemonset", "replicas"])
def test_what_is_to_go_gets_no_node(fleet: Fleet, strategy: str) -> None:
    """Else it would push others out, whom nobody told."""
    one = tight()
    one.wish["coredns_strategy"] = strategy
    if strategy != "daemonset":
        del one.wish["coredns_daemonset_nodes"]
        one.wish["coredns_replicas"] = 2
    fleet.become(one)
    pending = [pod["metadata"]["uid"] for pod in fleet.pods() if not is_running(pod)]
    assert len(pending) == 2
    others = fleet.others()
    status, done = fleet.helper("apply", one.wish)
    assert status == 0, done
    assert fleet.others() == others, "others were pushed out"
    left: list[Json] = [pod for pod in fleet.pods() if pod["metadata"]["uid"] in pending]
    assert not left

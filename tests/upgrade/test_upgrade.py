# SPDX-License-Identifier: GPL-3.0-or-later
"""k3s is upgraded to a release whose CoreDNS and metrics-server differ, while strategies are in force that have pods of
their own: k3s changes nothing of them, and the next look of `reconcile` follows the release, unnoticed by clients.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from cells import Cell
from clients import Clients, see_nothing_noticed
from cluster import ROOT, changes, wait_for
from nodes import MANIFESTS, PACKAGED
from probe import PROBE

if TYPE_CHECKING:
    import pathlib

    from cluster import Json
    from nodes import Nodes

RELEASE = "1.36"
SHIPPED = ROOT / "tests" / "sandbox" / "internal" / "k3s" / "deploy" / "manifests"
COREDNS, METRICS = "coredns.yaml", "metrics-server/metrics-server-deployment.yaml"
LABELLED = r"(?m)(^kind: Deployment\n(?:.*\n)+?  labels:\n)"  # a manifest's Deployment up to its labels
# What the next release brings in the test, besides other images: a label, more memory, and a count for CoreDNS.
CHANGED = {
    COREDNS: [
        (LABELLED, r"\1    release: next\n"),
        ("memory: 170Mi", "memory: 180Mi"),
        (r"(?m)^  revisionHistoryLimit: 0\n", r"  replicas: 1\n\g<0>"),
    ],
    METRICS: [(LABELLED, r"\1    release: next\n"), ("memory: 70Mi", "memory: 80Mi")],
}
CELLS = {
    "custom": Cell("small", "custom", "custom", "replicas", "packaged", "replicas"),
    "pods of our own": Cell("small", "daemonset-all", "helm", "replicas", "helm", "replicas"),
}


def write_release(place: pathlib.Path) -> str:
    """The manifests in which the release differs; gives their directory."""
    for name, edits in CHANGED.items():
        text = (SHIPPED / name).read_text()
        for pattern, new in edits:
            text, times = re.subn(pattern, new, text)
            assert times >= 1, f"{name}: no {pattern}"
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    return str(place)


def look(nodes: Nodes) -> Json:
    """One of `reconcile`, as the timer has it."""
    return json.loads(nodes.sandbox("exec", "server-1", PROBE, "-o", "json", "reconcile", "--node", "server-1"))


def container(nodes: Nodes, kind: str, name: str) -> Json:
    """The first one of a pod template."""
    return nodes.one(kind, name)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("name", CELLS)
def test_upgrade(nodes: Nodes, name: str, tmp_path: pathlib.Path) -> None:
    """There on the old release, followed on the new one, and back to what that ships."""
    cell = CELLS[name]
    ours = {"custom": ("deployments", "coredns"), "daemonset-all": ("daemonsets", "k3s-core-ha-coredns")}[cell.coredns]
    told = nodes.set_aside(cell.set_aside)
    nodes.helper("apply", cell.spec, *nodes.carriers(), *told)
    assert look(nodes)["changed"] is False
    before = container(nodes, *ours)
    metrics = container(nodes, "deployments", "metrics-server")

    nodes.sandbox("upgrade", "--version", RELEASE, "--manifests", write_release(tmp_path), timeout=900)
    wait_for("the release's manifest", lambda: "release: next" in staged(nodes, COREDNS), 120)
    for node in nodes.names:
        wait_for(f"{node} ready", lambda node=node: nodes.ready(node), 120)
    wait_for("metrics", nodes.metrics, 120)
    wait_for("all replicas", lambda: not nodes.short_of_replicas(), 120)
    assert container(nodes, *ours) == before

    with Clients(nodes, "agent-1", volumes=True) as clients:
        assert look(nodes)["changed"] is True
    see_nothing_noticed(clients)
    print(f"\n{name}: followed: {clients.told}", flush=True)
    after = container(nodes, *ours)
    assert after["image"] != before["image"]
    assert after["image"] in staged(nodes, COREDNS)
    if cell.coredns == "custom":
        assert nodes.one(*ours)["metadata"]["labels"]["release"] == "next"
        assert after["resources"]["limits"] == {"memory": "200Mi"}  # the wish's
        assert nodes.one("deployments", "metrics-server")["metadata"]["labels"]["release"] == "next"
        of_metrics = container(nodes, "deployments", "metrics-server")["resources"]["requests"]["memory"]
        assert (metrics["resources"]["requests"]["memory"], of_metrics) == ("70Mi", "80Mi")
    else:
        assert after["resources"]["limits"] == {"memory": "180Mi"}
        assert nodes.one("deployments", "coredns")["spec"]["replicas"] == 0
    assert len(nodes.endpoints()) == 3
    mark = nodes.audit_mark()
    assert look(nodes)["changed"] is False
    assert nodes.helper("apply", cell.spec)["changed"] is False
    assert changes(nodes.audited(mark)) == []

    with Clients(nodes, "agent-1", volumes=True) as clients:
        nodes.helper("apply", PACKAGED)
    see_nothing_noticed(clients)
    nodes.set_aside([])
    wait_for("nothing of ours", lambda: nodes.left_of_ours() == [] == nodes.left_of_charts(), 30)
    shipped = nodes.specs()
    nodes.restart_all()
    assert nodes.specs() == shipped
    assert nodes.one("deployments", "coredns")["metadata"]["labels"]["release"] == "next"
    assert container(nodes, "deployments", "coredns")["image"] == after["image"]
    print(f"{name}: back: {clients.told}", flush=True)


def staged(nodes: Nodes, name: str) -> str:
    """A manifest as k3s has written it on the server."""
    return nodes.sandbox("exec", "server-1", "cat", f"{MANIFESTS}/{name}")

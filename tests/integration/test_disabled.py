# SPDX-License-Identifier: GPL-3.0-or-later
"""CoreDNS disabled in k3s: strategy custom makes one, keeps it through starts of k3s, and gives it to k3s again."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "matrix"))
pytest.register_assert_rewrite("nodes")

from cluster import wait_for  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import PACKAGED, Nodes  # noqa: E402
from probe import PROBE, Probe, see_nothing_lost  # noqa: E402

CUSTOM = {**PACKAGED, "coredns_strategy": "custom", "level": "none"}
CONFIG = "/etc/rancher/k3s/config.yaml.d/40-disabled.yaml"
ASK = ("--server=10.43.0.10", "--rate=50", "--duration=2", "--name")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A server whose k3s was told to do without CoreDNS."""
    made = Nodes(os.environ.get("SANDBOX_NAME", "disabled"), "single")
    try:
        made.start()
        made.sandbox("exec", "server-1", "sh", "-c", f"echo 'disable+: [coredns]' >{CONFIG}")
        made.restart_all()
        wait_for("CoreDNS to be gone", lambda: not made.get("services", "--field-selector=metadata.name=kube-dns"), 60)
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.sandbox("down")


def answers(nodes: Nodes, name: str) -> bool:
    """Whether every query for the name is answered on the node, and not by a word that there is none."""
    printed = nodes.sandbox("exec", "server-1", PROBE, "-o", "json", "probe", *ASK, name)
    fresh = json.loads(printed.splitlines()[-1])["summary"]["fresh"]
    return fresh["answered"] == fresh["planned"] > 0


def test_disabled(nodes: Nodes) -> None:
    """Made, kept, not taken away; then k3s's own again."""
    told = nodes.set_aside(["coredns"])
    refused = nodes.refused({**PACKAGED, "coredns_strategy": "replicas"})
    assert "strategy custom makes one" in str(refused), refused
    assert nodes.helper("apply", CUSTOM, *told)["changed"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    client = Probe(nodes, "server-1")
    before = nodes.one("deployments", "coredns")["metadata"]

    nodes.restart_all()
    after = nodes.one("deployments", "coredns")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    assert "started with --disable coredns" in str(nodes.refused(PACKAGED))
    hosts = nodes.one("configmaps", "coredns")["data"]["NodeHosts"]
    assert hosts.split()[1::2] == ["server-1"], hosts
    wait_for("the node's name", lambda: answers(nodes, "server-1"), 30)  # what is lost, the client tells

    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    nodes.helper("apply", CUSTOM, *told)
    assert nodes.one("deployments", "coredns")["metadata"]["uid"] == before["uid"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    nodes.helper("apply", PACKAGED, *told)
    nodes.set_aside([])
    nodes.restart_all()
    see_nothing_lost(client.stop())
    assert nodes.left_of_ours() == []
    assert not nodes.helper("apply", PACKAGED)["changed"]

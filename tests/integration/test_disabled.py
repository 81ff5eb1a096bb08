# SPDX-License-Identifier: GPL-3.0-or-later
"""CoreDNS disabled in k3s: strategy custom makes one, keeps it through starts of k3s, and gives it to k3s again."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "matrix"))
pytest.register_assert_rewrite("nodes")

from cluster import wait_for  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import PACKAGED, Nodes  # noqa: E402
from probe import Probe, answers, see_nothing_lost  # noqa: E402

CUSTOM = {**PACKAGED, "coredns_strategy": "custom", "level": "none"}
CONFIG = "/etc/rancher/k3s/config.yaml.d/40-disabled.yaml"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A server whose k3s was told to do without CoreDNS."""
    with Nodes("disabled", "single").started() as made:
        made.sandbox("exec", "server-1", "sh", "-c", f"echo 'disable+: [coredns]' >{CONFIG}")
        made.restart_all()
        wait_for("CoreDNS to be gone", lambda: not made.get("services", "--field-selector=metadata.name=kube-dns"), 60)
        yield made


def test_disabled(nodes: Nodes) -> None:
    """Made, kept, not taken away; then k3s's own again."""
    told = nodes.set_aside(["coredns"])
    refused = nodes.refused({**PACKAGED, "coredns_strategy": "replicas"})
    assert "strategy custom makes one" in str(refused), refused
    assert nodes.helper("apply", CUSTOM, *told)["changed"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    before = nodes.one("deployments", "coredns")["metadata"]

    nodes.restart_all()
    after = nodes.one("deployments", "coredns")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    assert "started with --disable coredns" in str(nodes.refused(PACKAGED))
    hosts = nodes.one("configmaps", "coredns")["data"]["NodeHosts"]
    assert hosts.split()[1::2] == ["server-1"], hosts
    wait_for("the node's name", lambda: answers(nodes, "server-1", "10.43.0.10", "server-1"), 30)

    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    # From here on: on a busy machine a start of k3s itself can leave a Service without rules for a second.
    client = Probe(nodes, "server-1")
    nodes.helper("apply", CUSTOM, *told)
    assert nodes.one("deployments", "coredns")["metadata"]["uid"] == before["uid"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    nodes.helper("apply", PACKAGED, *told)
    see_nothing_lost(client.stop())
    nodes.set_aside([])
    nodes.restart_all()
    assert nodes.left_of_ours() == []
    assert not nodes.helper("apply", PACKAGED)["changed"]

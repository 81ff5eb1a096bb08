# SPDX-License-Identifier: GPL-3.0-or-later
"""CoreDNS and metrics-server disabled in k3s: strategy custom makes them, keeps them through starts of k3s, and gives
them to k3s again.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

for beside in ("matrix", "helm"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / beside))
pytest.register_assert_rewrite("nodes", "watchers")

from cluster import wait_for  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import BESIDE, PACKAGED, Nodes  # noqa: E402
from probe import Probe, answers, see_nothing_lost  # noqa: E402
from watchers import Availability  # noqa: E402

CUSTOM = {**PACKAGED, "coredns_strategy": "custom", "metrics_server_strategy": "custom", "level": "none"}
CONFIG = "/etc/rancher/k3s/config.yaml.d/40-disabled.yaml"
DISABLED = ("coredns", "metrics-server")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A server whose k3s was told to do without them."""
    with Nodes("disabled", "single").started() as made:
        made.sandbox("exec", "server-1", "sh", "-c", f"echo 'disable+: [{', '.join(DISABLED)}]' >{CONFIG}")
        made.restart_all(metrics=False)
        gone = ("services", "--field-selector=metadata.name=kube-dns"), ("apiservices", "v1beta1.metrics.k8s.io")
        wait_for("CoreDNS to be gone", lambda: not made.get(*gone[0]), 60)
        wait_for("metrics-server to be gone", lambda: made.run("kubectl", "get", *gone[1]).returncode != 0, 60)
        yield made


def identities(nodes: Nodes) -> list[tuple[str, int]]:
    """What is another one when it is made anew, or, of a Deployment, changed."""
    kinds = [("deployments", name) for name in DISABLED]
    lent = [nodes.one(kind, name)["metadata"] for kind, name in (*kinds, ("services", "kube-dns"), *BESIDE)]
    return [(one["uid"], one["generation"] if i < len(kinds) else 0) for i, one in enumerate(lent)]


def test_disabled(nodes: Nodes) -> None:
    """Made, kept, not taken away; then k3s's own again."""
    told = nodes.set_aside(["coredns", "metrics-server-deployment"])
    refused = nodes.refused({**PACKAGED, "coredns_strategy": "replicas"})
    assert "strategy custom makes one" in str(refused), refused
    assert nodes.helper("apply", CUSTOM, *told)["changed"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    wait_for("metrics", nodes.metrics, 60)
    before = identities(nodes)

    nodes.restart_all()
    assert identities(nodes) == before
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    for strategy, name in (("coredns_strategy", "coredns"), ("metrics_server_strategy", "metrics-server")):
        assert f"started with --disable {name}" in str(nodes.refused({**CUSTOM, strategy: "packaged"}, *told))
    hosts = nodes.one("configmaps", "coredns")["data"]["NodeHosts"]
    assert hosts.split()[1::2] == ["server-1"], hosts
    wait_for("the node's name", lambda: answers(nodes, "server-1", "10.43.0.10", "server-1"), 30)

    # One replica, and another one for as long as it is replaced.
    available = Availability(nodes)
    nodes.helper("apply", {**CUSTOM, "metrics_server_resources": {"requests": {"memory": "80Mi"}}}, *told)
    assert nodes.one("deployments", "metrics-server")["spec"]["replicas"] == 1
    assert available.stop() == []

    before = identities(nodes)
    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    assert identities(nodes) == before
    # From here on: on a busy machine a start of k3s itself can leave a Service without rules for a second.
    client = Probe(nodes, "server-1")
    available = Availability(nodes)
    nodes.helper("apply", CUSTOM, *told)
    assert [uid for uid, _ in identities(nodes)] == [uid for uid, _ in before]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    nodes.helper("apply", {**CUSTOM, "metrics_server_resources": {"requests": {"memory": "80Mi"}}}, *told)
    nodes.helper("apply", PACKAGED, *told)
    see_nothing_lost(client.stop())
    assert available.stop() == []
    nodes.set_aside([])
    nodes.restart_all()
    assert nodes.left_of_ours() == []
    assert [uid for uid, _ in identities(nodes)] == [uid for uid, _ in before]
    assert not nodes.helper("apply", PACKAGED)["changed"]

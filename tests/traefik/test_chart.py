# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy helm by the real helm-controller and Helm: there, again, a start of k3s, a node's death, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster import Json, wait_for
from nodes import PACKAGED, is_ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodes import Nodes

SPEC = {**PACKAGED, "traefik_strategy": "helm"}
LABEL = "app.kubernetes.io/name=traefik"
UNIT = "ask-traefik"
RECORD = "/run/ask-traefik"
LATEST = 60  # seconds until nobody is sent to a dead node's pod: Kubernetes' grace period, and what comes after it
EVERY = 0.2
SCRIPT = "/run/ask-traefik.sh"
# A request over a new connection, again and again: when it was made, and its answer if there was one within a second.
ASK = rf"""
get() {{
  exec 3<>/dev/tcp/$1/80
  printf 'GET /ping HTTP/1.0\r\n\r\n' >&3
  tail -n 1 <&3
}}
export -f get
while sleep {EVERY}; do
  at=$(date +%s.%N)
  echo "$at $(timeout 1 bash -c 'get "$0"' "$1" 2>/dev/null)"
done
"""


class Client:
    """Asks traefik's Service from a node until it is stopped."""

    def __init__(self, nodes: Nodes, node: str) -> None:
        self._nodes = nodes
        self._node = node
        address = nodes.one("services", "traefik")["spec"]["clusterIP"]
        nodes.sandbox("exec", node, "sh", "-c", f"cat >{SCRIPT}", stdin=ASK.encode())
        output = f"--property=StandardOutput=truncate:{RECORD}"
        nodes.sandbox("exec", node, "systemd-run", "--quiet", f"--unit={UNIT}", output, "bash", SCRIPT, address)
        wait_for("an answer", lambda: any(ok for _, ok in self._read()), 30)

    def _read(self) -> list[tuple[float, bool]]:
        lines = self._nodes.sandbox("exec", self._node, "cat", RECORD).splitlines()
        return [(float(at), words.endswith("OK")) for at, _, words in (line.partition(" ") for line in lines)]

    def stop(self) -> list[tuple[float, bool]]:
        """End it; gives when each request was made, and whether it was answered."""
        self._nodes.sandbox("exec", self._node, "systemctl", "stop", UNIT)
        return self._read()


def lost(seen: Iterable[tuple[float, bool]]) -> list[float]:
    """When the requests without an answer were made."""
    return [at for at, answered in seen if not answered]


def deployment(nodes: Nodes) -> Json:
    """As it is."""
    return nodes.one("deployments", "traefik")


def homes(nodes: Nodes) -> list[str]:
    """The nodes of its pods that run and stay."""
    pods = [pod for pod in nodes.get("pods", "-l", LABEL) if "deletionTimestamp" not in pod["metadata"]]
    return sorted(pod["spec"]["nodeName"] for pod in pods if pod["status"]["phase"] == "Running")


def written(nodes: Nodes) -> list[Any]:
    """What changes when the chart, its values or its Deployment do."""
    jobs = [job["metadata"]["uid"] for job in nodes.get("jobs", "--field-selector=metadata.name=helm-install-traefik")]
    return [deployment(nodes)["metadata"]["generation"], *jobs]


def test_traefik(nodes: Nodes) -> None:
    """There and back."""
    wait_for("traefik", lambda: homes(nodes) != [], 120)
    packaged = deployment(nodes)["spec"]
    client = Client(nodes, "server-1")
    done = nodes.helper("apply", SPEC)
    assert done["changed"]
    assert len(set(homes(nodes))) == len(homes(nodes)) == 2
    assert nodes.one("poddisruptionbudgets", "traefik")["spec"]["maxUnavailable"] == 1
    before = written(nodes)
    assert not nodes.helper("apply", SPEC)["changed"]
    way_in = lost(client.stop())
    print(f"\non the way in: {len(way_in)} requests lost")
    assert len(way_in) * EVERY <= 2, way_in

    passes = nodes.restart()
    wait_for("k3s to go through its manifests", lambda: nodes.times_applied() > passes, 120)
    for node in nodes.names:
        wait_for(f"{node} to be ready", lambda node=node: nodes.ready(node), 60)
    assert not nodes.helper("apply", SPEC)["changed"]
    assert written(nodes) == before

    victim = next(node for node in homes(nodes) if node != "server-1")
    client = Client(nodes, next(node for node in nodes.names if node != victim))
    at = nodes.kill(victim)
    wait_for("the node's death to be noticed", lambda: not nodes.ready(victim), LATEST)
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} to be ready", lambda: nodes.ready(victim), 120)
    seen = [(when, answered) for when, answered in client.stop() if when >= at]
    gone = lost(seen)
    print(f"{victim} killed: {len(gone)} of {len(seen)} requests lost, the last after {max([at, *gone]) - at:.1f} s")
    assert any(answered for when, answered in seen if when < at + 20), "nobody answered"
    assert all(when <= at + LATEST for when in gone), gone

    wait_for("two replicas", lambda: len(homes(nodes)) == 2, 60)
    client = Client(nodes, "server-1")
    nodes.helper("apply", PACKAGED)
    way_back = lost(client.stop())
    print(f"on the way back: {len(way_back)} requests lost")
    assert len(way_back) * EVERY <= 2, way_back
    assert deployment(nodes)["spec"] == packaged
    assert nodes.get("helmchartconfigs") == []
    assert not [one for kind in ("poddisruptionbudgets", "configmaps") for one in nodes.get(kind) if is_ours(one)]
    assert not nodes.helper("apply", PACKAGED)["changed"]

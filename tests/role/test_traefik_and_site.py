# SPDX-License-Identifier: GPL-3.0-or-later
"""One story: traefik by its chart's values and a Deployment of somebody's own get several replicas by the role, lose a
node, and go back. Each test goes on from the last.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import site_of_ours as site
from cluster import changes, is_ready, wait_for
from nodes import PACKAGED
from watchers import EVERY, Client, lost

if TYPE_CHECKING:
    from cluster import Json
    from control import Control
    from nodes import Nodes

WISH = {
    "k3s_core_ha_reconcile": False,  # what is asked of the API is to be the role's
    **{f"k3s_core_ha_{key}": value for key, value in PACKAGED.items()},
    "k3s_core_ha_traefik_strategy": "helm",
    "k3s_core_ha_extra_deployments": [{"namespace": site.NAMESPACE, "name": site.NAME}],
}
# One on each node.
MORE = {
    **WISH,
    "k3s_core_ha_traefik_replicas": 3,
    "k3s_core_ha_extra_deployments": [{"namespace": site.NAMESPACE, "name": site.NAME, "replicas": 3}],
}
PODS = {
    ("kube-system", "traefik"): "app.kubernetes.io/name=traefik",
    (site.NAMESPACE, site.NAME): "app=site",
}
LATEST = 60  # seconds until nobody is sent to a dead node's pod: Kubernetes' grace period, and what comes after it
PROXIES = 2  # seconds until each kube-proxy has heard that an endpoint is gone
CONFIG = "helmchartconfigs.helm.cattle.io"


def get(nodes: Nodes, namespace: str, kind: str, *words: str) -> list[Json]:
    """Objects of any namespace."""
    return json.loads(nodes.sandbox("kubectl", "get", kind, "-n", namespace, *words, "-o", "json"))["items"]


def homes(nodes: Nodes, app: tuple[str, str]) -> list[str]:
    """The nodes of the pods that run and stay."""
    found = get(nodes, app[0], "pods", "-l", PODS[app])
    return sorted(p["spec"]["nodeName"] for p in found if "deletionTimestamp" not in p["metadata"] and is_ready(p))


def endpoints(nodes: Nodes, app: tuple[str, str]) -> list[str]:
    """The nodes to which its Service sends."""
    slices = get(nodes, app[0], "endpointslices", "-l", f"kubernetes.io/service-name={app[1]}")
    ends = [end for part in slices for end in part.get("endpoints") or []]
    return sorted(end["nodeName"] for end in ends if end["conditions"]["ready"])


def specs(nodes: Nodes) -> dict[str, Json]:
    """What each Deployment is to be."""
    found = [one for namespace, _ in PODS for one in get(nodes, namespace, "deployments")]
    return {one["metadata"]["name"]: one["spec"] for one in found}


def installed(nodes: Nodes) -> list[str]:
    """What the role has left on the nodes."""
    look = ("sh", "-c", "ls /usr/local/bin/k3s-core-ha* 2>/dev/null || true")
    return [f"{node}:{file}" for node in nodes.names for file in nodes.sandbox("exec", node, *look).split()]


def check(nodes: Nodes, control: Control, book: str, wish: Json) -> list[Json]:
    """What check mode says, which writes nothing."""
    before, mark = installed(nodes), nodes.audit_mark()
    said = control.play(book, wish, "--check")
    assert changes(nodes.audited(mark)) == []
    assert installed(nodes) == before
    return said


def nothing_to_do(nodes: Nodes, control: Control, book: str, wish: Json) -> None:
    """A run changes nothing, and asks for no change."""
    mark = nodes.audit_mark()
    assert control.play(book, wish) == []
    assert changes(nodes.audited(mark)) == []


class Clients:
    """Ask both Services from a node for as long as they are entered."""

    def __init__(self, nodes: Nodes, node: str) -> None:
        self._nodes = nodes
        self._node = node

    def __enter__(self) -> Clients:
        self.each = {app: Client(self._nodes, self._node, app[1], app[0]) for app in PODS}
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self.seen = {app: client.stop() for app, client in self.each.items()}
        for (_, name), asked in self.seen.items():
            print(f"\n{name}: {len(lost(asked))} of {len(asked)} requests lost", flush=True)

    def see_nothing_lost(self) -> None:
        """A chart's change may cost the few requests that are under way when a pod goes."""
        for app, asked in self.seen.items():
            assert len(asked) > 10
            assert len(lost(asked)) * EVERY <= (2 if app[1] == "traefik" else 0), (app, lost(asked))


@pytest.fixture(scope="module", autouse=True)
def shipped(nodes: Nodes) -> dict[str, Json]:
    """What k3s ships, and the user has applied, before anything is changed."""
    site.apply(nodes)
    wait_for("a replica of each", lambda: all(len(homes(nodes, app)) == 1 for app in PODS), 120)
    return specs(nodes)


@pytest.fixture(scope="module")
def promised(nodes: Nodes, control: Control, shipped: dict[str, Json]) -> list[Json]:
    """What check mode says of the first run."""
    said = check(nodes, control, "ha", WISH)
    assert specs(nodes) == shipped
    return said


def test_there(nodes: Nodes, control: Control, promised: list[Json]) -> None:
    """Two replicas of each on two nodes, with a budget; no client notices, and it is what check mode had promised."""
    with Clients(nodes, "server-1") as clients:
        done = control.play("ha", WISH)
    clients.see_nothing_lost()
    assert done == promised
    assert {change["host"] for change in done} == {"server-1"}
    for app in PODS:
        assert len(set(homes(nodes, app))) == len(homes(nodes, app)) == 2
    (config,) = get(nodes, "kube-system", CONFIG)
    assert config["spec"]["values"]["deployment"]["replicas"] == 2
    assert config["spec"]["failurePolicy"] == "retry"
    budgets = {
        one["metadata"]["name"] for namespace, _ in PODS for one in get(nodes, namespace, "poddisruptionbudgets")
    }
    assert budgets == {"traefik", "k3s-core-ha-site"}


def test_again(nodes: Nodes, control: Control) -> None:
    """A second run has nothing to do, and check mode says so."""
    assert check(nodes, control, "ha", WISH) == []
    nothing_to_do(nodes, control, "ha", WISH)


def test_another_wish(nodes: Nodes, control: Control) -> None:
    """Check mode tells the truth of a change, too."""
    before = specs(nodes)
    said = check(nodes, control, "ha", MORE)
    assert specs(nodes) == before
    with Clients(nodes, "server-1") as clients:
        done = control.play("ha", MORE)
    clients.see_nothing_lost()
    assert done == said
    assert len(done) > 0
    for app in PODS:
        assert homes(nodes, app) == sorted(nodes.names)


def test_node_killed(nodes: Nodes, control: Control) -> None:
    """Its replicas' share is lost until their endpoints go, and nothing from then on."""
    victim, witness = "agent-1", "agent-2"
    with Clients(nodes, witness) as clients:
        at = nodes.kill(victim)
        wait_for("the node's death to be noticed", lambda: not nodes.ready(victim), LATEST)
        wait_for("no endpoint on it", lambda: not any(victim in endpoints(nodes, app) for app in PODS), LATEST)
        gone = time.time() + PROXIES
        later = [
            lambda client=client: sum(when > gone for when, _ in client.asked()) for client in clients.each.values()
        ]
        wait_for("requests after that", lambda: all(count() >= 50 for count in later), 60)
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} ready", lambda: nodes.ready(victim), 120)
    for (_, name), asked in clients.seen.items():
        missing = [when for when in lost(asked) if when >= at]
        print(f"{name}: {victim} killed: the last lost after {max([at, *missing]) - at:.1f} s", flush=True)
        assert any(answered for when, answered in asked if at < when < at + 20), f"nobody answered for {name}"
        assert [when - gone for when in missing if when > gone] == []
        assert max([at, *missing]) - at <= LATEST
    for app in PODS:
        wait_for(f"{app[1]} as before", lambda app=app: homes(nodes, app) == sorted(nodes.names), 120)
    nothing_to_do(nodes, control, "ha", MORE)


def test_back(nodes: Nodes, control: Control, shipped: dict[str, Json]) -> None:
    """What was before is there again, nothing of ours is left, and check mode had promised that."""
    said = check(nodes, control, "remove", MORE)
    with Clients(nodes, "server-1") as clients:
        done = control.play("remove", MORE)
    clients.see_nothing_lost()
    assert done == said
    assert specs(nodes) == shipped
    assert get(nodes, "kube-system", CONFIG) == []
    wait_for("nothing of ours", lambda: nodes.left_of_ours() == [], 30)
    assert site.left_of_ours(nodes) == []
    assert installed(nodes) == []
    nothing_to_do(nodes, control, "remove", MORE)
    nothing_to_do(nodes, control, "ha", {**MORE, "k3s_core_ha_state": "absent"})

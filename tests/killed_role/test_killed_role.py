# SPDX-License-Identifier: GPL-3.0-or-later
"""The role killed between any two of its tasks, on its way there and on its way back: the next run ends where one that
nothing disturbed does. The points are found by a run that nothing disturbs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cluster import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster import Json
    from control import Control
    from nodes import Nodes

# What has the most to do on a host: files beside k3s's manifests, a timer, and the helper that stays for it.
WISH = {
    "k3s_core_ha_coredns_strategy": "custom",
    "k3s_core_ha_coredns_lameduck": 5,
    "k3s_core_ha_metrics_server_strategy": "custom",
    "k3s_core_ha_metrics_server_resources": {"requests": {"memory": "90Mi"}},
    "k3s_core_ha_reconcile": True,
    "k3s_core_ha_reconcile_interval": 60,
}
OBJECTS = (
    ("deployments", "coredns"),
    ("deployments", "metrics-server"),
    ("configmaps", "coredns"),
    ("services", "kube-dns"),
)
LOOKED = 180  # seconds
MARKS = {f"Node server-1: k3s-core-ha/{word}" for word in ("carries", "reconciles")}
FILES = ("find", "/usr/local/bin", "/etc/systemd/system", "/var/lib/rancher/k3s/server/manifests")


def files(nodes: Nodes) -> list[str]:
    """What the role may leave on the host."""
    look = nodes.run("exec", "server-1", *FILES, "(", "-name", "*k3s-core-ha*", "-o", "-name", "*.skip", ")")
    return sorted(line for line in look.stdout.splitlines() if line.strip())


def state(nodes: Nodes) -> list[Any]:
    """The host's files, and what the objects are to be."""

    def lasting(thing: Json) -> list[Any]:
        about = thing["metadata"]
        return [about.get("labels"), thing.get("spec"), thing.get("data")]

    own = sorted(name for name in nodes.left_of_ours() if not name.startswith("Pod "))
    return [files(nodes), own, *(lasting(nodes.one(kind, name)) for kind, name in OBJECTS)]


def see_converges(nodes: Nodes, end: list[Any], killed: Callable[[], Any], whole: Callable[[], list[Json]]) -> None:
    """A run that is killed, and one that is not, end where the latter alone did."""
    killed()
    whole()
    with contextlib.suppress(AssertionError):  # the comparison tells more
        wait_for("the timer's first look", lambda: state(nodes) == end, LOOKED)
    now = state(nodes)
    for is_now, was in zip(now[:2], end[:2], strict=True):
        assert set(is_now) ^ set(was) == set()
    assert now == end
    assert whole() == []


def watched(nodes: Nodes) -> list[Any]:
    """The state once the timer has looked: it leaves marks of its own."""
    wait_for("the timer's first look", lambda: set(state(nodes)[1]) >= MARKS, LOOKED)
    return state(nodes)


def test_killed_between_tasks(nodes: Nodes, control: Control) -> None:
    """At each task that changed something, there and back."""
    packaged = state(nodes)
    there = control.play("ha", WISH)
    wished = watched(nodes)
    assert control.play("ha", WISH) == []
    back = control.play("remove", WISH)
    assert state(nodes) == packaged
    assert len(there) > 4, there
    assert len(back) > 4, back
    for point in range(1, max(len(there), len(back)) + 1):
        on_the_way, on_the_way_back = min(point, len(there)), min(point, len(back))
        print(f"\nkilled after: {there[on_the_way - 1]['task']}", flush=True)
        see_converges(
            nodes,
            wished,
            lambda at=on_the_way: control.play("ha", WISH, end_after=at),
            lambda: control.play("ha", WISH),
        )
        print(f"killed on the way back after: {back[on_the_way_back - 1]['task']}", flush=True)
        see_converges(
            nodes,
            packaged,
            lambda at=on_the_way_back: control.play("remove", WISH, end_after=at),
            lambda: control.play("remove", WISH),
        )

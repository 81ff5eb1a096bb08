# SPDX-License-Identifier: GPL-3.0-or-later
"""Every strategy on every kind of cluster: brought in, again, k3s restarted, at rest, a node killed, and back.

What clients saw is held against the promise that docs/architecture.md and the README give for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cells import Cell
from cluster import changes, wait_for
from nodes import PACKAGED
from probe import Probe, see_nothing_lost
from quiet import WATCHED, see_quiet

if TYPE_CHECKING:
    from conftest import Clusters
    from nodes import Nodes
    from results import Results

# Seconds after a fault until the last lost query, also where the dead server held the controller manager's lease.
LATEST = 85
METRICS_LATER = 60  # seconds from when the dead node's endpoints are gone


def test_cell(cell: Cell, clusters: Clusters, results: Results) -> None:
    """One wish on one cluster, from what k3s ships and back to it."""
    if known := results.passed(cell):
        print(f"\n{cell.name}: passed before, with the same helper on the same sandbox: {known}")
        return
    nodes = clusters.of(cell.topology)
    found: dict[str, Any] = {}
    steps = [
        ("apply", bring_in),
        ("again", again),
        ("restart", restart),
        ("rest", rest),
        ("node killed", kill),
        ("back", back),
    ]
    try:
        for what, step in steps:
            start = time.monotonic()
            found[what] = step(nodes, cell)
            print(f"\n{cell.name}: {what}: {time.monotonic() - start:.0f} s, {found[what]}", flush=True)
    except BaseException:
        clusters.down()  # the next cell is to find a cluster as k3s leaves it
        raise
    results.keep(cell, found)


def bring_in(nodes: Nodes, cell: Cell) -> str:
    """The wish comes true, and no client loses a query meanwhile."""
    probe = Probe(nodes, nodes.names[0])
    try:
        done = nodes.helper("apply", cell.spec, *nodes.set_aside(cell.set_aside))
    finally:
        seen = probe.stop()
    see_nothing_lost(seen)
    assert done["changed"] is True
    if cell.topology == "zones" and cell.coredns != "packaged":
        assert done["level"]["name"] == "zone", done["level"]
        assert len(nodes.zones(nodes.endpoints())) > 1, nodes.endpoints()
    return f"level {done['level']['name']}, DNS on {', '.join(nodes.endpoints())}"


def again(nodes: Nodes, cell: Cell) -> str:
    """A second run changes nothing, and asks for no change."""
    mark = nodes.audit_mark()
    done = nodes.helper("apply", cell.spec)
    assert done["changed"] is False, done["steps"]
    assert changes(nodes.audited(mark)) == []
    return "nothing changed"


def restart(nodes: Nodes, cell: Cell) -> str:
    """k3s applies its own manifests anew at each start, and that undoes nothing of ours."""
    nodes.restart_all()
    return again(nodes, cell)


def rest(nodes: Nodes, _cell: Cell) -> str:
    """Then nothing waits for a place, crashes or is fought over."""
    see_quiet(nodes)
    return f"nothing happens in {WATCHED} s"


def kill(nodes: Nodes, cell: Cell) -> str:
    """The power of a node with CoreDNS is cut; a client on another one loses no more than was promised."""
    before = nodes.endpoints()
    victims = [node for node in before if node != "server-1"]
    if not victims:
        return "left out: only the first server has CoreDNS, and without it there is no API"
    # An agent where one has it: what a server's death costs besides is another scenario's.
    victim = min(victims)
    others = [node for node in nodes.names if node != victim]
    witness = next((node for node in others if node not in before), others[-1])
    local = witness in before and cell.traffic == "auto" and cell.coredns != "packaged"
    probe = Probe(nodes, witness)
    at = nodes.kill(victim)
    wait_for(f"{victim} not ready", lambda: not nodes.ready(victim), LATEST)
    wait_for("no endpoint on it", lambda: victim not in nodes.endpoints(), LATEST)
    if cell.metrics != "packaged":
        wait_for("metrics of the others", lambda: nodes.metrics(len(others)), METRICS_LATER)
    seen = probe.stop(at)
    since = seen["fresh"]["since_fault"]
    told = f"{victim} killed; {witness}: {since['lost']} lost, the last after {since['last_lost_after_s']} s"
    if local:
        see_nothing_lost(seen)
    elif cell.coredns != "packaged":
        most = 1 / len(before) + 0.12
        assert since["share"] <= most, f"{told}: more than a share of {most:.2f}"
        # None: nothing was lost, as another replica in the client's zone was asked.
        assert (since["last_lost_after_s"] or 0) <= LATEST, told
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} ready", lambda: nodes.ready(victim), 120)
    wait_for("as many endpoints as before", lambda: len(nodes.endpoints()) >= len(before), 120)
    wait_for("metrics", nodes.metrics, 120)
    return told


def back(nodes: Nodes, cell: Cell) -> str:
    """What k3s ships is there again, without a lost query, and nothing of ours is left."""
    probe = Probe(nodes, nodes.names[0])
    try:
        nodes.helper("apply", PACKAGED)
    finally:
        seen = probe.stop()
    see_nothing_lost(seen)
    nodes.set_aside([])
    left: list[str] = []

    def clean() -> bool:
        left[:] = nodes.left_of_ours()
        return not left

    try:
        wait_for("nothing of ours", clean, 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {left}") from None
    if not cell.set_aside:
        return f"nothing left of {cell.coredns}"
    # k3s applies its own manifests again, and finds all as it would have it.
    before = nodes.generations()
    nodes.restart_all()
    assert nodes.generations() == before
    return f"nothing left of {cell.coredns}, nor for k3s to do"

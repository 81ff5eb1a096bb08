# SPDX-License-Identifier: GPL-3.0-or-later
"""Every strategy on every kind of cluster: brought in, again, k3s restarted, at rest, a node killed, and back.

What clients saw is held against the promise that docs/architecture.md and the README give for it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import site_of_ours as site
from cells import LONG, Cell
from claims import Claims
from clients import HOME, Clients, see_nothing_noticed
from cluster import changes, wait_for
from nodes import PACKAGED
from probe import see_nothing_lost
from quiet import see_quiet

if TYPE_CHECKING:
    from conftest import Clusters
    from nodes import Nodes
    from results import Results

# Seconds after a fault until the last lost query, also where the dead server held the controller manager's lease.
LATEST = 85
METRICS_LATER = 60  # seconds from when the dead node's endpoints are gone
REPLACED = 406  # seconds after a fault until all that was on the dead node serves elsewhere (docs/failover.md)


def test_cell(cell: Cell, clusters: Clusters, results: Results, watched: int) -> None:
    """One wish on one cluster, from what k3s ships and back to it."""
    if known := results.passed(cell):
        print(f"\n{cell.name}: passed before, with the same helper on the same sandbox: {known}")
        return
    nodes = clusters.of(cell.topology)
    found: dict[str, Any] = {}
    steps = [
        ("apply", lambda: bring_in(nodes, cell)),
        ("again", lambda: again(nodes, cell)),
        ("restart", lambda: restart(nodes, cell)),
        ("rest", lambda: rest(nodes, watched)),
        ("node killed", lambda: kill(nodes, cell)),
        ("back", lambda: back(nodes, cell, clusters.shipped)),
    ]
    try:
        for what, step in steps:
            start = time.monotonic()
            found[what] = step()
            print(f"\n{cell.name}: {what}: {time.monotonic() - start:.0f} s, {found[what]}", flush=True)
    except BaseException:
        clusters.down()  # the next cell is to find a cluster as k3s leaves it
        raise
    results.keep(cell, found)


def bring_in(nodes: Nodes, cell: Cell) -> str:
    """The wish comes true, and no client notices. A volume is made that is to be there in the end."""
    Claims(nodes, HOME).keep()
    told = nodes.carriers() if cell.local_path == "replicas" else []
    with Clients(nodes, nodes.names[0], volumes=cell.local_path != "packaged") as clients:
        done = nodes.helper("apply", cell.spec, *told, *nodes.set_aside(cell.set_aside))
    see_nothing_noticed(clients)
    assert done["changed"] is True
    if cell.topology == "zones" and cell.coredns != "packaged":
        assert done["level"]["name"] == "zone", done["level"]
        assert len(nodes.zones(nodes.endpoints())) > 1, nodes.endpoints()
    if cell.coredns != "packaged":
        # In zones a client without a replica would be left to those of its zone.
        evenly = cell.topology != "zones" or len(nodes.endpoints()) == len(nodes.names)
        assert prefers_own_node(nodes) == (cell.traffic == "auto" and evenly)
    return f"level {done['level']['name']}, DNS on {', '.join(nodes.endpoints())}; {clients.told}"


def prefers_own_node(nodes: Nodes) -> bool:
    """Whether a client asks the CoreDNS on its own node while there is one."""
    return nodes.one("services", "kube-dns")["spec"].get("trafficDistribution") == "PreferSameNode"


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


def rest(nodes: Nodes, watched: int) -> str:
    """Then nothing waits for a place, crashes or is fought over."""
    see_quiet(nodes, watched)
    return f"nothing happens in {watched} s"


def kill(nodes: Nodes, cell: Cell) -> str:
    """The power of a node with CoreDNS is cut; a client on another one loses no more than was promised."""
    before = nodes.endpoints()
    victims = [node for node in before if node != HOME]
    if not victims:
        return "left out: only the first server has CoreDNS, and without it there is no API"
    pods = Counter(pod["spec"].get("nodeName") for pod in nodes.get("pods"))
    victim = max(victims, key=lambda node: pods[node])
    others = [node for node in nodes.names if node != victim]
    # Who has no replica would ask those of its own zone, if they were preferred.
    zones = nodes.zone_of_each()
    witness = min(others, key=lambda node: (node in before, zones[node] != zones[victim]))
    with Clients(nodes, witness, volumes=cell.local_path == "replicas") as clients:
        clients.fault_at = nodes.kill(victim)
        wait_for(f"{victim} not ready", lambda: not nodes.ready(victim), LATEST)
        wait_for("no endpoint on it", lambda: victim not in nodes.endpoints(), LATEST)
        if cell.metrics != "packaged":
            wait_for("metrics of the others", lambda: nodes.metrics(len(others)), METRICS_LATER)
        if clients.claims:
            clients.claims.wait_for_one()
    told = f"{victim} killed; {witness}: {clients.told}"
    see_promise_kept(cell, clients, replicas=len(before), local=witness in before and prefers_own_node(nodes))
    if cell == LONG:
        told += f"; replaced after {full_strength(nodes, clients.fault_at)}"
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} ready", lambda: nodes.ready(victim), 120)
    wait_for("as many endpoints as before", lambda: len(nodes.endpoints()) >= len(before), 120)
    wait_for("metrics", nodes.metrics, 120)
    wait_for("all replicas", lambda: not nodes.short_of_replicas(), 120)
    return told


def see_only_a_share_lost(since: dict[str, Any], replicas: int) -> None:
    """Since one of so many replicas died: what was sent to it, until its endpoint went."""
    most = 1 / replicas + 0.12
    assert since["share"] <= most, f"more than a share of {most:.2f}: {since}"
    assert (since["last_lost_after_s"] or 0) <= LATEST, since  # none where nothing was lost


def see_promise_kept(cell: Cell, clients: Clients, *, replicas: int, local: bool) -> None:
    """What may be lost when a node with one of so many replicas of CoreDNS dies, by a client that asks a `local` one
    or that does not.
    """
    since = clients.dns["fresh"]["since_fault"]
    if cell.coredns != "packaged":
        if local:
            see_nothing_lost(clients.dns)
        see_only_a_share_lost(since, replicas)
    several = {"traefik": cell.traefik, site.NAME: cell.site}
    for name in (name for name, strategy in several.items() if strategy != "packaged"):
        at = clients.fault_at
        assert any(answered for when, answered in clients.asked[name] if at < when < at + 20), f"{name}: no answer"
        assert max([at, *clients.lost(name)]) - at <= LATEST, clients.lost(name)
    assert clients.several_provisioners == []


def full_strength(nodes: Nodes, fault_at: float) -> str:
    """Wait until every Deployment has all its replicas without the dead node; gives when each had."""
    short = nodes.short_of_replicas()
    assert short, "nothing was on the dead node"
    took: dict[str, float] = {}

    def all_back() -> bool:
        gone = time.time() - fault_at
        took.update({name: gone for name in short if name not in {*took, *nodes.short_of_replicas()}})
        return len(took) == len(short)

    wait_for("all replicas, on other nodes", all_back, fault_at + REPLACED - time.time())
    return ", ".join(f"{seconds:.0f} s ({name})" for name, seconds in took.items())


def back(nodes: Nodes, cell: Cell, shipped: dict[str, Any]) -> str:
    """What k3s ships is there again, no client notices, and nothing of ours is left."""
    with Clients(nodes, nodes.names[0], volumes=cell.local_path != "packaged") as clients:
        nodes.helper("apply", PACKAGED)
    see_nothing_noticed(clients)
    volumes = clients.claims or Claims(nodes, HOME)
    volumes.remove("kept-0")
    assert volumes.left() == ""
    nodes.set_aside([])
    left: list[str] = []

    def clean() -> bool:
        left[:] = [*nodes.left_of_ours(), *nodes.left_of_charts(), *site.left_of_ours(nodes)]
        return not left

    try:
        wait_for("nothing of ours", clean, 30)
    except AssertionError as error:
        raise AssertionError(f"{error}: {left}") from None
    assert nodes.specs() == shipped
    if not cell.set_aside:
        return f"as shipped; {clients.told}"
    # k3s applies its own manifests again, and finds all as it would have it.
    before = nodes.generations()
    nodes.restart_all()
    assert nodes.generations() == before
    return f"as shipped, and nothing for k3s to do; {clients.told}"

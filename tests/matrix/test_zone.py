# SPDX-License-Identifier: GPL-3.0-or-later
"""A zone is lost, with all nodes in it, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster import wait_for
from nodes import PACKAGED
from probe import Probe, see_nothing_lost
from test_matrix import LATEST

if TYPE_CHECKING:
    from conftest import Clusters

ZONE_B = ("server-2", "agent-2")


@pytest.mark.usefixtures("whole")
def test_zone_lost(clusters: Clusters) -> None:
    """What level zone promises: the others go on answering; a client without a replica loses a share until the dead
    endpoint goes, and one with a replica of its own loses nothing.
    """
    nodes = clusters.of("zones")
    done = nodes.helper("apply", {"level": "zone"})
    assert done["level"]["name"] == "zone", done["level"]
    before = nodes.endpoints()
    assert nodes.zones(before) == {"zone-a", "zone-b", "zone-c"}
    left = [node for node in nodes.names if node not in ZONE_B]
    local = Probe(nodes, next(node for node in left if node in before))
    remote = Probe(nodes, next(node for node in left if node not in before))
    at = min([nodes.kill(node) for node in ZONE_B])
    for node in ZONE_B:
        wait_for(f"{node} not ready", lambda node=node: not nodes.ready(node), LATEST)
    wait_for("no endpoint in the zone", lambda: set(nodes.endpoints()).isdisjoint(ZONE_B), LATEST)
    seen_local, seen_remote = local.stop(at), remote.stop(at)
    since = seen_remote["fresh"]["since_fault"]
    print(f"\nzone-b lost, no replica of its own: {since['lost']} lost, the last after {since['last_lost_after_s']} s")
    see_nothing_lost(seen_local)
    assert since["share"] <= 1 / len(before) + 0.12, since
    assert since["last_lost_after_s"] <= LATEST, since
    assert len(nodes.zones(nodes.endpoints())) == 2
    for node in ZONE_B:
        nodes.sandbox("restore", node)
    for node in ZONE_B:
        wait_for(f"{node} ready", lambda node=node: nodes.ready(node), 120)
    wait_for("as many endpoints as before", lambda: len(nodes.endpoints()) == len(before), 120)
    nodes.helper("apply", PACKAGED)

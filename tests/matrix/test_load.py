# SPDX-License-Identifier: GPL-3.0-or-later
"""The count of replicas changes hands while CoreDNS has so much to do that the autoscaler has raised it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster import wait_for
from nodes import PACKAGED
from probe import Probe, see_nothing_lost

if TYPE_CHECKING:
    from conftest import Clusters

QUERIES = 1000  # per second, from either kind of port
SCALED = 180  # seconds until usage is measured, the autoscaler has seen it and a new pod serves
# A fifth of what CoreDNS requests, 100m, so that the machine has time left for all others.
GROWS = {
    **PACKAGED,
    "coredns_strategy": "autoscaling",
    "coredns_min_replicas": 2,
    "coredns_max_replicas": 3,
    "coredns_cpu_utilization": 20,
}
FIXED = {**PACKAGED, "coredns_strategy": "replicas", "coredns_replicas": 2}
WAYS = {"to a count of ours": (FIXED, 2), "to the autoscaler": (GROWS, 3), "to what k3s ships": (PACKAGED, 1)}


@pytest.mark.usefixtures("whole")
def test_load(clusters: Clusters) -> None:
    """From the autoscaler to a count of ours, back to it, and to what k3s ships: nothing is lost, and each time the
    autoscaler finds that it has to grow again.
    """
    nodes = clusters.of("small")
    nodes.helper("apply", GROWS)
    assert len(nodes.endpoints()) == 2
    load = Probe(nodes, "agent-2", QUERIES)
    try:
        wait_for("a third replica by the autoscaler", lambda: len(nodes.endpoints()) == 3, SCALED)
        for way, (wish, count) in WAYS.items():
            client = Probe(nodes, "agent-1")
            try:
                nodes.helper("apply", wish)
                wait_for(f"endpoints: {count}", lambda count=count: len(nodes.endpoints()) == count, SCALED)
            finally:
                seen = client.stop()
            lost, asked = seen["fresh"]["lost"], seen["fresh"]["planned"]
            print(f"\nunder {2 * QUERIES} queries/s {way}: {lost} of {asked} lost", flush=True)
            see_nothing_lost(seen)
            assert bool(nodes.get("horizontalpodautoscalers")) == (wish is GROWS)
    finally:
        load.stop()

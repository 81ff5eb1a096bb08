# SPDX-License-Identifier: GPL-3.0-or-later
"""From every strategy of CoreDNS and of metrics-server to every other one, with clients of both watching."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cells import COREDNS
from nodes import PACKAGED
from probe import see_nothing_lost
from test_helm import DNS, METRICS, Way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nodes import Nodes

DNS_WISHES = {**COREDNS, "helm": DNS}
METRICS_WISHES = {
    "packaged": {"metrics_server_strategy": "packaged"},
    "replicas": {"metrics_server_strategy": "replicas"},
    "custom": {"metrics_server_strategy": "custom"},
    "helm": METRICS,
}
# The names of k3s's manifests that `custom` has set aside.
SERVED = {"coredns": "coredns", "metrics-server-deployment": "metrics-server"}


def tour(names: Sequence[str]) -> list[str]:
    """From the first name back to it, over each ordered pair of names once."""
    ways = [name for i, one in enumerate(names) for other in names[i + 1 :] for name in (one, other)]
    return [*ways, ways[0]]


def test_switch(nodes: Nodes) -> None:
    """Nothing is lost, and the API of metrics is always there. Both are switched in the same run, as users do it."""
    nodes.helper("apply", PACKAGED)
    dns = tour(["packaged", *sorted(DNS_WISHES.keys() - {"packaged"})])
    metrics = tour(list(METRICS_WISHES))[:-1]
    set_aside: set[str] = set()
    for step, strategy in enumerate(dns[1:], 1):
        chosen = {"coredns": strategy, "metrics-server": metrics[step % len(metrics)]}
        wish = {**PACKAGED, **DNS_WISHES[strategy], **METRICS_WISHES[chosen["metrics-server"]]}
        # As the role does it: what is to be set aside is so before the run, what no longer is stays so until its end.
        wanted = {manifest for manifest, component in SERVED.items() if chosen[component] == "custom"}
        nodes.set_aside(sorted(set_aside | wanted))
        words = [f"--set-aside=server-1={','.join(sorted(wanted))}"] if wanted else []
        with Way(nodes, f"CoreDNS to {chosen['coredns']}, metrics-server to {chosen['metrics-server']}") as way:
            nodes.helper("apply", wish, *words)
        see_nothing_lost(way.dns)
        nodes.set_aside(sorted(wanted))
        set_aside = wanted
    nodes.helper("apply", PACKAGED)
    nodes.set_aside([])

# SPDX-License-Identifier: GPL-3.0-or-later
"""From every strategy of CoreDNS and of metrics-server to every other one, with clients of both watching."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cells import COREDNS, METRICS, Cell
from nodes import PACKAGED
from probe import see_nothing_lost
from test_helm import Way

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nodes import Nodes


def tour(names: Iterable[str]) -> list[str]:
    """From `packaged` back to it, over each ordered pair of names once."""
    ordered = sorted(names, key=lambda name: name != "packaged")
    ways = [name for i, one in enumerate(ordered) for other in ordered[i + 1 :] for name in (one, other)]
    closed = [*ways, "packaged"]
    assert set(itertools.pairwise(closed)) == set(itertools.permutations(ordered, 2))
    return closed


def test_switch(nodes: Nodes) -> None:
    """Nothing is lost, and the API of metrics is always there. Both are switched in the same run, as users do it."""
    nodes.helper("apply", PACKAGED)
    # The shorter tour begins anew where it ends, with the step that follows.
    metrics = itertools.cycle(tour(METRICS)[1:])
    former: list[str] = []
    for strategy in tour(COREDNS)[1:]:
        cell = Cell("small", strategy, next(metrics), "auto")
        wish = {**PACKAGED, **COREDNS[strategy], **METRICS[cell.metrics]}
        with Way(nodes, f"CoreDNS to {cell.coredns}, metrics-server to {cell.metrics}") as way:
            # As the role does it: what is no longer to be set aside stays so until the end of the run.
            nodes.helper("apply", wish, *nodes.set_aside(cell.set_aside, former))
        see_nothing_lost(way.dns)
        nodes.set_aside(cell.set_aside)
        former = cell.set_aside
    nodes.helper("apply", PACKAGED)
    nodes.set_aside([])

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which wishes are tried on which clusters."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, fields

FULL = bool(os.environ.get("FULL"))

# By factor; the values of spec keys, but for the topology.
COREDNS: dict[str, dict[str, object]] = {
    "autoscaling": {"coredns_strategy": "autoscaling"},
    "replicas": {"coredns_strategy": "replicas"},
    "daemonset": {"coredns_strategy": "daemonset"},
    "daemonset-all": {"coredns_strategy": "daemonset", "coredns_daemonset_nodes": "all"},
    "custom": {
        "coredns_strategy": "custom",
        "coredns_tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "coredns_resources": {"limits": {"memory": "200Mi"}},
        "coredns_lameduck": 5,
    },
    "packaged": {"coredns_strategy": "packaged"},
}
METRICS = ("replicas", "custom", "packaged")
TRAFFIC = ("auto", "none")
TOPOLOGIES = ("single", "small", "ha", "zones")


@dataclass(frozen=True)
class Cell:
    """One wish on one cluster."""

    topology: str
    coredns: str
    metrics: str
    traffic: str

    @property
    def name(self) -> str:
        """For files and people."""
        return "-".join(str(getattr(self, field.name)) for field in fields(self))

    @property
    def spec(self) -> dict[str, object]:
        """The wish."""
        return {
            **COREDNS[self.coredns],
            "coredns_traffic_distribution": self.traffic,
            "metrics_server_strategy": self.metrics,
        }

    @property
    def set_aside(self) -> list[str]:
        """k3s's manifests that the wish wants set aside."""
        names = {"coredns": self.coredns, "metrics-server-deployment": self.metrics}
        return [name for name, strategy in names.items() if strategy == "custom"]

    @property
    def possible(self) -> bool:
        """Whether the wish is one for this cluster: a wish that changes nothing is none."""
        return (self.coredns, self.metrics) != ("packaged", "packaged")


# What `make test` runs of it: what no scenario has.
CUT = (Cell("small", "daemonset-all", "packaged", "auto"), Cell("small", "custom", "custom", "auto"))


def _pairs(cell: Cell) -> set[tuple[tuple[str, str], ...]]:
    values = [(field.name, getattr(cell, field.name)) for field in fields(cell)]
    return set(itertools.combinations(values, 2))


def cells() -> list[Cell]:
    """All cells with FULL=1; else as few as have every pair of values once, topology by topology."""
    every = [Cell(*values) for values in itertools.product(TOPOLOGIES, COREDNS, METRICS, TRAFFIC)]
    every = [cell for cell in every if cell.possible]
    if FULL:
        return every
    left = set().union(*map(_pairs, every))
    chosen = set(CUT)
    for cell in chosen:
        left -= _pairs(cell)
    while left:
        best = max(every, key=lambda cell: len(_pairs(cell) & left))
        chosen.add(best)
        left -= _pairs(best)
    return [cell for cell in every if cell in chosen]

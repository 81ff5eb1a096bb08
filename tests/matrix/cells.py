# SPDX-License-Identifier: GPL-3.0-or-later
"""Which wishes are tried on which clusters."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, fields

import site_of_ours as site
from charts import content

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
    "helm": {"coredns_strategy": "helm", "coredns_chart": {"content": content("coredns")}},
    "packaged": {"coredns_strategy": "packaged"},
}
METRICS: dict[str, dict[str, object]] = {
    "replicas": {"metrics_server_strategy": "replicas"},
    "custom": {"metrics_server_strategy": "custom"},
    "helm": {"metrics_server_strategy": "helm", "metrics_server_chart": {"content": content("metrics-server")}},
    "packaged": {"metrics_server_strategy": "packaged"},
}
LOCAL_PATH: dict[str, dict[str, object]] = {
    "replicas": {"local_path_provisioner_strategy": "replicas"},
    "helm": {
        "local_path_provisioner_strategy": "helm",
        "local_path_provisioner_chart": {"content": content("local-path-provisioner")},
    },
    "packaged": {"local_path_provisioner_strategy": "packaged"},
}
TRAEFIK: dict[str, dict[str, object]] = {
    "helm": {"traefik_strategy": "helm"},
    "packaged": {"traefik_strategy": "packaged"},
}
SITE: dict[str, dict[str, object]] = {
    "replicas": {"extra_deployments": [{"namespace": site.NAMESPACE, "name": site.NAME}]},
    "packaged": {},
}
TRAFFIC = ("auto", "none")
TOPOLOGIES = ("single", "small", "ha", "zones")
FACTORS = (TOPOLOGIES, COREDNS, METRICS, LOCAL_PATH, TRAEFIK, SITE, TRAFFIC)


@dataclass(frozen=True)
class Cell:
    """One wish on one cluster."""

    topology: str
    coredns: str
    metrics: str
    local_path: str = "packaged"
    traefik: str = "packaged"
    site: str = "packaged"  # a Deployment of somebody's own
    traffic: str = "auto"

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
            **METRICS[self.metrics],
            **LOCAL_PATH[self.local_path],
            **TRAEFIK[self.traefik],
            **SITE[self.site],
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
CUT = (Cell("small", "daemonset-all", "packaged"), Cell("small", "custom", "custom"))
# In which a dead node stays so until Kubernetes has replaced all that was on it, of each component.
LONG = Cell("ha", "autoscaling", "replicas", "replicas", "helm", "replicas")


def _pairs(cell: Cell) -> set[tuple[tuple[str, str], ...]]:
    values = [(field.name, getattr(cell, field.name)) for field in fields(cell)]
    return set(itertools.combinations(values, 2))


def cells() -> list[Cell]:
    """All cells with FULL=1; else as few as have every pair of values once, topology by topology."""
    every = [Cell(*values) for values in itertools.product(*FACTORS)]
    every = [cell for cell in every if cell.possible]
    if FULL:
        return every
    left = {pair: None for cell in every for pair in _pairs(cell)}
    chosen = {*CUT, LONG}
    for cell in chosen:
        for pair in _pairs(cell):
            left.pop(pair, None)
    while left:
        best = max(every, key=lambda cell: sum(pair in left for pair in _pairs(cell)))
        chosen.add(best)
        for pair in _pairs(best):
            left.pop(pair, None)
    return [cell for cell in every if cell in chosen]

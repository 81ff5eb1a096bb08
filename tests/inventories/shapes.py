# SPDX-License-Identifier: GPL-3.0-or-later
"""The clusters of the inventory: what each is started with, and what the role is to make of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One kind of cluster."""

    name: str  # of its group in the inventory
    topology: str
    level: str  # what its size allows
    dns_nodes: tuple[str, ...]  # where CoreDNS is to run then
    settings: tuple[str, ...] = ()  # of k3s on its server
    domain: str = "cluster.local"
    kubernetes: str = "10.43.0.1"  # the address of the Service kubernetes.default
    dns: tuple[str, ...] = ("10.43.0.10",)
    server_group: str = "server_group"  # the variable that names the group of its servers

    @property
    def nodes(self) -> tuple[str, ...]:
        """The machines, nodes of Kubernetes or not."""
        return ("server-1",) if self.topology == "single" else ("server-1", "agent-1", "agent-2")


ALONE = Shape("alone", "single", level="none", dns_nodes=("server-1",))

RESERVED = Shape(
    "reserved",
    "small",
    level="node",
    dns_nodes=("agent-1", "agent-2", "server-1"),  # CoreDNS tolerates the taints
    settings=(
        "node-taint=CriticalAddonsOnly=true:NoExecute",
        "node-taint+=node-role.kubernetes.io/control-plane=true:NoSchedule",
        "cluster-cidr=10.49.0.0/16,fd00:49::/56",
        "service-cidr=10.50.0.0/16,fd00:50::/112",
        "cluster-dns=10.50.0.53,fd00:50::35",
        "cluster-domain=lab.internal",
    ),
    domain="lab.internal",
    kubernetes="10.50.0.1",
    dns=("10.50.0.53", "fd00:50::35"),
    server_group="k3s_core_ha_server_group",
)

AGENTLESS = Shape(
    "agentless", "small", level="node", dns_nodes=("agent-1", "agent-2"), settings=("disable-agent=true",)
)

SHAPES = (ALONE, RESERVED, AGENTLESS)

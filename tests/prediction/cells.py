# SPDX-License-Identifier: GPL-3.0-or-later
"""Random small clusters, each with a wish. The same number gives the same cluster every time."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

FULL = bool(os.environ.get("FULL"))
SEED = os.environ.get("SEED", "k3s-core-ha")
ALL, CUT = 200, 16

# What each of our pods requests, as k3s ships it.
CPU, MEMORY = 100, 70

FOREIGN = ("example.org/gpu=yes:NoSchedule", "example.org/gpu=yes:NoExecute")  # keep our pods away
HARMLESS = ("node-role.kubernetes.io/control-plane=:NoSchedule", "example.org/slow=:PreferNoSchedule")
# By priority class; the last two are as high as ours.
PRIORITIES = {"prediction-low": -10, "": 0, "prediction-high": 1000000, "system-cluster-critical": 2000000000}


@dataclass
class Node:
    """A node, and what it has room for."""

    name: str
    host: str
    labels: dict[str, str]
    taints: list[str]
    state: str  # ready, cordoned, not-ready, unreachable, pressure
    cpu: int  # thousandths
    memory: int  # Mi
    pods: int
    others: list[tuple[str, int, int]] = field(default_factory=list)  # their class, CPU and memory

    @property
    def eligible(self) -> bool:
        """Whether it can run our pods when nothing passing is in the way."""
        return self.labels["kubernetes.io/os"] == "linux" and not {*FOREIGN} & {*self.taints}


@dataclass
class Cell:
    """A cluster and a wish."""

    number: int
    nodes: list[Node]
    replicas: int  # of CoreDNS, as it is before
    placed: list[str]  # the nodes of those of them that were placed; the others are up to the scheduler
    metrics: list[str]  # where metrics-server runs; empty: there is none
    wish: dict[str, object]

    @property
    def asked(self) -> int:
        """The replicas of CoreDNS that the wish is for, by its own number or by the cluster's size."""
        counted = [n for n in self.nodes if not (n.state == "unreachable" and "unreachable_counts_for" in self.wish)]
        hosts = {n.host for n in counted if n.eligible}
        usual = 1 if self.wish.get("level") == "none" else max(1, min(3, len(hosts)))
        return int(str(self.wish.get("coredns_replicas", self.wish.get("coredns_min_replicas", usual))))

    @property
    def count(self) -> int:
        """The replicas of CoreDNS that a Deployment has in the end: an autoscaler leaves those that are there."""
        return self.asked if self.wish["coredns_strategy"] == "replicas" else max(self.replicas, self.asked)

    def __str__(self) -> str:
        nodes = ", ".join(
            f"{n.name}{'' if n.host == n.name else '@' + n.host} {n.cpu}m/{n.memory}Mi/{n.pods}"
            f"{'' if n.state == 'ready' else ' ' + n.state}{'' if n.eligible else ' not ours'}"
            f"{' server' if 'node-role.kubernetes.io/control-plane' in n.labels else ''}"
            f" others {len(n.others)}{{{_sums(n)}}}"
            for n in self.nodes
        )
        return f"{nodes}; CoreDNS {self.replicas} on {self.placed}, metrics-server on {self.metrics}; {self.wish}"


def _sums(node: Node) -> str:
    sums = {name: [0, 0, 0] for name, _, _ in node.others}
    for name, cpu, memory in node.others:
        sums[name] = [sums[name][0] + cpu, sums[name][1] + memory, sums[name][2] + 1]
    return ", ".join(f"{name or 'usual'} {cpu}m/{memory}Mi/{pods}" for name, (cpu, memory, pods) in sums.items())


def cell(number: int) -> Cell:
    """The cluster of this number."""
    dice = random.Random(f"{SEED}:{number}")  # noqa: S311 - to be the same every time
    count = dice.randint(1, 8)
    servers = dice.randint(1, count)
    nodes = [_node(dice, f"cell-{number:03}-{i}", i < servers) for i in range(count)]
    if count > 1 and dice.random() < 0.2:
        one, other = dice.sample(nodes, 2)
        other.host = other.labels["kubernetes.io/hostname"] = one.host
    for node in nodes:  # what never comes up is no cluster of anybody's
        if node.state != "ready" and dice.random() < 0.5:
            node.state = "ready"
    homes = [n for n in nodes if n.eligible] or nodes[:1]
    replicas = dice.choice([1, 1, 1, 2, 3, 4])
    placed = _homes(dice, homes, dice.randint(1, replicas))
    metrics = [dice.choice(homes).name] if dice.random() < 0.4 else []
    for node in nodes:
        _fill(dice, node, placed.count(node.name) + metrics.count(node.name))
    wish = _wish(dice, len(homes), bool(metrics))
    return Cell(number, nodes, replicas, placed, metrics, wish)


def _node(dice: random.Random, name: str, server: bool) -> Node:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    if dice.random() < 0.5:
        labels["topology.kubernetes.io/zone"] = dice.choice(["zone-a", "zone-b"])
    if server:
        labels["node-role.kubernetes.io/control-plane"] = "true"
    if dice.random() < 0.06:
        labels["kubernetes.io/os"] = "windows"
    taints = [dice.choice(FOREIGN)] if dice.random() < 0.12 else []
    if dice.random() < 0.2:
        taints.append(dice.choice(HARMLESS))
    state = dice.choice(["ready"] * 6 + ["cordoned", "not-ready", "unreachable", "pressure"])
    cpu, memory = dice.choice([500, 1000, 2000, 4000]), dice.choice([512, 1024, 4096, 8192])
    return Node(name, name, labels, taints, state, cpu, memory, dice.choice([4, 6, 10, 110]))


def _homes(dice: random.Random, nodes: list[Node], count: int) -> list[str]:
    """Where CoreDNS is: mostly apart, now and then as a staggered start leaves it."""
    if dice.random() < 0.2:
        return [dice.choice(nodes).name for _ in range(count)]
    return [node.name for node in dice.sample(nodes, min(count, len(nodes)))]


def _fill(dice: random.Random, node: Node, ours: int) -> None:
    """Others leave room for so many more of our pods, by the one or the other resource."""
    if dice.random() < 0.15:
        return
    room = ours + dice.choice([0, 0, 1, 1, 2, 3])
    scarce = dice.choice(["cpu", "memory", "pods"])
    cpu, memory = node.cpu - room * CPU, node.memory - room * MEMORY
    pods = min(node.pods - room, 8)
    if min(cpu, memory, pods) <= 0:
        return
    if scarce == "pods":
        pods = node.pods = min(node.pods, 10) - room
        node.pods += room
    else:
        pods = dice.randint(1, pods)
    # The room is never an exact number of our requests, but where it is: that is where an error of one shows.
    cpu -= 0 if dice.random() < 0.5 else dice.randint(0, min(CPU - 1, cpu - 1))
    memory -= 0 if dice.random() < 0.5 else dice.randint(0, min(MEMORY - 1, memory - 1))
    names = dice.choices([*PRIORITIES], weights=[1, 1, 1, 3], k=2)
    for i in range(pods):
        name = dice.choice(names)
        share = (i + 1) * cpu // pods - i * cpu // pods if scarce == "cpu" else 0
        rest = (i + 1) * memory // pods - i * memory // pods if scarce == "memory" else 0
        node.others.append((name, share, rest))


def _wish(dice: random.Random, eligible: int, metrics: bool) -> dict[str, object]:
    strategy = dice.choice(["autoscaling", "autoscaling", "replicas", "replicas", "daemonset"])
    wish: dict[str, object] = {
        "coredns_strategy": strategy,
        "metrics_server_strategy": "replicas" if metrics else "packaged",
        "local_path_provisioner_strategy": "packaged",
        "wait_timeout": 45,
    }
    if strategy == "daemonset":
        wish["coredns_daemonset_nodes"] = dice.choice(["control_plane", "all"])
    elif dice.random() < 0.5:
        key = "coredns_replicas" if strategy == "replicas" else "coredns_min_replicas"
        wish[key] = dice.randint(1, eligible + (dice.random() < 0.2))
    if dice.random() < 0.2:
        wish["level"] = dice.choice(["none", "node"])
        if wish["level"] == "node" and 1 in (wish.get("coredns_replicas"), wish.get("coredns_min_replicas")):
            wish["level"] = "none"  # else the wish contradicts itself
    if dice.random() < 0.2:
        wish["unreachable_counts_for"] = 0
    if metrics and dice.random() < 0.2:
        wish["metrics_server_replicas"] = dice.randint(1, eligible)
    return wish

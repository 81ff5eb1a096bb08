# SPDX-License-Identifier: GPL-3.0-or-later
"""What really becomes of pods that the helper would not place: they are made all the same, and looked at."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from cells import Cell, Node
from cluster import Json
from fleet import COREDNS, DAEMONSETS, DEPLOYMENTS, JUDGE, METRICS, PODS, Fleet, is_running

QUIET = 4.0  # seconds without any change after which nothing more will come: the scheduler tries again sooner
LONGEST = 60.0
ROOMY = {"metrics_server_strategy": "replicas", "local_path_provisioner_strategy": "packaged"}
LAID = "prediction"  # who lays our fields over k3s's here

APART = [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"example.org/judged": "apart"}}}]


def learn(fleet: Fleet) -> dict[str, list[Json]]:
    """What the helper makes of each strategy, on a cluster that has room for all."""
    roomy = [Node(name, name, _labels(name), [], "ready", 4000, 8192, 110) for name in ("a", "b", "c", "d")]
    fleet.become(Cell(0, roomy, 1, ["a"], ["a"], {}))
    return {
        "replicas": fleet.manifests({**ROOMY, "coredns_strategy": "replicas"}),
        **{
            f"daemonset {nodes}": fleet.manifests(
                {**ROOMY, "coredns_strategy": "daemonset", "coredns_daemonset_nodes": nodes}
            )
            for nodes in ("all", "control_plane")
        },
    }


def _labels(name: str) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/control-plane": "true",
    }


class Truth:
    """The real scheduler, and the real controllers of Deployments and DaemonSets."""

    def __init__(self, fleet: Fleet, wishes: dict[str, list[Json]]) -> None:
        self.fleet = fleet
        self._wishes = wishes  # by strategy: the objects that `plan -o manifests` prints

    def wished(self, strategy: str, kind: str, name: str) -> Json:
        """Our own set of an object."""
        (found,) = [o for o in self._wishes[strategy] if o["kind"] == kind and o["metadata"]["name"] == name]
        head = {key: found[key] for key in ("apiVersion", "kind")}
        return copy.deepcopy({**head, "metadata": {"name": name}, "spec": found["spec"]})

    def overlay(self, name: str, replicas: int) -> Json:
        """Our set for k3s's Deployment, with this count."""
        body = self.wished("replicas", "Deployment", name)
        body["spec"]["replicas"] = replicas
        body["spec"].pop("minReadySeconds", None)  # not the scheduler's matter, and a while for each pod
        return body

    def beside(self, replicas: int, apart: bool = False) -> list[Json]:
        """So many pods of CoreDNS's new template beside the old ones; gives those that found a place."""
        name = "coredns"
        path = f"{DEPLOYMENTS}/{name}?dryRun=All&fieldManager={LAID}&force=true"
        merged = self.fleet.server.patch(path, self.overlay(name, replicas), "apply-patch+yaml")
        spec = {key: merged["spec"][key] for key in ("replicas", "selector", "template")}
        if apart:
            spec["template"]["metadata"]["labels"]["example.org/judged"] = "apart"
            spec["template"]["spec"]["affinity"] = {
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": APART}
            }
            spec["template"]["spec"].pop("topologySpreadConstraints")
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": JUDGE}, "spec": spec}
        self.fleet.server.request("POST", DEPLOYMENTS, body)
        mine = self._rest(COREDNS, lambda pods: len(_placed(pods, JUDGE)) == replicas)
        self.fleet.delete(f"{DEPLOYMENTS}/{JUDGE}")
        return _placed(mine, JUDGE)

    def in_place(self, name: str, replicas: int) -> bool:
        """Whether the Deployment itself comes to so many replicas with our fields, as a person would roll them out."""
        path = f"{DEPLOYMENTS}/{name}"
        body = self.overlay(name, replicas)
        self.fleet.server.patch(f"{path}?fieldManager={LAID}&force=true", body, "apply-patch+yaml")

        def done(_: list[Json]) -> bool:
            found = self.fleet.server.get(path)
            status = found.get("status", {})
            counts = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
            seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            return seen and all(count == replicas for count in counts)

        self._rest(COREDNS if name == "coredns" else METRICS, done)
        return done([])

    def daemons(self, nodes: str) -> bool:
        """Whether a DaemonSet comes up on each node that it is for, beside what there is."""
        body = self.wished(f"daemonset {nodes}", "DaemonSet", "k3s-core-ha-coredns")
        body["metadata"]["name"] = JUDGE
        self.fleet.server.request("POST", DAEMONSETS, body)

        def done(_: list[Json]) -> bool:
            status = self.fleet.server.get(f"{DAEMONSETS}/{JUDGE}").get("status", {})
            wished = status.get("desiredNumberScheduled", 0)
            return status.get("observedGeneration", 0) > 0 and 0 < wished == status.get("numberAvailable", 0)

        self._rest(COREDNS, done)
        return done([])

    def daemon_hosts(self, cell: Cell, nodes: str) -> int:
        """On how many hosts such a DaemonSet comes up."""
        self.daemons(nodes)
        return len(hosts(cell, _placed(self.fleet.pods(), JUDGE)))

    def _rest(self, component: str, done: Callable[[list[Json]], bool]) -> list[Json]:
        """Wait until it is done, or nothing happens any more; gives the component's pods."""
        start = changed = time.monotonic()
        last: list[tuple[str, ...]] = []
        while True:
            pods = self.fleet.server.get(f"{PODS}?labelSelector=k8s-app%3D{component}")["items"]
            if done(pods):
                return pods
            now = time.monotonic()
            if (shape := sorted(map(_shape, pods))) != last:
                last, changed = shape, now
            if (pods and now - changed > QUIET) or now - changed > 2 * QUIET or now - start > LONGEST:
                return pods
            time.sleep(0.3)


def _placed(pods: list[Json], maker: str) -> list[Json]:
    return [pod for pod in pods if pod["metadata"].get("generateName", "").startswith(f"{maker}-") and is_running(pod)]


def _shape(pod: Json) -> tuple[str, ...]:
    """What of a pod moves as long as it may still get somewhere."""
    status = pod["status"]
    nominated = status.get("nominatedNodeName", "")
    gone = pod["metadata"].get("deletionTimestamp", "")
    return (pod["metadata"]["name"], pod["spec"].get("nodeName", ""), status["phase"], nominated, gone)


def hosts(cell: Cell, pods: list[Json]) -> set[str]:
    """Where pods are."""
    by_name = {node.name: node.host for node in cell.nodes}
    return {by_name[pod["spec"]["nodeName"]] for pod in pods}

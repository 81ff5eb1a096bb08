# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of real nodes, and the helper on its first server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from typing import Any

from cluster import ROOT, Cluster, Json, is_ready, wait_for
from probe import PROBE

HELPER = ROOT / "build" / "k3s-core-ha-x86_64"
INSTALLED = "/usr/local/bin/k3s-core-ha"  # where the role puts the helper
MANIFESTS = "/var/lib/rancher/k3s/server/manifests"
METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
PACKAGED = {
    "coredns_strategy": "packaged",
    "metrics_server_strategy": "packaged",
    "local_path_provisioner_strategy": "packaged",
}
LENT = ("coredns", "metrics-server", "local-path-provisioner")  # Deployments that we lay fields over
# What else k3s ships of them that we may hold for a time.
BESIDE = (
    ("configmaps", "coredns"),
    ("serviceaccounts", "coredns"),
    ("clusterroles", "system:coredns"),
    ("clusterrolebindings", "system:coredns"),
    ("services", "metrics-server"),
    ("apiservices", "v1beta1.metrics.k8s.io"),
    ("serviceaccounts", "metrics-server"),
    ("clusterroles", "system:metrics-server"),
    ("clusterroles", "system:aggregated-metrics-reader"),
    ("clusterrolebindings", "system:metrics-server"),
    ("clusterrolebindings", "metrics-server:system:auth-delegator"),
    ("rolebindings", "metrics-server-auth-reader"),
    ("configmaps", "local-path-config"),
    ("serviceaccounts", "local-path-provisioner-service-account"),
    ("clusterroles", "local-path-provisioner-role"),
    ("clusterrolebindings", "local-path-provisioner-bind"),
    ("storageclasses", "local-path"),
)
MANAGERS = ("--show-managed-fields", "-o", "json")
KINDS = (
    "deployments,daemonsets,controllerrevisions,horizontalpodautoscalers,poddisruptionbudgets,configmaps,pods,"
    "roles,rolebindings,leases"
)
OF_CHARTS = (
    "deployments,services,configmaps,serviceaccounts,jobs,clusterroles,clusterrolebindings,roles,rolebindings,secrets"
)


class Nodes(Cluster):
    """A cluster of this topology, with these options of the sandbox's `up`."""

    def __init__(self, name: str, topology: str, *options: str) -> None:
        super().__init__(name)
        self.topology = topology
        self.options = options
        self.names: list[str] = []

    def start(self) -> None:
        """Start it anew, with a probe on each node."""
        self.sandbox("down")
        self.up(self.topology, *self.options)
        self.names = [node["metadata"]["name"] for node in self.get("nodes")]
        for node in self.names:
            self.sandbox("exec", node, "sh", "-c", f"cat >{PROBE} && chmod 755 {PROBE}", stdin=HELPER.read_bytes())
        wait_for("metrics", self.metrics, 120)

    @contextlib.contextmanager
    def started(self) -> Iterator[Nodes]:
        """It, up for as long as it is entered. KEEP=1 leaves it up."""
        try:
            self.start()
            yield self
        finally:
            if not os.environ.get("KEEP"):
                self.sandbox("down")

    def get(self, kind: str, *words: str) -> list[Json]:
        """Objects of kube-system, with their managers."""
        words = ("get", kind, "-n", "kube-system", *MANAGERS, *words)
        return json.loads(self.sandbox("kubectl", *words))["items"]

    def one(self, kind: str, name: str) -> Json:
        """One of them."""
        (found,) = self.get(kind, f"--field-selector=metadata.name={name}")
        return found

    def helper(self, verb: str, spec: dict[str, Any], *more: str) -> Json:
        """A run of the helper on the first server."""
        done = self.outcome(verb, spec, *more)
        assert done.returncode == 0, f"{verb}: {done.returncode} {done.stdout[-2000:]} {done.stderr[-3000:]}"
        return json.loads(done.stdout)

    def refused(self, spec: dict[str, Any], *more: str) -> Json:
        """An apply that must fail; gives what it says."""
        done = self.outcome("apply", spec, *more)
        assert done.returncode != 0, done.stdout
        return json.loads(done.stdout)

    def outcome(self, verb: str, spec: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
        """A run of the helper on the first server, however it ends."""
        words = ("exec", "server-1", PROBE, "-o", "json", "--wait-api", "120", verb, "--spec", "-", *more)
        return self.run(*words, stdin=json.dumps(spec).encode(), timeout=600)

    def metrics(self, least: int = 0) -> bool:
        """Whether metrics-server answers for so many nodes; 0: for every one."""
        done = self.run("kubectl", "get", "--raw", METRICS)
        return done.returncode == 0 and len(json.loads(done.stdout)["items"]) >= (least or len(self.names))

    def set_aside(self, names: list[str], former: Iterable[str] = ()) -> list[str]:
        """Have k3s leave these of its manifests alone, and of all others only those that a wish had before; gives the
        words by which the helper is told of the first.
        """
        servers = [node for node in self.names if node.startswith("server")]
        for server in servers:
            self.sandbox("exec", server, "find", MANIFESTS, "-name", "*.skip", "-delete")
            for name in {*names, *former}:
                self.sandbox("exec", server, "touch", f"{MANIFESTS}/{name}.yaml.skip")
        return [f"--set-aside={server}={','.join(names)}" for server in servers]

    def carriers(self) -> list[str]:
        """Install the helper on each server; gives the words by which a run is told."""
        servers = [node for node in self.names if node.startswith("server")]
        for server in servers:
            self.sandbox("exec", server, "install", "-m", "755", PROBE, INSTALLED)
        return [word for server in servers for word in ("--carrier", server)]

    def specs(self) -> dict[str, Json]:
        """What each Deployment is to be, in every namespace."""
        return {one["metadata"]["name"]: one["spec"] for one in self._deployments()}

    def short_of_replicas(self) -> list[str]:
        """The Deployments that have fewer replicas that serve than they are to have."""
        found = self._deployments()
        return [d["metadata"]["name"] for d in found if d["status"].get("availableReplicas", 0) < d["spec"]["replicas"]]

    def _deployments(self) -> list[Json]:
        return json.loads(self.sandbox("kubectl", "get", "deployments", "--all-namespaces", "-o", "json"))["items"]

    def generations(self) -> list[int]:
        """How often what each Deployment is to be was changed."""
        return [self.one("deployments", name)["metadata"]["generation"] for name in LENT]

    def endpoints(self) -> list[str]:
        """The nodes of the ready endpoints of cluster DNS."""
        slices = self.get("endpointslices", "-l", "kubernetes.io/service-name=kube-dns")
        ends = [end for part in slices for end in part.get("endpoints") or []]
        return sorted(end["nodeName"] for end in ends if end["conditions"]["ready"])

    def times_applied(self) -> int:
        """How often k3s has gone through its manifests, on whatever server; 0 while no API answers. Told by one that
        comes behind those of the components, and is never set aside.
        """
        words = ("--field-selector", "reason=AppliedManifest,involvedObject.name=rolebindings", "-o", "json")
        done = self.run("kubectl", "get", "events", "-n", "kube-system", *words)
        if done.returncode != 0:
            return 0
        return sum(event.get("count") or 1 for event in json.loads(done.stdout)["items"])

    def restart(self) -> int:
        """Restart k3s on every node, the servers first; the API is not waited for. Gives times_applied() of before."""
        before = self.times_applied()
        for node in self.names:
            unit = "k3s" if node.startswith("server") else "k3s-agent"
            self.sandbox("exec", node, "systemctl", "restart", unit)
        return before

    def restart_all(self, *, metrics: bool = True) -> None:
        """Restart k3s everywhere, until each server has applied its own manifests anew: only then is it clear what a
        restart leaves alone. And, unless there are to be none, until there are metrics.
        """
        applied = self.restart()
        for node in self.names:
            wait_for(f"{node} ready", lambda node=node: self.ready(node), 120)
        servers = sum(node.startswith("server") for node in self.names)
        wait_for("each server's own manifests applied anew", lambda: self.times_applied() >= applied + servers, 120)
        if metrics:
            wait_for("metrics", self.metrics, 120)

    def zone_of_each(self) -> dict[str, str]:
        """The zones of all nodes by their names; empty where no label tells."""
        found = [node["metadata"] for node in self.get("nodes")]
        return {node["name"]: node["labels"].get("topology.kubernetes.io/zone", "") for node in found}

    def zones(self, nodes: list[str]) -> set[str]:
        """Those that the nodes are in."""
        zones = self.zone_of_each()
        return {zones[node] for node in nodes}

    def ready(self, node: str) -> bool:
        """Whether the node is Ready; an API that does not answer says no."""
        done = self.run("kubectl", "get", "node", node, "-o", "json")
        return done.returncode == 0 and is_ready(json.loads(done.stdout))

    def kill(self, node: str) -> float:
        """Cut its power; gives the time."""
        at = time.time()
        self.sandbox("kill", node)
        return at

    def left_of_charts(self) -> list[str]:
        """What a way back has left of charts of ours, where there is a helm-controller."""
        made = [one["metadata"]["name"] for one in self.get(OF_CHARTS)]
        ours = [one["metadata"]["name"] for one in self.get("helmcharts,helmchartconfigs") if is_ours(one)]
        return ours + [name for name in made if any(f"{component}-ha" in name for component in LENT)]

    def left_of_ours(self) -> list[str]:
        """What a way back has left of ours: objects, fields, labels, annotations."""
        left = [f"{one['kind']} {one['metadata']['name']}" for one in self.get(KINDS) if is_ours(one)]
        lent = [self.one("deployments", name) for name in LENT]
        lent += [self.one(kind, name) for kind, name in BESIDE]
        for thing in [*lent, self.one("services", "kube-dns"), *self.get("pods"), *self.get("nodes")]:
            about = thing["metadata"]
            managers = {
                entry["manager"] for entry in about.get("managedFields", []) if entry.get("subresource") != "scale"
            }
            ours = [m for m in managers if m.startswith("k3s-core-ha")]
            ours += [key for key in {**about.get("labels", {}), **about.get("annotations", {})} if "k3s-core-ha" in key]
            left += [f"{thing['kind']} {about['name']}: {what}" for what in ours]
        return left


def is_ours(thing: Json) -> bool:
    """Whether we made the object, by its name or its label; `lead` labels its Lease not."""
    about = thing["metadata"]
    labels = about.get("labels", {})
    return about["name"].startswith("k3s-core-ha") or labels.get("app.kubernetes.io/managed-by") == "k3s-core-ha"

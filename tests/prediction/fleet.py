# SPDX-License-Identifier: GPL-3.0-or-later
"""One API server with its real scheduler and controllers, which is made a random cell after the other.

Every cell has nodes of its own, which exist for the API server alone. The Deployments of k3s are made anew for each,
as k3s made them: by the same field manager, with the annotation of what it applied. The pods that a cell begins with
carry the hash of the Deployment's template, so that its ReplicaSet adopts them where they are.
"""

from __future__ import annotations

import copy
import json
import pathlib
import subprocess
import time
from typing import Any

import yaml
from cells import PRIORITIES, Cell, Node
from cluster import ROOT, ApiError, Json, Server, is_ready, wait_for

HELPER = ROOT / "build" / "k3s-core-ha"
LONGEST = 400  # seconds that a run of the helper may take
OURS = "k3s-core-ha"
K3S = "deploy@server-1"
REAL = "/api/v1/nodes/server-1"
LABEL = "example.org/prediction"
NODES = "/api/v1/nodes"
SYSTEM = "namespaces/kube-system"
PODS = f"/api/v1/{SYSTEM}/pods"
PREEMPTED = f"/api/v1/{SYSTEM}/events?fieldSelector=reason%3DPreempted"
OTHERS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = f"/apis/apps/v1/{SYSTEM}/deployments"
DAEMONSETS = f"/apis/apps/v1/{SYSTEM}/daemonsets"
SETS = f"/apis/apps/v1/{SYSTEM}/replicasets"
SERVICE = f"/api/v1/{SYSTEM}/services/kube-dns"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
COREDNS, METRICS = "kube-dns", "metrics-server"  # values of the label k8s-app
COMPONENTS = "k8s-app%20in%20(kube-dns,metrics-server)"
RETIRING = "k3s-core-ha%2Fretiring"
JUDGE = "judge"
BACKOFF = 10  # seconds at most between two looks of the scheduler at a pod without a node (podMaxBackoffSeconds)
LEFT = (
    f"/apis/autoscaling/v2/{SYSTEM}/horizontalpodautoscalers/k3s-core-ha-coredns",
    f"/apis/policy/v1/{SYSTEM}/poddisruptionbudgets/k3s-core-ha-coredns",
    f"/apis/policy/v1/{SYSTEM}/poddisruptionbudgets/k3s-core-ha-metrics-server",
    f"/api/v1/{SYSTEM}/configmaps/k3s-core-ha",
)
# What each state puts on a node, in the scheduler's eyes.
PASSING = {
    "cordoned": "unschedulable",
    "not-ready": "not-ready",
    "unreachable": "unreachable",
    "pressure": "disk-pressure",
}


class Fleet:
    """The cluster that becomes each cell."""

    def __init__(self, server: Server, kubeconfig: pathlib.Path) -> None:
        self.server = server
        self.kubeconfig = kubeconfig
        for name, value in PRIORITIES.items():
            if name.startswith("prediction-") and not server.find(f"{CLASSES}/{name}"):
                head = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
                server.request("POST", CLASSES, {**head, "value": value})
        self.shipped = {
            name: _as_shipped(server.get(f"{DEPLOYMENTS}/{name}")) for name in ("coredns", "metrics-server")
        }
        taint = {"key": "example.org/reserved", "effect": "NoSchedule"}
        server.patch(REAL, {"spec": {"taints": [taint]}})  # there a pod's start would take time
        self.clear()
        self.hashes: dict[str, str] = {}

    def helper(self, verb: str, wish: Json) -> tuple[int, Json]:
        """A run of the helper; gives its exit status and its result."""
        command = [str(HELPER), "--kubeconfig", str(self.kubeconfig), "-o", "json", verb, "--spec", "-"]
        done = subprocess.run(command, input=json.dumps(wish), capture_output=True, text=True, timeout=LONGEST)
        return done.returncode, json.loads(done.stdout)

    def manifests(self, wish: Json) -> list[Json]:
        """The objects of a wish, as `plan -o manifests` prints them."""
        command = [str(HELPER), "--kubeconfig", str(self.kubeconfig), "-o", "manifests", "plan", "--spec", "-"]
        done = subprocess.run(command, input=json.dumps(wish), capture_output=True, text=True, timeout=LONGEST)
        assert done.returncode == 0, done.stderr
        return [body for body in yaml.safe_load_all(done.stdout) if body]

    def delete(self, path: str, selector: str = "") -> None:
        """An object, or those of a list; what is not there is gone already."""
        try:
            body = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
            self.server.request("DELETE", path + (f"?labelSelector={selector}" if selector else ""), body)
        except ApiError as error:
            if error.status != 404:
                raise

    def clear(self) -> None:
        """Take the last cell away, whatever became of it."""
        for path in (
            *LEFT,
            *(f"{DEPLOYMENTS}/{name}" for name in (*self.shipped, JUDGE)),
            *(f"{DAEMONSETS}/{name}" for name in ("k3s-core-ha-coredns", JUDGE)),
        ):
            self.delete(path)
        head = {"apiVersion": "v1", "kind": "Service"}
        self.server.patch(f"{SERVICE}?fieldManager={OURS}&force=true", head, "apply-patch+yaml")

        def gone() -> bool:
            for path, selector in ((SETS, COMPONENTS), (PODS, COMPONENTS), (PODS, RETIRING), (OTHERS, LABEL)):
                self.delete(path, selector)
            left = self.server.get(f"{SETS}?labelSelector={COMPONENTS}")["items"]
            return not (left or self.pods() or self.server.get(f"{OTHERS}?labelSelector={LABEL}")["items"])

        wait_for("no pod of the last cell", gone)
        self.delete(NODES, LABEL)
        for node in self.server.get(NODES)["items"]:  # the fleet's own
            if node["metadata"]["name"] != "server-1":
                self.delete(f"{NODES}/{node['metadata']['name']}")

    def leave(self) -> None:
        """What k3s ships is there again, for the next run."""
        self.clear()
        for name in self.shipped:
            self.ship(name, 1)

    def pods(self) -> list[Json]:
        """Those of CoreDNS and metrics-server, also the ones that are about to go."""
        found = [pod for query in (COMPONENTS, RETIRING) for pod in self._list(PODS, query)]
        return list({pod["metadata"]["uid"]: pod for pod in found}.values())

    def pushed_out(self) -> set[str]:
        """The pods of CoreDNS, those of metrics-server are of too high a priority, that were pushed out so far."""
        return {event["involvedObject"]["name"] for event in self.server.get(PREEMPTED)["items"]}

    def others(self) -> set[str]:
        """The other pods that run."""
        return {pod["metadata"]["name"] for pod in self._list(OTHERS, LABEL)}

    def _list(self, path: str, selector: str) -> list[Json]:
        return self.server.get(f"{path}?labelSelector={selector}")["items"]

    def become(self, cell: Cell) -> None:
        """The cell: its nodes, who runs there, what has become of the nodes since, and k3s's Deployments."""
        self.clear()
        for node in cell.nodes:
            self.server.request("POST", NODES, _node(node))
        for node in cell.nodes:
            for i, (name, cpu, memory) in enumerate(node.others):
                self.server.request("POST", OTHERS, _other(f"{node.name}-{i}", node.name, name, cpu, memory))
        for name, nodes in (("coredns", cell.placed), ("metrics-server", cell.metrics)):
            for node in nodes:
                self._place(name, node)
        wait_for("the cell's pods", self._all_run)
        for node in cell.nodes:
            self._change(node)
        wait_for("the nodes' taints", lambda: all(self._tainted(node) for node in cell.nodes))
        for name, count in (("coredns", cell.replicas), ("metrics-server", len(cell.metrics))):
            if count:
                self.ship(name, count)
        wait_for("CoreDNS as it was", lambda: self._at_rest("coredns", cell.replicas))
        if not all(map(is_running, self.pods())):
            time.sleep(BACKOFF)  # as in a cluster that has been so for long: it looks again as soon as anything changes

    def _all_run(self) -> bool:
        pods = [*self.pods(), *self._list(OTHERS, LABEL)]
        return all(pod["status"]["phase"] == "Running" for pod in pods)

    def ship(self, name: str, replicas: int) -> None:
        """The Deployment as k3s makes it."""
        body = copy.deepcopy(self.shipped[name])
        body["spec"]["replicas"] = replicas
        self.server.request("POST", f"{DEPLOYMENTS}?fieldManager={K3S}", body)

    def _at_rest(self, name: str, replicas: int) -> bool:
        """Whether the Deployment has its pods, and each of them runs or is said to have no place."""
        status = self.server.get(f"{DEPLOYMENTS}/{name}").get("status", {})
        pods = self._list(PODS, f"k8s-app%3D{COREDNS}")
        return status.get("replicas") == replicas == len(pods) and all(map(is_settled, pods))

    def _place(self, name: str, node: str) -> None:
        shipped = self.shipped[name]
        if name not in self.hashes:
            self.hashes[name] = self._hash(name)
        pod = copy.deepcopy(shipped["spec"]["template"])
        label = {"pod-template-hash": self.hashes[name]}
        about = {
            "generateName": f"{name}-{self.hashes[name]}-",
            "labels": pod.get("metadata", {}).get("labels", {}) | label,
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {**pod["spec"], "nodeName": node}}
        self.server.request("POST", PODS, body)

    def _hash(self, name: str) -> str:
        """What the Deployment's controller labels its pods with."""
        body = copy.deepcopy(self.shipped[name])
        body["metadata"]["name"] = JUDGE
        body["spec"]["replicas"] = 0
        self.server.request("POST", DEPLOYMENTS, body)

        def found() -> str:
            sets = [s for s in self._list(SETS, COMPONENTS) if s["metadata"]["name"].startswith(JUDGE)]
            return sets[0]["metadata"]["labels"]["pod-template-hash"] if sets else ""

        made = str(wait_for("a ReplicaSet", found))
        self.delete(f"{DEPLOYMENTS}/{JUDGE}")
        wait_for("no ReplicaSet", lambda: not found())
        return made

    def _change(self, node: Node) -> None:
        path = f"{NODES}/{node.name}"
        if node.state == "cordoned":
            self.server.patch(path, {"spec": {"unschedulable": True}})
        elif node.state == "pressure":
            self._condition(path, "DiskPressure", "True")
        elif node.state in ("not-ready", "unreachable"):
            self.server.patch(path, {"metadata": {"annotations": {"kwok.x-k8s.io/node": None}}})
            self._condition(path, "Ready", "False" if node.state == "not-ready" else "Unknown")

    def _condition(self, path: str, kind: str, status: str) -> None:
        condition = {"type": kind, "status": status, "reason": "Cell", "message": "", **_since()}
        body = {"status": {"conditions": [condition]}}
        self.server.patch(f"{path}/status", body, "strategic-merge-patch+json")

    def _tainted(self, node: Node) -> bool:
        """Whether the node's controller has said what the scheduler is to know."""
        found = self.server.get(f"{NODES}/{node.name}")
        taints = {t["key"].removeprefix("node.kubernetes.io/") for t in found["spec"].get("taints", [])}
        expected = {PASSING[node.state]} if node.state in PASSING else set()
        return {t for t in taints if "/" not in t} == expected


def is_settled(pod: Json) -> bool:
    """Whether it runs, or the scheduler has found no place for it."""
    conditions = pod["status"].get("conditions", [])
    return pod["status"]["phase"] == "Running" or any(c.get("reason") == "Unschedulable" for c in conditions)


def is_running(pod: Json) -> bool:
    """Whether it serves and stays."""
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def _since() -> Json:
    """Not of this very second: after 0 s of silence a node counts still, and a second later no more."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 2))
    return {"lastHeartbeatTime": moment, "lastTransitionTime": moment}


def _as_shipped(deployment: Json) -> Json:
    """What k3s sent, as far as the server keeps it."""
    about = deployment["metadata"]
    kept = {key: about[key] for key in ("name", "namespace", "labels", "annotations")}
    kept["annotations"].pop("deployment.kubernetes.io/revision", None)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": kept, "spec": deployment["spec"]}


def _node(node: Node) -> Json:
    """No internal address: no real node would find a route to its pods."""
    room = {"cpu": f"{node.cpu}m", "memory": f"{node.memory}Mi", "pods": str(node.pods)}
    about = {"name": node.name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {**node.labels, LABEL: "node"}}
    well = {"Ready": "True", "DiskPressure": "False", "MemoryPressure": "False", "PIDPressure": "False"}
    conditions = [{"type": kind, "status": status, "reason": "Cell", **_since()} for kind, status in well.items()]
    taints = [dict(zip(("key", "value", "effect"), _parts(taint), strict=True)) for taint in node.taints]
    status = {"capacity": room, "allocatable": room, "conditions": conditions, "nodeInfo": _info()}
    return {"apiVersion": "v1", "kind": "Node", "metadata": about, "spec": {"taints": taints}, "status": status}


def _parts(taint: str) -> tuple[str, str, str]:
    key, _, rest = taint.partition("=")
    value, _, effect = rest.partition(":")
    return key, value, effect


def _info() -> Json:
    named = "architecture bootID containerRuntimeVersion kernelVersion kubeProxyVersion machineID osImage systemUUID"
    return dict.fromkeys(named.split(), "") | {"kubeletVersion": "kwok", "operatingSystem": "linux"}


def _other(name: str, node: str, priority: str, cpu: int, memory: int) -> Json:
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    container: dict[str, Any] = {"name": "other", "image": "other", "resources": {"requests": requests}}
    # Their grace period is the usual one, though they end at once: where it is 0, and pods vanish without having been
    # about to go, the scheduler of 1.36 was seen to leave the pod that pushed them out where it was.
    spec: dict[str, Any] = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
    if priority:
        spec["priorityClassName"] = priority
    about = {"name": name, "labels": {LABEL: "other"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}

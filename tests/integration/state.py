# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is like as far as the helper makes it, without what differs from one run to the next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cluster import Json, Server, Watching, is_ready, wait_for

if TYPE_CHECKING:
    from typing import Self

MANAGER = "k3s-core-ha"
RETIRING = "k3s-core-ha/retiring"
HASH = "pod-template-hash"
SYSTEM = "namespaces/kube-system"
DEPLOYMENT = f"/apis/apps/v1/{SYSTEM}/deployments/coredns"
SCALE = f"{DEPLOYMENT}/scale"
DAEMONSET = f"/apis/apps/v1/{SYSTEM}/daemonsets/k3s-core-ha-coredns"
REVISIONS = f"/apis/apps/v1/{SYSTEM}/controllerrevisions?labelSelector=k3s-core-ha%2Fcomponent%3Dcoredns"
SERVICE = f"/api/v1/{SYSTEM}/services/kube-dns"
AUTOSCALER = f"/apis/autoscaling/v2/{SYSTEM}/horizontalpodautoscalers/k3s-core-ha-coredns"
BUDGET = f"/apis/policy/v1/{SYSTEM}/poddisruptionbudgets/k3s-core-ha-coredns"
METRICS = f"/apis/apps/v1/{SYSTEM}/deployments/metrics-server"
METRICS_BUDGET = f"/apis/policy/v1/{SYSTEM}/poddisruptionbudgets/k3s-core-ha-metrics-server"
METRICS_ACCOUNT = f"/api/v1/{SYSTEM}/serviceaccounts/metrics-server"
CONFIG = f"/api/v1/{SYSTEM}/configmaps/coredns"
ACCOUNT = f"/api/v1/{SYSTEM}/serviceaccounts/coredns"
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns"
BINDING = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:coredns"
WISH = f"/api/v1/{SYSTEM}/configmaps/k3s-core-ha"
PODS = f"/api/v1/{SYSTEM}/pods"
SETS = f"/apis/apps/v1/{SYSTEM}/replicasets"
SLICES = f"/apis/discovery.k8s.io/v1/{SYSTEM}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkube-dns"

# What the server and its controllers add and count by themselves.
COUNTED = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
LONGEST = 1000  # characters of a value in a message
COUNTING = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")  # annotations


def _ours(thing: Json) -> list[Json]:
    """The fields that are ours by managedFields; who set a count through the scale subresource last is not always noted
    by the server (where nobody owned the count before, it is not).
    """
    entries = thing["metadata"].get("managedFields", [])
    kept = [
        {key: entry[key] for key in ("manager", "operation", "fieldsV1")}
        for entry in entries
        if entry["manager"].startswith(MANAGER) and entry.get("subresource") != "scale"
    ]
    return sorted(kept, key=json.dumps)


def _lasting(thing: Json | None) -> Json | None:
    """An object without its status and what is counted."""
    if thing is None:
        return None
    metadata = {key: value for key, value in thing["metadata"].items() if key not in COUNTED}
    for annotation in COUNTING:
        metadata.get("annotations", {}).pop(annotation, None)
    rest = {key: value for key, value in thing.items() if key not in ("metadata", "status")}
    return {"metadata": metadata, "ours": _ours(thing), **rest}


def _of_coredns(thing: Json) -> bool:
    labels = thing["metadata"].get("labels", {})
    made = thing["metadata"]["name"].startswith(("coredns-", "k3s-core-ha-coredns-"))
    return labels.get("k8s-app") == "kube-dns" or RETIRING in labels or made


def state(server: Server) -> Json:
    """Everything of CoreDNS's, everything of ours, and metrics-server, which a wish for CoreDNS has more of, too."""
    pods = [pod for pod in server.get(PODS)["items"] if _of_coredns(pod)]
    sets = [one for one in server.get(SETS)["items"] if _of_coredns(one) and one["spec"]["replicas"] > 0]
    template = sets[0]["metadata"]["labels"][HASH] if sets else None
    return {
        "deployment": _lasting(server.get(DEPLOYMENT)),
        "daemonset": _lasting(server.find(DAEMONSET)),
        "revisions": [one["metadata"]["name"] for one in server.get(REVISIONS)["items"]],
        "service": _lasting(server.get(SERVICE)),
        "others": [_lasting(server.get(path)) for path in (CONFIG, ACCOUNT, ROLE, BINDING)],
        "autoscaler": _lasting(server.find(AUTOSCALER)),
        "budget": _lasting(server.find(BUDGET)),
        "metrics": [_lasting(server.find(path)) for path in (METRICS, METRICS_BUDGET, METRICS_ACCOUNT)],
        "wish": _lasting(server.find(WISH)),
        "sets": [one["spec"]["replicas"] for one in sets],
        "pods": sorted(([_labels(pod, template), is_ready(pod)] for pod in pods), key=json.dumps),
    }


def settled(server: Server) -> Json:
    """The state once there are as many pods as wished, and all of them are ready."""

    def rest() -> Json | None:
        found = state(server)
        there = [ready for _, ready in found["pods"]]
        wished = found["deployment"]["spec"]["replicas"]
        if found["daemonset"] is not None:
            wished += server.get(DAEMONSET)["status"]["desiredNumberScheduled"]
        return found if len(there) == wished and all(there) else None

    return wait_for("CoreDNS at rest", rest)


def _labels(pod: Json, template: str | None) -> Json:
    """A pod's labels; its template's hash as whether it is the one in force."""
    labels = dict(pod["metadata"]["labels"])
    return {**labels, HASH: labels.get(HASH) == template}


def difference(wanted: Any, found: Any, path: str = "") -> str:
    """The first places where two states differ, for a person; empty where they do not."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        places = (difference(wanted.get(key), found.get(key), f"{path}.{key}") for key in sorted({*wanted, *found}))
        return "; ".join(place for place in places if place)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        places = (difference(*pair, f"{path}[{i}]") for i, pair in enumerate(zip(wanted, found, strict=True)))
        return "; ".join(place for place in places if place)
    if wanted == found:
        return ""
    return f"{path}: {json.dumps(wanted)[:LONGEST]} is wished, {json.dumps(found)[:LONGEST]} is there"


class Endpoints(Watching):
    """Watches the endpoints of cluster DNS."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, SLICES)
        self.seen: list[frozenset[str]] = []  # the pods that were ready, from each change on
        self._slices: dict[str, frozenset[str]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        wait_for("an EndpointSlice of kube-dns", lambda: self.seen, 30)
        return self

    def take(self, event: Json) -> None:
        """Go on with this event."""
        thing = event["object"]
        endpoints = [] if event["type"] == "DELETED" else thing.get("endpoints") or []
        self._slices[thing["metadata"]["name"]] = frozenset(
            endpoint["targetRef"]["name"] for endpoint in endpoints if endpoint["conditions"].get("ready", True)
        )
        self.seen.append(frozenset().union(*self._slices.values()))

    def below(self, wished: int) -> list[str]:
        """When too few were ready: fewer than all but one of the first, before as many new ones as wished were."""
        floor = max(1, len(self.seen[0]) - 1)
        return [
            f"{len(ready)} of at first {len(self.seen[0])}, {len(ready - self.seen[0])} of them new"
            for ready in self.seen
            if not ready or (len(ready) < floor and len(ready - self.seen[0]) < wished)
        ]

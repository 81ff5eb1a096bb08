# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of local-path-provisioner there are at a time."""

from __future__ import annotations

from cluster import Json, Server, Watching

PODS = "/api/v1/namespaces/kube-system/pods"
CHART, STANDBY, SHIPPED = "local-path-provisioner-ha", "k3s-core-ha-local-path-provisioner", "local-path-provisioner"


def kind(pod: Json) -> str | None:
    """Whose the pod is: k3s's, ours behind the Lease, or the chart's; None: it is no provisioner."""
    labels = pod["metadata"].get("labels", {})
    names = (labels.get("app.kubernetes.io/name"), labels.get("app"))
    return next((name for name in names if name in (CHART, STANDBY, SHIPPED)), None)


class Active:
    """Which may be active, by the events of a watch: those that have a node and have not ended."""

    def __init__(self) -> None:
        self.several: list[list[str]] = []  # each time that there were
        self.seen: set[str] = set()
        self._pods: dict[str, Json] = {}

    def take(self, event: Json) -> None:
        """Go on with this event."""
        pod = event["object"]
        self._pods[pod["metadata"]["uid"]] = pod
        if event["type"] == "DELETED":
            del self._pods[pod["metadata"]["uid"]]
        self._look()

    def _look(self) -> None:
        names: dict[str, list[str]] = {CHART: [], STANDBY: [], SHIPPED: []}
        for pod in self._pods.values():
            if kind(pod) and pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                names[kind(pod)].append(pod["metadata"]["name"])
        active = names[CHART] + names[SHIPPED]
        # The Lease has one of those behind it be active, and none beside k3s's, for whose end they wait.
        if not names[SHIPPED]:
            active += names[STANDBY][:1]
        self.seen.update(active)
        if len(active) > 1:
            self.several.append(active)


class Provisioners(Active, Watching):
    """Watches them for as long as it is entered."""

    def __init__(self, server: Server) -> None:
        Active.__init__(self)
        Watching.__init__(self, server, PODS)

    def __exit__(self, failed: object, *_: object) -> None:
        super().__exit__(failed)
        assert failed is not None or self.several == []

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of local-path-provisioner there are at a time."""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import TYPE_CHECKING

from cluster import Json, Server, hang_up

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def take(self, events: Iterable[Json]) -> None:
        """Go on with these events."""
        for event in events:
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


class Provisioners(Active):
    """Watches for as long as it is entered."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._began = threading.Event()
        self._connection: http.client.HTTPSConnection | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Provisioners:
        self._thread.start()
        assert self._began.wait(30), "the watch of pods did not begin"
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        lived = self._thread.is_alive()
        if self._connection is not None:
            hang_up(self._connection)
        self._thread.join(10)
        if failed is None:
            assert lived, "the watch of pods ended before the run"
            assert self.several == []

    def _start(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection
        self._began.set()

    def _watch(self) -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):  # how the watch is ended
            self.take(self._server.watch(PODS, self._start))

# SPDX-License-Identifier: GPL-3.0-or-later
"""What k3s's helm-controller and Helm do, played by a test on the real API server with their kinds.

Each configuration of a chart gets a job of its own, marked with a hash, which is complete at once; what the chart makes
of its values is up to the test. The real controller leaves alone what is marked as unmanaged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml
from cluster import Json, Server, hang_up, wait_for

if TYPE_CHECKING:
    import http.client

HELM = "/apis/helm.cattle.io/v1/namespaces/kube-system"
CHARTS, CONFIGS = KINDS = (f"{HELM}/helmcharts", f"{HELM}/helmchartconfigs")
JOBS = "/apis/batch/v1/namespaces/kube-system/jobs"
DEPLOYMENTS = "/apis/apps/v1/namespaces/kube-system/deployments"
HASH = "helmcharts.helm.cattle.io/configHash"
UNMANAGED = "helmcharts.helm.cattle.io/unmanaged"


def merged(base: Any, over: Any) -> Any:
    """Values as Helm merges them."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: merged(base.get(key), value) for key, value in over.items()}


def values_of(spec: Json) -> Json:
    """The values of a HelmChart or a HelmChartConfig."""
    return merged(yaml.safe_load(spec.get("valuesContent") or "{}"), spec.get("values") or {})


def hash_of(*specs: Json) -> str:
    """The hash by which a configuration is known."""
    return "SHA256=" + hashlib.sha256(json.dumps(specs, sort_keys=True).encode()).hexdigest().upper()


def make_job(server: Server, chart: str, mark: str) -> bool:
    """The job of that configuration, which the cluster's own controller leaves alone; False where it is there."""
    path = f"{JOBS}/helm-install-{chart}"
    job = server.find(path)
    if job is not None and job["spec"]["template"]["metadata"]["annotations"][HASH] == mark:
        return False
    if job is not None:
        server.request("DELETE", f"{path}?propagationPolicy=Background")
        wait_for("the former job is gone", lambda: server.find(path) is None)
    pod = {"restartPolicy": "OnFailure", "containers": [{"name": "helm", "image": "example.org/helm:1"}]}
    template = {"metadata": {"annotations": {HASH: mark}}, "spec": pod}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"helm-install-{chart}"},
        "spec": {"managedBy": "example.org/the-test", "template": template},
    }
    server.request("POST", JOBS, body)
    return True


def complete(server: Server, chart: str) -> None:
    """The chart's job is at its end."""
    path = f"{JOBS}/helm-install-{chart}"
    now = server.get(path)["metadata"]["creationTimestamp"]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("SuccessCriteriaMet", "Complete")
    ]
    server.patch(f"{path}/status", {"status": {"startTime": now, "completionTime": now, "conditions": conditions}})


class Follower:
    """Calls `take_up` at each change of what is under these paths, one at a time, for as long as it is entered."""

    def __init__(self, server: Server, paths: tuple[str, ...], take_up: Callable[[], None]) -> None:
        self.server = server
        self._take_up = take_up
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._connections: dict[str, http.client.HTTPSConnection] = {}
        self._threads = [threading.Thread(target=self._follow, args=(path,), daemon=True) for path in paths]

    def __enter__(self) -> Follower:
        self.take_up()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for connection in list(self._connections.values()):
            hang_up(connection)
        for thread in self._threads:
            thread.join(10)

    def take_up(self) -> None:
        """What there is to do now."""
        with self._lock:
            self._take_up()

    def _follow(self, path: str) -> None:
        def started(connection: http.client.HTTPSConnection) -> None:
            self._connections[path] = connection
            self.take_up()  # what came before the watch

        while not self._over.is_set():
            with contextlib.suppress(OSError, ValueError):
                for _ in self.server.watch(path, started):
                    self.take_up()

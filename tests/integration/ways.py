# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways from what k3s ships to each strategy and back, undisturbed or ended at a point."""

from __future__ import annotations

import os
import pathlib
import signal

from cluster import Json, Server, wait_for
from helper import Helper, Point, Run
from state import Endpoints, difference, settled, state

PACKAGED = "packaged"
STRATEGIES = ("autoscaling", "replicas", "daemonset", "custom")
CUSTOM_METRICS = "custom metrics-server"
FULL = bool(os.environ.get("FULL"))
# "0/3", "1/3" and "2/3", each with a SANDBOX_NAME of its own, share a full run among three clusters.
SHARD = tuple(int(part) for part in os.environ.get("SHARD", "0/1").split("/"))


def kill_points(run: Run) -> list[Point]:
    """Every point at which such a run can be killed and the next one finds something else.

    Reads change nothing: to die between two of them is to die after the last write. So there are two points for each
    write, before the server has it and before the helper has the answer.
    """
    return [Point(write, forward, signal.SIGKILL) for write in range(len(run.done)) for forward in (False, True)]


def spec(strategy: str) -> Json:
    """The wish for a strategy of CoreDNS, all else by default; what k3s ships is so in every component, but for
    metrics-server where that alone is custom. A DaemonSet's pods are on every node: those whose pods are ready at once
    carry no control plane.
    """
    rest = {"metrics_server_strategy": PACKAGED, "local_path_provisioner_strategy": PACKAGED}
    toleration = {"key": "dedicated", "operator": "Exists"}
    more = {
        PACKAGED: rest,
        "daemonset": {"coredns_daemonset_nodes": "all"},
        "custom": {"coredns_tolerations": [toleration], "coredns_lameduck": 5},
        CUSTOM_METRICS: rest
        | {
            "coredns_strategy": PACKAGED,
            "metrics_server_strategy": "custom",
            "metrics_server_tolerations": [toleration],
        },
    }
    return {"coredns_strategy": strategy} | more.get(strategy, {})


def evenly(points: list[Point], count: int) -> list[Point]:
    """So many of the points, evenly spread; in a full run all of them, or this cluster's share."""
    if FULL:
        return points[SHARD[0] :: SHARD[1]]
    if len(points) <= count:
        return points
    return [points[(2 * i + 1) * len(points) // (2 * count)] for i in range(count)]


class Ways:
    """Knows where the cluster is, and what it must be like there."""

    def __init__(self, server: Server, helper: Helper, manifests: pathlib.Path) -> None:
        self.server = server
        self.helper = helper
        # Of every run.
        self.words = ("--manifests", str(manifests), "--set-aside=server-1=coredns,metrics-server-deployment")
        helper.apply(spec(PACKAGED), *self.words)
        self.at = PACKAGED
        self.ends: dict[str, Json] = {PACKAGED: settled(server)}
        self._known: dict[tuple[str, str], Run] = {}

    def way(self, start: str, end: str) -> Run:
        """The undisturbed run from one to the other; made if it is not known yet."""
        if (start, end) not in self._known:
            self.go(start)
            self.go(end)
        return self._known[start, end]

    def go(self, end: str) -> None:
        """Bring the cluster there, undisturbed."""
        if self.at == end:
            return
        start, self.at = self.at, "on the way"
        with Endpoints(self.server) as endpoints:
            run = self.helper.apply(spec(end), *self.words)
        if end not in self.ends:
            self.ends[end] = settled(self.server)
        self.arrive(end)
        if start in self.ends:
            self._known[start, end] = run
        assert endpoints.below(len(self.ends[end]["pods"])) == []

    def killed(self, end: str, point: Point) -> str:
        """Go there with a run that is killed, and another one; gives the write at which it was."""
        self.at = "on the way"
        with Endpoints(self.server) as endpoints:
            run = self.helper.run("apply", *self.words, spec=spec(end), at=point)
            assert run.status == -signal.SIGKILL, f"exit status {run.status} before write {point.write}: {run.stderr}"
            self.helper.apply(spec(end), *self.words)
        self.arrive(end)
        assert endpoints.below(len(self.ends[end]["pods"])) == []
        return str(run.writes[-1])

    def arrive(self, end: str) -> None:
        """See that the cluster is as it is there: what the run does not wait for is a pod's last moment."""
        self.see(end)
        self.at = end

    def see(self, end: str) -> None:
        """See that the cluster is as at that end."""
        found: list[str] = []

        def same() -> bool:
            found[:] = [difference(self.ends[end], state(self.server))]
            return not found[0]

        try:
            wait_for(f"the state {end}", same, 20)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[0]}") from None

# SPDX-License-Identifier: GPL-3.0-or-later
"""A Deployment of somebody's own: there and back, by runs that are killed anywhere, and what is refused of it."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import signal
import threading
from collections.abc import Iterator

import pytest
from cluster import Cluster, Json, Server, changes, hang_up, wait_for
from helper import Helper, Point
from proxy import Proxy
from state import MANAGER, difference
from test_requests import LATENCY, round_trips
from ways import PACKAGED, Ways, evenly, kill_points, spec

# No namespace of its own: without metrics, as here, none can be removed again.
NAMESPACE = "namespaces/default"
SITE = f"/apis/apps/v1/{NAMESPACE}/deployments/site"
PODS = f"/api/v1/{NAMESPACE}/pods"
CLAIMS = f"/api/v1/{NAMESPACE}/persistentvolumeclaims"
BUDGETS = f"/apis/policy/v1/{NAMESPACE}/poddisruptionbudgets"
LABELS = {"app": "site"}
REVISION = "deployment.kubernetes.io/revision"


def wish(*names: str, **more: int) -> Json:
    """Every component as k3s ships it, and these Deployments."""
    return spec(PACKAGED) | {"extra_deployments": [{"namespace": "default", "name": name, **more} for name in names]}


@pytest.fixture(scope="module")
def shipped(ways: Ways) -> Iterator[None]:
    """A cluster whose components are as k3s ships them."""
    ways.go(PACKAGED)
    ways.at = "a site"
    yield
    ways.go(PACKAGED)


@contextlib.contextmanager
def site(server: Server, **more: Json | int) -> Iterator[None]:
    """The Deployment site as somebody's tool applies it."""
    pod = {
        "containers": [{"name": "site", "image": "example.org/site:1", "env": [{"name": "KEY", "value": "hunter2"}]}]
    }
    pod |= more.pop("pod", {})
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "site"}}
    body["spec"] = {"selector": {"matchLabels": LABELS}, "template": template, **more}
    server.patch(f"{SITE}?fieldManager=kubectl", body, "apply-patch+yaml")
    try:
        yield
    finally:
        server.request("DELETE", SITE)
        server.request("DELETE", BUDGETS)
        wait_for("the end of its pods", lambda: server.get(PODS)["items"] == [])


def made(server: Server) -> Json:
    """What it is like as far as the helper makes it."""
    thing = server.get(SITE)
    metadata = thing["metadata"]
    annotations = {key: value for key, value in metadata.get("annotations", {}).items() if key != REVISION}
    ours = [entry["fieldsV1"] for entry in metadata["managedFields"] if entry["manager"] == MANAGER]
    budgets = [budget["metadata"]["name"] for budget in server.get(BUDGETS)["items"]]
    labels = metadata.get("labels", {})
    return {"spec": thing["spec"], "labels": labels, "annotations": annotations, "ours": ours, "budgets": budgets}


def at_rest(server: Server, replicas: int) -> bool:
    """Whether so many replicas are available, and none other is there."""
    status = server.get(SITE)["status"]
    return status.get("availableReplicas", 0) == status.get("replicas", 0) == replicas


class Available:
    """Notes the fewest available replicas that the Deployment has while it is entered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.least = 1000
        self.connection: http.client.HTTPSConnection | None = None
        self.thread = threading.Thread(target=self._follow)

    def _follow(self) -> None:
        path = f"{SITE.rpartition('/')[0]}?fieldSelector=metadata.name%3Dsite"
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # it was hung up
            for event in self.server.watch(path, self._started):
                self.least = min(self.least, event["object"]["status"].get("availableReplicas", 0))

    def _started(self, connection: http.client.HTTPSConnection) -> None:
        self.connection = connection

    def __enter__(self) -> Available:
        self.thread.start()
        wait_for("the first event of a watch", lambda: self.least < 1000)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.connection
        hang_up(self.connection)
        self.thread.join()


def test_there_and_back(cluster: Cluster, server: Server, shipped: None, proxy: Proxy, helper: Helper) -> None:
    """Two replicas on two nodes, nothing to do the next time, and what was is given back."""
    with site(server):
        wait_for("the site", lambda: at_rest(server, 1))
        before = made(server)
        with Available(server) as available:
            run = helper.apply(wish("site"))
        assert available.least >= 1
        assert "hunter2" not in run.stdout
        assert len({pod["spec"]["nodeName"] for pod in server.get(PODS)["items"]}) == 2
        assert made(server)["budgets"] == ["k3s-core-ha-site"]
        observed = helper.run("observe", spec=wish("site"))
        assert "hunter2" not in observed.stdout
        assert [pod["metadata"]["namespace"] for pod in observed.result["extra_pods"]] == ["default", "default"]

        mark = cluster.audit_mark()
        proxy.latency = LATENCY
        try:
            run = helper.apply(wish("site"))
        finally:
            proxy.latency = 0
        print(f"\n{len(run.requests)} requests in {round_trips(run.requests)} round trips")
        assert (run.result["changed"], run.writes, changes(cluster.audited(mark))) == (False, [], [])
        assert round_trips(run.requests) <= 3

        with Available(server) as available:
            helper.apply(wish())
        assert available.least >= 1
        assert difference(before, made(server)) == ""
        assert helper.apply(wish()).writes == []


@pytest.mark.parametrize("had", [1, 4])
def test_killed_anywhere(server: Server, shipped: None, helper: Helper, had: int, subtests: pytest.Subtests) -> None:
    """Killed on the way to three replicas, or back: the next run comes to the same end."""
    with site(server):
        server.patch(f"{SITE}/scale?fieldManager={MANAGER}", {"spec": {"replicas": had}})
        wait_for("the site", lambda: at_rest(server, had))
        wishes = {False: wish(), True: wish("site", replicas=3)}
        ends = {False: made(server)}
        there = kill_points(helper.apply(wishes[True]))
        ends[True] = made(server)
        back = kill_points(helper.apply(wishes[False]))
        assert difference(ends[False], made(server)) == ""
        print(f"\nfrom {had}: {len(there)} points on the way, {len(back)} back")
        few = itertools.zip_longest(evenly(there, 1), evenly(back, 1))
        for pair in few:
            for named, point in zip((True, False), pair, strict=True):
                with subtests.test(named=named, point=point), Available(server) as available:
                    if point is not None:
                        killed = helper.run("apply", spec=wishes[named], at=point)
                        assert killed.status == -signal.SIGKILL
                    # One that is not at rest is left for a later run.
                    wait_for("the end", lambda named=named: reaches(server, helper, wishes[named], ends[named]))
                    assert available.least >= min(had, 3) - (1 if had > 1 else 0)


def reaches(server: Server, helper: Helper, spec: Json, end: Json) -> bool:
    """Whether one more run comes to the end."""
    helper.apply(spec)
    return difference(end, made(server)) == ""


@pytest.fixture
def claim(server: Server) -> Iterator[Json]:
    """Of a pod, the claim that it mounts."""
    # Of no class: nobody is to make a volume for it.
    body = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}}
    body["spec"]["resources"] = {"requests": {"storage": "1Mi"}}
    server.request("POST", CLAIMS, body)
    yield {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    server.request("DELETE", f"{CLAIMS}/data")


def test_refused(
    cluster: Cluster, server: Server, shipped: None, helper: Helper, claim: Json, subtests: pytest.Subtests
) -> None:
    """What several replicas could harm, or is somebody's: one sentence, and no mutating verb."""
    ports = {"containers": [{"name": "site", "image": "x", "ports": [{"containerPort": 80, "hostPort": 80}]}]}
    rows: list[tuple[Json, Json, int, str]] = [
        ({}, wish("nobody"), 4, "names Deployment default/nobody, which is not there"),
        ({}, wish("site", "site"), 2, "extra_deployments[1] names Deployment default/site once more"),
        ({"strategy": {"type": "Recreate"}}, wish("site"), 4, "which has strategy Recreate"),
        ({"pod": claim}, wish("site"), 4, "PersistentVolumeClaim default/data, which is ReadWriteOnce"),
        ({"pod": ports}, wish("site", replicas=5), 4, "5 replicas of Deployment default/site, which take ports of"),
        (
            {"replicas": 1},
            wish("site"),
            5,
            ".spec.replicas of apps/v1 Deployment default/site is held by kubectl, at 1",
        ),
    ]
    for more, asked, status, words in rows:
        with subtests.test(words=words), site(server, **more):
            before, mark = made(server), cluster.audit_mark()
            run = helper.run("apply", spec=asked)
            assert (run.status, run.writes) == (status, []), run.stderr
            assert words in run.sentence
            assert changes(cluster.audited(mark)) == []
            assert difference(before["spec"], made(server)["spec"]) == ""


def test_told_to_stop(server: Server, shipped: None, helper: Helper) -> None:
    """A run that is told to stop in the middle undoes what it did."""
    with site(server):
        wait_for("the site", lambda: at_rest(server, 1))
        before = made(server)
        helper.apply(wish())
        run = helper.run("apply", spec=wish("site"), at=Point(3, forward=False, signal=signal.SIGTERM, cut=False))
        assert run.status == 130, run.stderr
        assert "what was done has been undone" in run.sentence
        wait_for("one replica", lambda: at_rest(server, 1))
        after = made(server)
        assert difference({**before, "ours": []}, {**after, "ours": []}) == ""
        assert server.find("/api/v1/namespaces/kube-system/configmaps/k3s-core-ha") is None

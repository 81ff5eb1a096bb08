# SPDX-License-Identifier: GPL-3.0-or-later
"""local-path-provisioner from a chart, with never two active, on the real API server, controllers and scheduler.

The test plays helm-controller, Helm and the chart (test_helm.py), whose Deployment has no strategy, as upstream's: at a
change it brings the new pod before the old one ends.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import test_helm
from charts import CONFIGS, DEPLOYMENTS, JOBS, KINDS
from cluster import Cluster, Json, Server, changes, wait_for
from provisioners import CHART, PODS, SHIPPED, STANDBY, Provisioners, kind
from test_helm import PACKAGED, WHOLE
from test_requests import LATENCY, round_trips
from ways import evenly, kill_points

if TYPE_CHECKING:
    from helper import Helper
    from proxy import Proxy

charts = test_helm.charts
pytestmark = pytest.mark.usefixtures("charts")

HELM = PACKAGED | {"local_path_provisioner_strategy": "helm", "local_path_provisioner_chart": WHOLE}
OTHER = HELM | {"local_path_provisioner_values": {"podAnnotations": {"a": "b"}}}
REPLICAS = PACKAGED | {"local_path_provisioner_strategy": "replicas"}
CARRIERS = [f"--carrier=fleet-{number:05d}" for number in (1, 2)]


def pods_of(server: Server, name: str) -> list[Json]:
    """The provisioners of that kind."""
    return [pod for pod in server.get(PODS)["items"] if kind(pod) == name]


def see_chart(server: Server) -> None:
    """The chart's provisioner runs, alone."""
    assert server.get(f"{DEPLOYMENTS}/{CHART}")["status"]["availableReplicas"] == 1
    assert [len(pods_of(server, name)) for name in (CHART, SHIPPED, STANDBY)] == [1, 0, 0]
    assert server.get(f"{DEPLOYMENTS}/{SHIPPED}")["spec"]["replicas"] == 0
    assert server.find(f"{DEPLOYMENTS}/{STANDBY}") is None


def see_shipped(server: Server) -> None:
    """k3s's runs, alone, and nothing of the chart is left."""
    assert [len(pods_of(server, name)) for name in (CHART, SHIPPED, STANDBY)] == [0, 1, 0]
    found = [f"{path}/{CHART}" for path in (DEPLOYMENTS, *KINDS)] + [f"{JOBS}/helm-install-{CHART}"]
    assert [server.find(path) for path in found] == [None] * len(found)
    assert "affinity" not in server.get(f"{DEPLOYMENTS}/{SHIPPED}")["spec"]["template"]["spec"]


def see(server: Server, goal: Json) -> None:
    """What the goal has."""
    if goal is PACKAGED:
        see_shipped(server)
    elif goal is REPLICAS:
        assert [len(pods_of(server, name)) for name in (CHART, SHIPPED, STANDBY)] == [0, 0, 2]
    else:
        see_chart(server)


def test_there_and_back(cluster: Cluster, server: Server, proxy: Proxy, helper: Helper) -> None:
    """From what k3s ships and back, with other values between; a second run has nothing to do."""
    with Provisioners(server) as watched:
        run = helper.apply(HELM)
        see_chart(server)
        steps = [step["id"] for step in run.result["steps"]]
        assert steps.index("local-path-gone") < steps.index("local-path-helm-values")
        assert "no standby" in " ".join(run.result["warnings"])
        mark = cluster.audit_mark()
        proxy.latency = LATENCY
        try:
            again = helper.apply(HELM)
        finally:
            proxy.latency = 0
        assert again.result["changed"] is False
        assert changes(cluster.audited(mark)) == []
        assert round_trips(again.requests) <= 3
        (first,) = pods_of(server, CHART)
        dry = helper.apply(OTHER, "--dry-run")
        assert (dry.result["changed"], dry.writes) == (True, [])
        assert not any(CHART in part["object"] and "Deployment" in part["object"] for part in dry.result["diff"])
        assert helper.apply(OTHER).result["changed"] is True
        see_chart(server)
        (second,) = pods_of(server, CHART)
        assert first["metadata"]["uid"] != second["metadata"]["uid"]
        assert server.get(f"{CONFIGS}/{CHART}")["spec"]["values"]["podAnnotations"] == {"a": "b"}
        helper.apply(PACKAGED)
        see_shipped(server)
    assert len(watched.seen) == 4, "each is seen by the watch"
    assert helper.apply(PACKAGED).writes == []


def test_strategies(server: Server, helper: Helper) -> None:
    """From and to several behind a Lease; where it is gone, nothing of it is read any more."""
    with Provisioners(server):
        for goal in (REPLICAS, HELM, REPLICAS, PACKAGED):
            helper.apply(goal, *CARRIERS)
            see(server, goal)
            again = helper.apply(goal, *CARRIERS)
            assert again.writes == []
            if goal is REPLICAS:
                assert [request for request in again.requests if "helm" in str(request)] == []


def test_others(server: Server, helper: Helper) -> None:
    """What somebody else does starts no second one, and the next run brings it to its end."""
    with Provisioners(server):
        helper.apply(HELM)
        (first,) = pods_of(server, CHART)
        # A value beside ours: the new pod waits for the end of the old one, and the rollout for the new pod.
        server.patch(f"{CONFIGS}/{CHART}", {"spec": {"values": {"podAnnotations": {"by": "hand"}}}})
        wait_for("a second pod", lambda: len(pods_of(server, CHART)) == 2)
        (new,) = [pod for pod in pods_of(server, CHART) if pod["metadata"]["uid"] != first["metadata"]["uid"]]
        path = f"{PODS}/{new['metadata']['name']}"
        wait_for("no node for it", lambda: "anti-affinity" in str(server.get(path)["status"].get("conditions")))
        assert helper.apply(HELM).result["changed"] is True
        see_chart(server)
        assert (
            pods_of(server, CHART)[0]["metadata"]["annotations"]["values"] != first["metadata"]["annotations"]["values"]
        )
        # As by kubectl rollout restart.
        server.patch(f"{DEPLOYMENTS}/{CHART}", {"spec": {"template": {"metadata": {"annotations": {"by": "hand"}}}}})
        wait_for("a second pod", lambda: len(pods_of(server, CHART)) == 2)
        assert helper.apply(HELM).result["changed"] is True
        see_chart(server)
        (pod,) = pods_of(server, CHART)
        server.request("DELETE", f"{PODS}/{pod['metadata']['name']}")
        wait_for("another pod", lambda: server.get(f"{DEPLOYMENTS}/{CHART}")["status"].get("availableReplicas") == 1)
        assert helper.apply(HELM).writes == []
        for replicas in (0, 3):
            server.patch(f"{DEPLOYMENTS}/{CHART}/scale", {"spec": {"replicas": replicas}})
            wait_for("so many pods", lambda replicas=replicas: len(pods_of(server, CHART)) == replicas)
            assert helper.apply(HELM).result["changed"] is True
            see_chart(server)
        # k3s's own is raised: it finds no node.
        server.patch(f"{DEPLOYMENTS}/{SHIPPED}/scale", {"spec": {"replicas": 1}})
        wait_for("a pod of k3s's", lambda: pods_of(server, SHIPPED))
        assert helper.apply(HELM).result["changed"] is True
        see_chart(server)
        helper.apply(PACKAGED)
        see_shipped(server)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (PACKAGED, HELM),
        (HELM, OTHER),
        (HELM, PACKAGED),
        (HELM, REPLICAS),
        (REPLICAS, HELM),
        (PACKAGED, REPLICAS),
        (REPLICAS, PACKAGED),
    ],
)
def test_killed(server: Server, helper: Helper, start: Json, end: Json) -> None:
    """A run that was killed at any of its writes is carried on by the next, or taken back."""
    with Provisioners(server):
        helper.apply(end, *CARRIERS)  # unless all is packaged, which nodes carry the helper is marked once
        helper.apply(start, *CARRIERS)
        undisturbed = helper.apply(end, *CARRIERS)
        for turn, point in enumerate(evenly(kill_points(undisturbed), 2)):
            helper.apply(start, *CARRIERS)
            run = helper.run("apply", *CARRIERS, spec=end, at=point)
            assert run.status == -signal.SIGKILL, run.stderr
            goal = (end, start)[turn % 2]
            helper.apply(goal, *CARRIERS)
            see(server, goal)
            assert helper.apply(goal, *CARRIERS).writes == []


def test_goes_back(server: Server, helper: Helper) -> None:
    """A chart that is never applied is taken back, the way in and at other values, and so is a run that is ended."""
    with Provisioners(server):
        helper.apply(HELM)
        writes = len(helper.apply(OTHER).done)
        for start, end in ((PACKAGED, HELM), (HELM, OTHER)):
            helper.apply(start)
            for point in evenly([one for one in kill_points(helper.apply(end)) if one.forward], 2):
                point.signal = signal.SIGTERM
                point.cut = False
                helper.apply(start)
                run = helper.run("apply", spec=end, at=point)
                assert run.status in (0, 130), run.stderr  # at the last write there is nothing left to end
                see(server, start if run.status else end)
        assert writes >= 3


def test_refused(server: Server, helper: Helper) -> None:
    """More than one, and with nothing changed."""
    run = helper.run("apply", spec=HELM | {"local_path_provisioner_replicas": 2})
    assert (run.status, run.writes) == (4, [])
    assert "local_path_provisioner_replicas is 2" in run.sentence
    see_shipped(server)

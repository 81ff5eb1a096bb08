# SPDX-License-Identifier: GPL-3.0-or-later
"""Values for traefik's chart, on the real API server with the kinds of k3s's helm-controller, which has no part in it.

The test plays helm-controller and Helm: it marks the job of each configuration with a hash, says that it is complete,
and gives the Deployment the replicas that the values ask for. What the chart makes of the other values is not tried
here (tests/helm does). The HelmChart is marked as unmanaged, so that the real controller leaves it alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from charts import (
    CHARTS,
    CONFIGS,
    DEPLOYMENTS,
    JOBS,
    KINDS,
    UNMANAGED,
    Follower,
    complete,
    hash_of,
    make_job,
    values_of,
)
from cluster import Json, Server, changes, wait_for
from test_requests import LATENCY, round_trips
from ways import evenly, kill_points

if TYPE_CHECKING:
    from cluster import Cluster
    from helper import Helper
    from proxy import Proxy
    from ways import Ways

CHART = f"{CHARTS}/traefik"
CONFIG = f"{CONFIGS}/traefik"
JOB = f"{JOBS}/helm-install-traefik"
DEPLOYMENT = f"{DEPLOYMENTS}/traefik"
LABELS = {"app.kubernetes.io/name": "traefik", "app.kubernetes.io/instance": "traefik-kube-system"}
PACKAGED = {
    "coredns_strategy": "packaged",
    "metrics_server_strategy": "packaged",
    "local_path_provisioner_strategy": "packaged",
}
SPEC = {**PACKAGED, "traefik_strategy": "helm"}
TEXT = "deployment:\n  replicas: 1\nlogs:\n  access:\n    enabled: true\n"


class Chart:
    """Plays helm-controller, Helm and the chart for as long as it is entered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.broken = False  # a job that is made now never comes to its end
        self._following = Follower(server, (CONFIGS,), self._take_up)
        self.take_up = self._following.take_up

    def __enter__(self) -> Chart:
        self._following.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._following.__exit__(*error)

    def _take_up(self) -> None:
        """Apply the chart anew where its configuration is another one."""
        config = self.server.find(CONFIG) or {}
        spec = config.get("spec", {})
        if not make_job(self.server, "traefik", hash_of(spec)) or self.broken:
            return
        replicas = values_of(spec).get("deployment", {}).get("replicas", 1)
        self.server.patch(f"{DEPLOYMENT}?fieldManager=helm", {"spec": {"replicas": replicas}})
        complete(self.server, "traefik")


@pytest.fixture
def chart(server: Server, ways: Ways) -> Iterator[Chart]:
    """traefik as its chart makes it, one replica, and nothing of ours."""
    wait_for("helm-controller's kinds", lambda: all(server.find(path) for path in KINDS))
    ways.go("packaged")
    ways.at = "traefik"
    head = {"namespace": "kube-system", "name": "traefik"}
    unmanaged = {UNMANAGED: "true"}
    kind = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "metadata": head | {"annotations": unmanaged}}
    server.request("POST", CHARTS, kind | {"spec": {"chart": "traefik", "failurePolicy": "retry"}})
    pod = {"containers": [{"name": "traefik", "image": "example.org/traefik:1", "args": ["--ping=true"]}]}
    pod["tolerations"] = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head}
    deployment["spec"] = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    server.request("POST", f"{DEPLOYMENTS}?fieldManager=helm", deployment)
    try:
        with Chart(server) as playing:
            yield playing
    finally:
        for path in (CONFIG, CHART, JOB, DEPLOYMENT):
            if server.find(path) is not None:
                server.request("DELETE", f"{path}?propagationPolicy=Background")
        ways.go("packaged")


def values(server: Server) -> Json:
    """What we have in the HelmChartConfig."""
    return server.get(CONFIG)["spec"]["values"]


def test_values_and_back(chart: Chart, cluster: Cluster, server: Server, proxy: Proxy, helper: Helper) -> None:
    """The right object, once, for at most three round trips when there is nothing to do, and nothing left behind."""
    run = helper.apply(SPEC)
    assert [step["id"] for step in run.result["steps"]] == [
        "wish",
        "traefik-values",
        "traefik-chart",
        "traefik-rollout",
    ]
    config = server.get(CONFIG)
    assert config["spec"]["failurePolicy"] == "retry"
    assert config["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "k3s-core-ha"
    assert values(server)["deployment"]["replicas"] == 2
    assert values(server)["topologySpreadConstraints"][0]["labelSelector"] == {"matchLabels": LABELS}
    assert server.get(DEPLOYMENT)["status"]["availableReplicas"] == 2

    mark = cluster.audit_mark()
    proxy.latency = LATENCY
    try:
        again = helper.apply(SPEC)
    finally:
        proxy.latency = 0
    print(f"\n{len(again.requests)} requests in {round_trips(again.requests)} round trips")
    assert again.result["changed"] is False
    assert changes(cluster.audited(mark)) == []
    assert round_trips(again.requests) <= 3

    more = SPEC | {"traefik_replicas": 3, "traefik_values": {"logs": {"access": {"enabled": True}}, "empty": {}}}
    assert helper.apply(more).result["changed"] is True
    assert (values(server)["deployment"]["replicas"], values(server)["empty"]) == (3, {})
    assert helper.apply(more).writes == []

    back = helper.apply(PACKAGED)
    assert back.result["changed"] is True
    assert server.find(CONFIG) is None
    assert server.get(DEPLOYMENT)["spec"]["replicas"] == 1
    assert server.find("/api/v1/namespaces/kube-system/configmaps/k3s-core-ha") is None
    assert helper.apply(PACKAGED).writes == []


def test_nothing_is_read_unasked(chart: Chart, helper: Helper) -> None:
    """Neither where the wish is silent, nor once what was ours is gone; in between the way back is found."""
    wish = PACKAGED | {"metrics_server_strategy": "replicas"}
    assert [r for r in helper.apply(wish).requests if "helm" in str(r)] == []
    helper.apply(wish | {"traefik_strategy": "helm"})
    back = helper.apply(wish)
    assert [step["id"] for step in back.result["steps"]][-1] == "wish-settled"
    assert [r for r in helper.apply(wish).requests if "helm" in str(r)] == []


def test_killed(chart: Chart, server: Server, helper: Helper) -> None:
    """A run that was killed at any of its writes is carried on by the next, there and back."""
    for spec, left in ((SPEC, 2), (PACKAGED, 1)):
        other = PACKAGED if spec is SPEC else SPEC
        helper.apply(other)
        for point in evenly(kill_points(helper.apply(spec)), 2):
            helper.apply(other)
            run = helper.run("apply", spec=spec, at=point)
            assert run.status == -signal.SIGKILL, run.stderr
            helper.apply(spec)
            assert server.get(DEPLOYMENT)["spec"]["replicas"] == left
            assert (server.find(CONFIG) is None) == (spec is PACKAGED)
            assert helper.apply(spec).writes == []


@pytest.mark.parametrize("manager", ["kubectl", "deploy@server-1"])
def test_somebody_elses(chart: Chart, server: Server, helper: Helper, manager: str) -> None:
    """What others have in the HelmChartConfig stays, gets ours beside it, and is left as it was."""
    head = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChartConfig", "metadata": {"name": "traefik"}}
    theirs = head | {"spec": {"valuesContent": TEXT}}
    if manager == "kubectl":
        server.patch(f"{CONFIG}?fieldManager=kubectl", theirs, "apply-patch+yaml")
    else:
        server.request("POST", f"{CONFIGS}?fieldManager={manager}", theirs)
    before = server.get(CONFIG)["spec"]
    assert before["failurePolicy"] == "reinstall"
    run = helper.apply(SPEC)
    assert any("deployment.replicas in its valuesContent" in warning for warning in run.result["warnings"])
    config = server.get(CONFIG)
    assert (config["spec"]["valuesContent"], config["spec"]["failurePolicy"]) == (TEXT, "retry")
    assert "labels" not in config["metadata"]
    assert server.get(DEPLOYMENT)["spec"]["replicas"] == 2
    assert helper.apply(SPEC).writes == []
    helper.apply(PACKAGED)
    left = server.get(CONFIG)["spec"]
    assert {key: value for key, value in left.items() if value is not None} == before
    assert server.get(DEPLOYMENT)["spec"]["replicas"] == 1
    assert helper.apply(PACKAGED).writes == []


def test_conflict(chart: Chart, server: Server, helper: Helper) -> None:
    """Another failurePolicy of somebody else's is not taken."""
    head = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChartConfig", "metadata": {"name": "traefik"}}
    theirs = head | {"spec": {"failurePolicy": "abort"}}
    server.patch(f"{CONFIG}?fieldManager=argocd-controller", theirs, "apply-patch+yaml")
    run = helper.run("apply", spec=SPEC)
    assert (run.status, run.writes) == (5, [])
    assert ".spec.failurePolicy" in run.sentence
    assert "argocd-controller" in run.sentence


def test_failed_job(chart: Chart, server: Server, helper: Helper) -> None:
    """A chart that cannot be applied goes back to what it was."""
    pods = "/api/v1/namespaces/kube-system/pods"
    server.request("POST", pods, failed_pod())
    server.patch(f"{pods}/helm-install-traefik-x1/status", {"status": {"containerStatuses": [crashing()]}})
    chart.broken = True
    wait_for("the chart as it was", lambda: server.find(JOB) is not None)

    def mend() -> None:
        wait_for("our values", lambda: server.find(CONFIG) is not None)
        wait_for("they are taken back", lambda: server.find(CONFIG) is None, 60)
        chart.broken = False
        server.request("DELETE", f"{JOB}?propagationPolicy=Background")
        wait_for("the job is gone", lambda: server.find(JOB) is None)
        chart.take_up()

    mending = threading.Thread(target=mend)
    mending.start()
    try:
        run = helper.run("apply", spec=SPEC | {"wait_timeout": 10})
    finally:
        mending.join()
        server.request("DELETE", f"{pods}/helm-install-traefik-x1")
    assert run.status == 6, run.stderr
    assert "it has not come to its end; its pod helm-install-traefik-x1: Error, exit status 1: no" in run.sentence
    assert server.find(CONFIG) is None
    assert server.get(DEPLOYMENT)["spec"]["replicas"] == 1


def crashing() -> Json:
    """The status of a container that failed and is about to be started again."""
    terminated = {"reason": "Error", "exitCode": 1, "message": "no such value", "containerID": "x://1"}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    status = {"name": "helm", "image": "example.org/helm:1", "imageID": "", "ready": False, "restartCount": 3}
    return status | {"state": {"waiting": waiting}, "lastState": {"terminated": terminated}}


def failed_pod() -> Json:
    """A pod that has the label of the job's, and no node."""
    labels = {"batch.kubernetes.io/job-name": "helm-install-traefik"}
    gate = {"schedulingGates": [{"name": "example.org/never"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helm-install-traefik-x1", "labels": labels},
        "spec": gate | {"containers": [{"name": "helm", "image": "example.org/helm:1"}]},
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""CoreDNS and metrics-server from charts, on the real API server with the kinds of k3s's helm-controller.

The test plays helm-controller, Helm and the charts (charts.py), so pods come up at once; what the real ones make of the
values is not tried here (tests/helm does). A policy of admission marks our HelmCharts as unmanaged when they are made.
"""

from __future__ import annotations

import contextlib
import signal
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
    merged,
    values_of,
)
from cluster import ApiError, Json, Server, changes, wait_for
from state import Endpoints
from test_requests import LATENCY, round_trips
from ways import evenly, kill_points

if TYPE_CHECKING:
    from cluster import Cluster
    from helper import Helper
    from proxy import Proxy
    from ways import Ways

DNS = "coredns-ha"
METRICS = "metrics-server-ha"
PROVISIONER = "local-path-provisioner-ha"
POLICIES = "/apis/admissionregistration.k8s.io/v1"
FINALIZER = "example.org/the-test"
PACKAGED = {
    "coredns_strategy": "packaged",
    "metrics_server_strategy": "packaged",
    "local_path_provisioner_strategy": "packaged",
}
WHOLE = {"content": "H4sIAAAA"}  # nobody looks into it here
SPEC = PACKAGED | {
    "coredns_strategy": "helm",
    "coredns_chart": WHOLE,
    "metrics_server_strategy": "helm",
    "metrics_server_chart": WHOLE,
}
DNS_ALONE = PACKAGED | {"coredns_strategy": "helm", "coredns_chart": WHOLE}
METRICS_ALONE = PACKAGED | {"metrics_server_strategy": "helm", "metrics_server_chart": WHOLE}


def deployment(chart: str, values: Json) -> Json:
    """What a chart makes of its values, as far as the helper and the scheduler look."""
    labels = {"app.kubernetes.io/instance": chart}
    if chart == DNS:
        labels["k8s-app"] = values["k8sAppLabelOverride"]
    if chart == PROVISIONER:
        labels["app.kubernetes.io/name"] = values["nameOverride"]
    image = f"{values['image']['repository']}:{values['image']['tag']}"
    pod = {"containers": [{"name": "main", "image": image}], "tolerations": list(values["tolerations"])}
    pod["tolerations"].append({"key": "kwok.x-k8s.io/node", "operator": "Exists"})
    for key in ("affinity", "topologySpreadConstraints", "nodeSelector"):
        if values.get(key):
            pod[key] = values[key]
    more = values.get("podLabels", {}) | values.get("commonLabels", {})
    metadata = {"labels": labels | more, "annotations": {"values": hash_of(values)}}
    spec = {
        "replicas": values["replicas" if chart == METRICS else "replicaCount"],
        "selector": {"matchLabels": labels},
        "template": {"metadata": metadata, "spec": pod},
    }
    if chart == DNS:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": values["rollingUpdate"]}
    head = {"name": values["fullnameOverride"], "namespace": "kube-system"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec}


class Charts:
    """Plays helm-controller, Helm and the charts."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def take_up(self) -> None:
        """What has changed since."""
        for chart in self.server.get(CHARTS)["items"]:
            name, metadata = chart["metadata"]["name"], chart["metadata"]
            if name not in (DNS, METRICS, PROVISIONER):
                continue
            if "deletionTimestamp" in metadata:
                self.uninstall(name)
            else:
                self.install(name, chart)

    def install(self, name: str, chart: Json) -> None:
        """Hold the chart, and apply it where its configuration is another one."""
        if FINALIZER not in chart["metadata"].get("finalizers", []):
            self.server.patch(f"{CHARTS}/{name}", {"metadata": {"finalizers": [FINALIZER]}})
        config = (self.server.find(f"{CONFIGS}/{name}") or {}).get("spec", {})
        if not make_job(self.server, name, hash_of(chart["spec"], config)):
            return
        body = deployment(name, merged(values_of(chart["spec"]), values_of(config)))
        path = f"{DEPLOYMENTS}/{name}?fieldManager=helm&force=true"
        self.server.patch(path, body, "apply-patch+yaml")
        complete(self.server, name)

    def uninstall(self, name: str) -> None:
        """Take away what the chart made, and let it go."""
        for path in (f"{DEPLOYMENTS}/{name}", f"{JOBS}/helm-install-{name}"):
            if self.server.find(path) is not None:
                self.server.request("DELETE", f"{path}?propagationPolicy=Background")
        self.server.patch(f"{CHARTS}/{name}", {"metadata": {"finalizers": None}})


def keep_controller_away(server: Server) -> None:
    """Have our HelmCharts marked as unmanaged when they are made."""
    name = "the-test-plays-helm-controller"
    rule = {"apiGroups": ["helm.cattle.io"], "apiVersions": ["v1"], "operations": ["CREATE"]}
    added = f"""[JSONPatch{{op: "add", path: "/metadata/annotations", value: {{"{UNMANAGED}": "true"}}}}]"""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule | {"resources": ["helmcharts"]}]},
            "matchConditions": [{"name": "ours", "expression": "object.metadata.name.endsWith('-ha')"}],
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": added}}],
        },
    }
    binding = policy | {"kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}}
    for plural, body in (("mutatingadmissionpolicies", policy), ("mutatingadmissionpolicybindings", binding)):
        if server.find(f"{POLICIES}/{plural}/{name}") is None:
            server.request("POST", f"{POLICIES}/{plural}", body)
    trial = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "metadata": {"name": "trial-ha"}}

    def marked() -> bool:
        with contextlib.suppress(ApiError):
            made = server.request("POST", f"{CHARTS}?dryRun=All", trial | {"spec": {"chart": "x"}})
            return UNMANAGED in made["metadata"].get("annotations", {})
        return False

    wait_for("the policy of admission", marked)


@pytest.fixture
def charts(server: Server, ways: Ways) -> Iterator[None]:
    """Who applies charts; at first and in the end all is as k3s ships it."""
    wait_for("helm-controller's kinds", lambda: all(server.find(path) for path in KINDS))
    ways.go("packaged")
    keep_controller_away(server)
    with Follower(server, (*KINDS, JOBS), Charts(server).take_up):
        ways.at = "charts"
        try:
            yield
        finally:
            ways.helper.apply(PACKAGED)
    ways.arrive("packaged")


def count(server: Server, name: str) -> int:
    """The replicas of a Deployment."""
    return server.get(f"{DEPLOYMENTS}/{name}")["spec"]["replicas"]


def see_helm(server: Server, dns: int = 3) -> None:
    """The chart's CoreDNS serves, alone."""
    assert server.get(f"{DEPLOYMENTS}/{DNS}")["status"]["availableReplicas"] == dns
    assert count(server, "coredns") == 0
    pods = server.get("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns")["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/instance"] for pod in pods} == {DNS}


def see_none(server: Server) -> None:
    """No chart of ours, and nothing of what one made."""
    for name in (DNS, METRICS):
        assert [server.find(f"{path}/{name}") for path in (DEPLOYMENTS, *KINDS)] == [
            None,
            None,
            None,
        ]


@pytest.mark.usefixtures("charts")
def test_there_and_back(cluster: Cluster, server: Server, proxy: Proxy, helper: Helper) -> None:
    """Both from their charts; once; with other values; and nothing left behind."""
    with Endpoints(server) as endpoints:
        run = helper.apply(SPEC)
    assert endpoints.below(3) == []
    see_helm(server)
    assert (count(server, METRICS), count(server, "metrics-server")) == (2, 0)
    steps = [step["id"] for step in run.result["steps"]]
    assert steps.index("coredns-helm-rollout") < steps.index("coredns-scale")
    assert steps.index("metrics-server-helm-rollout") < steps.index("metrics-server-set-aside")
    chart = server.get(f"{CHARTS}/{DNS}")
    assert (chart["spec"]["chartContent"], chart["spec"]["failurePolicy"]) == (WHOLE["content"], "retry")
    assert WHOLE["content"] in run.stdout  # short enough to be shown

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
    stands = helper.run("plan", spec=SPEC).result["components"]
    assert [stands[name]["strategy"] for name in ("coredns", "metrics_server")] == ["helm", "helm"]

    more = SPEC | {"coredns_replicas": 2, "coredns_values": {"podAnnotations": {"a": "b"}}}
    assert helper.apply(more).result["changed"] is True
    see_helm(server, 2)
    assert helper.apply(more).writes == []
    server.patch(f"{DEPLOYMENTS}/{DNS}/scale", {"spec": {"replicas": 1}})
    assert helper.apply(more).result["changed"] is True
    see_helm(server, 2)

    with Endpoints(server) as endpoints:
        helper.apply(PACKAGED)
    assert endpoints.below(1) == []
    see_none(server)
    assert (count(server, "coredns"), count(server, "metrics-server")) == (1, 1)
    assert server.find("/api/v1/namespaces/kube-system/configmaps/k3s-core-ha") is None
    assert helper.apply(PACKAGED).writes == []


@pytest.mark.usefixtures("charts")
def test_other_strategies(server: Server, helper: Helper) -> None:
    """From and to the strategies that have their own pods, and nothing is read of charts once they are gone."""
    daemons = PACKAGED | {"coredns_strategy": "daemonset", "coredns_daemonset_nodes": "all"}
    replicas = PACKAGED | {"coredns_strategy": "replicas", "metrics_server_strategy": "replicas"}
    for spec in (daemons, SPEC, replicas, SPEC, daemons):
        with Endpoints(server) as endpoints:
            helper.apply(spec)
        assert endpoints.below(3) == []
        again = helper.apply(spec)
        assert again.writes == []
        if spec is SPEC:
            see_helm(server)
            continue
        see_none(server)
        assert [request for request in again.requests if "helm" in str(request)] == []


@pytest.mark.usefixtures("charts")
@pytest.mark.parametrize("wish", [DNS_ALONE, METRICS_ALONE], ids=["coredns", "metrics-server"])
def test_killed(server: Server, helper: Helper, wish: Json) -> None:
    """A run that was killed at any of its writes is carried on by the next, or taken back."""
    goals = (wish, PACKAGED)
    for spec, other in (goals, goals[::-1]):
        helper.apply(other)
        for turn, point in enumerate(evenly(kill_points(helper.apply(spec)), 1)):
            helper.apply(other)
            goal = goals[turn % 2]
            with Endpoints(server) as endpoints:
                run = helper.run("apply", spec=spec, at=point)
                assert run.status == -signal.SIGKILL, run.stderr
                helper.apply(goal)
            assert endpoints.below(1) == []
            if goal is DNS_ALONE:
                see_helm(server)
            elif goal is METRICS_ALONE:
                assert (count(server, METRICS), count(server, "metrics-server")) == (2, 0)
            else:
                see_none(server)
                assert (count(server, "coredns"), count(server, "metrics-server")) == (1, 1)
            assert helper.apply(goal).writes == []


@pytest.mark.usefixtures("charts")
def test_refused(server: Server, helper: Helper) -> None:
    """Somebody else's chart of that name is not taken, and nothing is changed."""
    head = {"name": DNS, "annotations": {UNMANAGED: "true"}}
    theirs = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChartConfig", "metadata": head}
    server.request("POST", CONFIGS, theirs | {"spec": {"failurePolicy": "abort"}})
    try:
        run = helper.run("apply", spec=SPEC)
        assert (run.status, run.writes) == (5, [])
        assert f"HelmChartConfig kube-system/{DNS} is there already" in run.sentence
    finally:
        server.request("DELETE", f"{CONFIGS}/{DNS}")

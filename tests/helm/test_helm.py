# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategy helm by the real helm-controller and Helm: there, again, a start of k3s, a node's death, and back.

The tests hand the cluster on as they leave it, so that a way that one has gone is not gone again; each can start from
anywhere.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from charts import Repository, content, version
from cluster import Json, changes, is_ready, wait_for
from jobs import NO_IMAGE, NO_NODE, no_image, no_node, wait_for_job
from nodes import PACKAGED, is_ours
from probe import Probe, answers, see_nothing_lost
from watchers import EVERY, Availability, Client, lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodes import Nodes

DNS = {"coredns_strategy": "helm", "coredns_chart": {"content": content("coredns")}}
METRICS = {"metrics_server_strategy": "helm", "metrics_server_chart": {"content": content("metrics-server")}}
# traefik on both agents, so that one of them has a pod of each chart.
AGENTS = [{"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}]}]
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": AGENTS}}}
TRAEFIK = {"traefik_strategy": "helm", "traefik_values": {"affinity": AFFINITY}}
EVERYTHING = {**PACKAGED, **DNS, **METRICS, **TRAEFIK}
LATEST = 60  # seconds until nobody is sent to a dead node's pod: Kubernetes' grace period, and what comes after it
NODE_HOSTS_LATER = 150  # seconds until kubelets have a ConfigMap's change in their volumes, and CoreDNS has read it
PODS = {
    "coredns": "app.kubernetes.io/instance=coredns-ha",
    "metrics-server": "app.kubernetes.io/instance=metrics-server-ha",
    "traefik": "app.kubernetes.io/name=traefik",
}
CHARTS = ("coredns-ha", "metrics-server-ha")
PATIENCE = 30  # seconds of wait_timeout, where a wait has no other end; a job is to be made anew within it
LACKS = {"image": (no_image, NO_IMAGE), "node": (no_node, NO_NODE)}  # of what the jobs need
LENT = ("coredns", "metrics-server", "traefik")  # Deployments that are as k3s ships them, but for a count of 0
STRANGER = "stranger"


def pods(nodes: Nodes, chart: str) -> list[Json]:
    """Those that run and stay."""
    found = [pod for pod in nodes.get("pods", "-l", PODS[chart]) if "deletionTimestamp" not in pod["metadata"]]
    return [pod for pod in found if pod["status"]["phase"] == "Running" and is_ready(pod)]


def homes(nodes: Nodes, chart: str) -> list[str]:
    """Their nodes."""
    return sorted(pod["spec"]["nodeName"] for pod in pods(nodes, chart))


def named(nodes: Nodes, kind: str, *words: str) -> list[str]:
    """Objects with one of these words in their names."""
    names = [one["metadata"]["name"] for one in nodes.get(kind)]
    return [name for name in names if any(word in name for word in words)]


def written(nodes: Nodes) -> list[Any]:
    """What changes when a chart, its values or a Deployment do."""
    jobs = [job["metadata"]["uid"] for job in nodes.get("jobs")]
    return [*((d["metadata"]["name"], d["metadata"]["generation"]) for d in nodes.get("deployments")), *jobs]


def unchanged(nodes: Nodes, spec: Json) -> None:
    """A run changes nothing, and asks for no change."""
    mark = nodes.audit_mark()
    done = nodes.helper("apply", spec)
    assert done["changed"] is False, done["steps"]
    assert changes(nodes.audited(mark)) == []


class Way:
    """From one wish to another, with clients of what is changed watching."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self._nodes = nodes
        self._name = name
        self._start = time.monotonic()

    def __enter__(self) -> Way:
        self._probe = Probe(self._nodes, "server-1")
        self._availability = Availability(self._nodes)
        self._client = Client(self._nodes, "server-1")
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self.dns = self._probe.stop()
        unavailable, asked = self._availability.stop(), self._client.stop()
        fresh, fixed = self.dns["fresh"], self.dns["fixed"]
        took = time.monotonic() - self._start
        told = f"queries lost {fresh['lost']} of {fresh['planned']}"
        told += f", from fixed ports {fixed['lost']} of {fixed['planned']}, silent for {fixed['longest_silence_s']} s"
        told += f"; requests to traefik {len(lost(asked))} of {len(asked)}; APIService not available: {unavailable}"
        print(f"\n{self._name}: {took:.0f} s; {told}", flush=True)
        if failed is None:
            assert unavailable == []
            assert len(lost(asked)) * EVERY <= 2, lost(asked)


@pytest.fixture(scope="module", autouse=True)
def shipped(nodes: Nodes) -> Json:
    """What k3s ships, before anything is changed."""
    wait_for("traefik", lambda: homes(nodes, "traefik") != [], 120)
    return {name: nodes.one("deployments", name)["spec"] for name in LENT}


def refuse_broken(nodes: Nodes, before: Json) -> None:
    """Values that the chart cannot be rendered with are taken back, with what the job said, and DNS is never away."""
    nodes.helper("apply", before)
    endpoints = nodes.endpoints()
    with Way(nodes, "broken values") as way:
        told = nodes.refused({**before, **DNS, "coredns_values": {"rbac": "broken"}, "wait_timeout": 15})
    see_nothing_lost(way.dns)
    assert told["error"]["exit"] == 6, told["error"]
    assert "at <.Values.rbac.create>" in told["error"]["message"]
    assert nodes.endpoints() == endpoints
    unchanged(nodes, before)


def test_broken_at_first(nodes: Nodes) -> None:
    """Of a chart that never was there nothing is left."""
    refuse_broken(nodes, PACKAGED)
    assert nodes.left_of_ours() == []


@pytest.mark.parametrize("lack", LACKS)
def test_no_job(nodes: Nodes, shipped: Json, lack: str) -> None:
    """Where no job of helm-controller's can run, traefik is left as it was, and its HelmChartConfig is taken back."""
    lacking, words = LACKS[lack]
    nodes.helper("apply", PACKAGED)
    anywhere = {"tolerations": [{"operator": "Exists"}]}  # the pods may go where the jobs may not
    wish = {**PACKAGED, "traefik_strategy": "helm", "traefik_values": anywhere, "wait_timeout": PATIENCE}
    with lacking(nodes), Way(nodes, f"no {lack} for a job") as way:
        told = nodes.refused(wish)
        pending = nodes.get("pods", "-l", "helmcharts.helm.cattle.io/chart=traefik")
    see_nothing_lost(way.dns)
    assert told["error"]["exit"] == 6, told["error"]
    assert re.search(words, told["error"]["message"]), told["error"]
    assert "Pending" in [pod["status"]["phase"] for pod in pending]
    assert nodes.get("helmchartconfigs") == []
    assert nodes.left_of_ours() == []
    wait_for_job(nodes, "traefik")
    assert nodes.one("deployments", "traefik")["spec"] == shipped["traefik"]
    unchanged(nodes, PACKAGED)


def test_no_job_at_first(nodes: Nodes) -> None:
    """Nor can a chart be uninstalled then that was just made: the run says so, and the next one ends it."""
    nodes.helper("apply", PACKAGED)
    endpoints = nodes.endpoints()
    with no_image(nodes), Way(nodes, "no job for a new chart") as way:
        told = nodes.refused({**PACKAGED, **DNS, "wait_timeout": PATIENCE})
    see_nothing_lost(way.dns)
    assert told["error"]["exit"] == 7
    there, back = told["error"]["message"].split("going back failed too: ")
    assert re.search(NO_IMAGE, there), there
    assert re.search(f"HelmChart kube-system/coredns-ha: after .* it is still there{NO_IMAGE}", back), back
    assert nodes.endpoints() == endpoints
    nodes.helper("apply", PACKAGED)
    assert [one for kind in ("helmcharts", "jobs", "deployments") for one in named(nodes, kind, "coredns-ha")] == []
    assert nodes.left_of_ours() == []


def test_in(nodes: Nodes) -> None:
    """All three components at once; nobody loses anything, and a second run has nothing to do."""
    nodes.helper("apply", PACKAGED)
    with Way(nodes, "in") as way:
        done = nodes.helper("apply", EVERYTHING)
    see_nothing_lost(way.dns)
    assert done["changed"] is True
    assert homes(nodes, "coredns") == nodes.endpoints() == sorted(nodes.names)
    for chart in ("metrics-server", "traefik"):
        assert len(set(homes(nodes, chart))) == len(homes(nodes, chart)) == 2
    for name in ("coredns", "metrics-server"):
        assert nodes.one("deployments", name)["spec"]["replicas"] == 0
    budgets = {one["metadata"]["name"]: one["spec"]["maxUnavailable"] for one in nodes.get("poddisruptionbudgets")}
    assert budgets == {"coredns-ha": 1, "metrics-server-ha": 1, "traefik": 1}
    unchanged(nodes, EVERYTHING)


@pytest.fixture
def stranger(nodes: Nodes) -> Iterator[str]:
    """The address of a node that nothing runs on."""
    address = "198.18.0.99"
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": STRANGER}]
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": STRANGER},
        "spec": {"taints": [{"key": "example.org/nothing", "effect": "NoExecute"}], "unschedulable": True},
        "status": {"addresses": addresses},
    }
    nodes.sandbox("kubectl", "create", "-f", "-", stdin=json.dumps(node).encode())
    yield address
    nodes.sandbox("kubectl", "delete", "node", STRANGER)


def test_restart(nodes: Nodes, stranger: str) -> None:
    """k3s's own manifests, applied anew, undo nothing; and the NodeHosts that it keeps reach the chart's pods."""
    nodes.helper("apply", EVERYTHING)
    addresses = [pod["status"]["podIP"] for pod in pods(nodes, "coredns")]
    assert all(answers(nodes, "server-1", address, "agent-1") for address in addresses)
    before = written(nodes)
    nodes.restart_all()
    hosts = nodes.one("configmaps", "coredns")["data"]["NodeHosts"]
    assert f"{stranger} {STRANGER}" in hosts
    start = time.monotonic()
    for address in addresses:
        wait_for(STRANGER, lambda address=address: answers(nodes, "server-1", address, STRANGER), NODE_HOSTS_LATER)
    print(f"\na new node's name, after the restart: {time.monotonic() - start:.0f} s")
    unchanged(nodes, EVERYTHING)
    assert written(nodes) == before


def test_broken(nodes: Nodes) -> None:
    """A chart that serves goes on as it was."""
    refuse_broken(nodes, EVERYTHING)


def test_no_job_for_a_chart(nodes: Nodes) -> None:
    """Nor does a chart that serves mind, where its job cannot run."""
    nodes.helper("apply", EVERYTHING)
    endpoints, before = nodes.endpoints(), nodes.one("helmchartconfigs", "coredns-ha")["spec"]
    wish = {**EVERYTHING, "coredns_values": {"podAnnotations": {"example.org/tried": "no"}}, "wait_timeout": PATIENCE}
    with no_image(nodes), Way(nodes, "no job for a chart") as way:
        told = nodes.refused(wish)
    see_nothing_lost(way.dns)
    assert told["error"]["exit"] == 6, told["error"]
    assert re.search(NO_IMAGE, told["error"]["message"]), told["error"]
    assert nodes.endpoints() == endpoints
    assert nodes.one("helmchartconfigs", "coredns-ha")["spec"] == before
    wait_for_job(nodes, "coredns-ha")
    unchanged(nodes, EVERYTHING)


def test_node_killed(nodes: Nodes) -> None:
    """A node's death costs what is promised: nothing of DNS, metrics go on, and traefik is without it soon."""
    nodes.helper("apply", EVERYTHING)
    (victim, *_) = set.intersection(*(set(homes(nodes, chart)) for chart in PODS)) - {"server-1"}
    others = [node for node in nodes.names if node != victim]
    probe, client = Probe(nodes, others[-1]), Client(nodes, others[-1])
    at = nodes.kill(victim)
    wait_for("the node's death to be noticed", lambda: not nodes.ready(victim), LATEST)
    wait_for("no endpoint on it", lambda: victim not in nodes.endpoints(), LATEST)
    wait_for("metrics of the others", lambda: nodes.metrics(len(others)), LATEST)
    asked, dns = [(when, answered) for when, answered in client.stop() if when >= at], probe.stop(at)
    nodes.sandbox("restore", victim)
    wait_for(f"{victim} ready", lambda: nodes.ready(victim), 120)
    gone = lost(asked)
    late = max([at, *gone]) - at
    print(f"\n{victim} killed: {len(gone)} of {len(asked)} requests to traefik lost, the last after {late:.1f} s")
    see_nothing_lost(dns)
    assert any(answered for when, answered in asked if when < at + 20), "nobody answered"
    assert late <= LATEST
    wait_for("as many endpoints as before", lambda: len(nodes.endpoints()) == 3, 120)
    wait_for("metrics", nodes.metrics, 120)
    for chart in PODS:
        wait_for(f"{chart} as before", lambda chart=chart: len(homes(nodes, chart)) >= 2, 120)


def test_values(nodes: Nodes) -> None:
    """Other values are rolled out by the chart, pod by pod."""
    nodes.helper("apply", EVERYTHING)
    wish = {**EVERYTHING, "coredns_values": {"podAnnotations": {"example.org/tried": "yes"}}}
    with Way(nodes, "other values") as way:
        nodes.helper("apply", wish)
        wait_for("the old pods' end", lambda: len(nodes.get("pods", "-l", PODS["coredns"])) == 3, 60)
    annotations = [pod["metadata"]["annotations"] for pod in pods(nodes, "coredns")]
    assert [one.get("example.org/tried") for one in annotations] == ["yes"] * 3
    fresh, fixed = way.dns["fresh"], way.dns["fixed"]
    assert fresh["answered"] == fresh["planned"] > 0, fresh
    # A client that keeps its port asks the ended pod until a kube-proxy forgets that; they look once a second.
    assert fixed["longest_silence_s"] <= 3, fixed
    unchanged(nodes, wish)


WAYS = {
    "daemonset": {"coredns_strategy": "daemonset", "coredns_daemonset_nodes": "all"},
    "helm from daemonset": DNS,
    "replicas": {"coredns_strategy": "replicas"},
    "packaged": {"coredns_strategy": "packaged"},
}


@pytest.mark.parametrize("way", WAYS)
def test_ways(nodes: Nodes, way: str) -> None:
    """Between CoreDNS's strategies, without a lost query."""
    with Way(nodes, way) as seen:
        assert nodes.helper("apply", {**EVERYTHING, **WAYS[way]})["changed"] is True
    see_nothing_lost(seen.dns)


def test_without_dns(nodes: Nodes) -> None:
    """A chart by repository comes up where there is no cluster DNS."""
    nodes.helper("apply", {**EVERYTHING, "coredns_strategy": "packaged"})
    nodes.sandbox("kubectl", "-n", "kube-system", "scale", "deployment", "coredns", "--replicas=0")
    wait_for("no DNS", lambda: nodes.endpoints() == [], 30)
    wish = {**EVERYTHING, "coredns_chart": {"repo": Repository.url, "version": version("coredns")}}
    with Repository(nodes) as repository:
        nodes.helper("apply", wish)
        assert repository.served("coredns")
    assert nodes.endpoints() == sorted(nodes.names)
    unchanged(nodes, wish)


def test_back(nodes: Nodes, shipped: Json) -> None:
    """What k3s ships is there again, and nothing of ours is left."""
    if homes(nodes, "coredns") == []:
        nodes.helper("apply", EVERYTHING)
    with Way(nodes, "back") as way:
        nodes.helper("apply", PACKAGED)
    see_nothing_lost(way.dns)
    assert {name: nodes.one("deployments", name)["spec"] for name in LENT} == shipped
    wait_for("nothing of ours", lambda: nodes.left_of_ours() == [], 30)
    assert [one for kind in ("helmcharts", "helmchartconfigs") for one in nodes.get(kind) if is_ours(one)] == []
    wide = "deployments,services,configmaps,serviceaccounts,jobs,clusterroles,clusterrolebindings,rolebindings"
    assert named(nodes, wide, *CHARTS) == []
    unchanged(nodes, PACKAGED)

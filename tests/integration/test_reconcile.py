# SPDX-License-Identifier: GPL-3.0-or-later
"""What `reconcile` does with the wish that the cluster keeps."""

from __future__ import annotations

from cluster import Cluster, Server, changes
from helper import Helper, Run
from proxy import Proxy
from state import difference, state
from test_requests import LATENCY, round_trips
from ways import Ways

AUTOSCALERS = "/apis/autoscaling/v2/namespaces/kube-system/horizontalpodautoscalers"
MARK = "k3s-core-ha/reconciles"


def look(helper: Helper, node: str = "server-1") -> Run:
    """One look, as a timer on that server has it."""
    run = helper.run("reconcile", "--node", node)
    assert run.status == 0, run.stderr
    return run


def marked(server: Server) -> list[str]:
    """The nodes that say that they reconcile."""
    nodes = server.get("/api/v1/nodes")["items"]
    return sorted(n["metadata"]["name"] for n in nodes if MARK in n["metadata"].get("annotations", {}))


def test_reconcile(cluster: Cluster, server: Server, ways: Ways, proxy: Proxy, helper: Helper) -> None:
    """A cluster without a wish, then one that was changed by hand, then one that is as wished, then the way back."""
    ways.go("packaged")
    assert look(helper).result["revision"] == 0
    assert marked(server) == []

    ways.go("autoscaling")
    wished = state(server)
    server.request("DELETE", f"{AUTOSCALERS}/k3s-core-ha-coredns")
    mended = look(helper)
    assert mended.result["changed"] is True
    assert difference(wished, state(server)) == ""
    assert marked(server) == ["server-1"]

    mark = cluster.audit_mark()
    proxy.latency = LATENCY
    try:
        run = look(helper)
    finally:
        proxy.latency = 0
    print(f"\n{len(run.requests)} requests in {round_trips(run.requests)} round trips")
    assert run.result["changed"] is False
    assert changes(cluster.audited(mark)) == []
    assert round_trips(run.requests) <= 3

    ways.go("packaged")
    assert marked(server) == []


def test_one_server_at_a_time(server: Server, ways: Ways, helper: Helper) -> None:
    """The first by name of those that reconcile has the turn, and the next one when it is not ready."""
    ways.go("autoscaling")
    nodes = sorted(node["metadata"]["name"] for node in server.get("/api/v1/nodes")["items"])
    first = next(name for name in nodes if name != "server-1")
    assert first < "server-1"
    look(helper, first)
    server.request("DELETE", f"{AUTOSCALERS}/k3s-core-ha-coredns")
    idle = look(helper)
    assert (idle.result["turn"], idle.result["changed"]) == (first, False)
    assert look(helper, first).result["changed"] is True
    ways.go("packaged")

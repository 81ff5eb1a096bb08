# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run asks of the API server where nothing is to be changed, and in check mode."""

from __future__ import annotations

from cluster import Cluster, Server, changes
from helper import Helper
from proxy import Proxy, Request
from state import difference, state
from ways import Ways, spec

LATENCY = 2.0  # seconds, far above what a request takes, also on a busy machine: those sent together overlap


def round_trips(requests: list[Request]) -> int:
    """The longest chain of requests each of which was sent when the one before had been answered."""
    chain, answered = 0, float("-inf")
    for request in sorted(requests, key=lambda request: request.end):
        if request.start >= answered:
            chain, answered = chain + 1, request.end
    return chain


def test_nothing_to_do(cluster: Cluster, ways: Ways, proxy: Proxy, helper: Helper) -> None:
    """At most three round trips, and no mutating verb, not even as a dry run."""
    ways.go("autoscaling")
    mark = cluster.audit_mark()
    proxy.latency = LATENCY
    try:
        run = helper.apply(spec("autoscaling"))
    finally:
        proxy.latency = 0
    print(f"\n{len(run.requests)} requests in {round_trips(run.requests)} round trips")
    assert run.result["changed"] is False
    assert [str(request) for request in run.requests if request.method != "GET"] == []
    assert cluster.audited(mark) == []
    assert all(request.end for request in run.requests)
    assert round_trips(run.requests) <= 3


def test_check_mode(cluster: Cluster, server: Server, ways: Ways, helper: Helper) -> None:
    """A changed wish: what is asked of the server changes nothing there."""
    ways.go("autoscaling")
    before, mark = state(server), cluster.audit_mark()
    run = helper.apply({"coredns_min_replicas": 4, "coredns_traffic_distribution": "none"}, "--dry-run")
    events = cluster.audited(mark)
    assert run.result["changed"] is True
    assert {request.path.partition("?")[0].rpartition("/")[2] for request in run.requests if request.dry} >= {
        "kube-dns",
        "k3s-core-ha",
        "k3s-core-ha-coredns",
    }
    assert run.writes == []
    assert changes(events) == []
    assert len(events) == sum(request.dry for request in run.requests)
    assert difference(before, state(server)) == ""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Others change the cluster while a run is at work: the run ends where it would have without them."""

from __future__ import annotations

import functools
import threading

import pytest
from cluster import Server, wait_for
from helper import Helper, Point
from state import AUTOSCALER, DEPLOYMENT, PODS, RETIRING, SCALE, Endpoints, difference, settled, state
from ways import FULL, PACKAGED, Ways, spec

FEW = {**spec("autoscaling"), "coredns_min_replicas": 2}
ENDS = {PACKAGED: spec(PACKAGED), "replicas": {**spec("replicas"), "coredns_replicas": 2}}
# More than at either end, and fewer than there are nodes: a pod that the plan does not know must not have the last one.
MOST = 3


def scale_by_autoscaler(server: Server, scaled: threading.Event) -> None:
    """The autoscaler wants more, and they run; says so. Below its minimum it needs neither load nor a metric."""
    server.patch(AUTOSCALER, {"spec": {"minReplicas": MOST}})

    def running() -> bool:
        pods = [pod for pod in server.get(PODS)["items"] if pod["metadata"]["labels"].get("k8s-app") == "kube-dns"]
        serving = [pod for pod in pods if RETIRING not in pod["metadata"]["labels"]]
        return server.get(DEPLOYMENT)["spec"]["replicas"] == MOST and len(serving) >= MOST

    wait_for(f"{MOST} replicas by the autoscaler", running, 25)
    scaled.set()


@pytest.mark.parametrize("end", ENDS)
def test_autoscaler_acts_meanwhile(
    end: str, server: Server, ways: Ways, helper: Helper, subtests: pytest.Subtests
) -> None:
    """The autoscaler adds a pod that the plan does not know, at each write before it is gone: none is left over, and
    nobody is without its pods when the count changes hands.
    """
    begin(ways, helper)
    undisturbed = helper.apply(ENDS[end], *ways.words).done
    wished = settled(server)
    gone = next(i for i, request in enumerate(undisturbed) if str(request) == f"DELETE {AUTOSCALER}")
    for write in range(gone + 1) if FULL else [gone]:
        with subtests.test(write=write):
            begin(ways, helper)
            scaled = threading.Event()
            act = functools.partial(scale_by_autoscaler, server, scaled)
            with Endpoints(server) as endpoints:
                point = Point(write, forward=False, cut=False, act=act)
                run = helper.run("apply", *ways.words, spec=ENDS[end], at=point)
            assert run.status == 0, run.stderr
            assert scaled.is_set(), "the autoscaler did not act in the midst of the run"
            wait_for(f"the state {end}", lambda: not difference(wished, state(server)), 20)
            assert endpoints.below(len(wished["pods"])) == []
            print(
                f"\nto {end}, scaled to {MOST} before write {write}: {len(run.done)} writes, {len(undisturbed)} without"
            )
            assert helper.apply(ENDS[end], *ways.words).done == []


def test_somebody_scales_meanwhile(server: Server, ways: Ways, helper: Helper) -> None:
    """A count that is raised between look and write is the autoscaler's to lower: not even for a moment is it ours."""
    leave_packaged(ways)
    undisturbed = [str(request) for request in helper.apply(FEW, *ways.words).done]
    leave_packaged(ways)
    raised = functools.partial(server.patch, SCALE, {"spec": {"replicas": MOST}})
    before = Point(undisturbed.index(f"PATCH {SCALE}") - 1, forward=False, cut=False, act=raised)
    run = helper.run("apply", *ways.words, spec=FEW, at=before)
    assert run.status == 0, run.stderr
    assert f"PATCH {SCALE}" not in map(str, run.done)
    assert settled(server)["deployment"]["spec"]["replicas"] == MOST


def begin(ways: Ways, helper: Helper) -> None:
    """Two replicas under an autoscaler."""
    leave_packaged(ways)
    helper.apply(FEW, *ways.words)
    settled(ways.server)


def leave_packaged(ways: Ways) -> None:
    """From what k3s ships to where no way is known."""
    ways.go(PACKAGED)
    ways.at = "on the way"

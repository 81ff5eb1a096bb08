# SPDX-License-Identifier: GPL-3.0-or-later
"""`plan -o manifests` for GitOps: kubectl makes of it the cluster that `apply` makes, and cannot take DNS away."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from cluster import Cluster, Json, Server, wait_for
from helper import Helper
from state import AUTOSCALER, BUDGET, DAEMONSET, DEPLOYMENT, SERVICE, WISH, Endpoints, difference, state
from ways import PACKAGED, STRATEGIES, Ways, spec

APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=k3s-core-ha", "-f", "-")
KEPT = "the cluster needs this object"
GUARD = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/k3s-core-ha-keep"


def of_both(end: Json) -> Json:
    """A state without what manifests bring more than apply does (annotations that keep what is k3s's) and how the
    count came to be (a field of ours, or a call of the scale subresource).
    """
    end = copy.deepcopy(end)
    for thing in [end["deployment"], end["daemonset"], end["service"], *end["others"], *end["metrics"]]:
        if thing is None:
            continue
        del thing["ours"]
        thing["metadata"]["annotations"] = {
            key: value
            for key, value in thing["metadata"].get("annotations", {}).items()
            if key.startswith(("objectset.rio.cattle.io/", "deployment.kubernetes.io/"))
        }
    return end


def guarded(cluster: Cluster, manifests: str, kept: int) -> bool:
    """Whether the API server refuses to delete what is kept; an admission policy takes a moment to be in force."""
    tried = cluster.run("kubectl", "delete", "--dry-run=server", "-f", "-", stdin=manifests.encode())
    return tried.stderr.count(KEPT) == kept


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_applied_and_deleted_by_kubectl(
    strategy: str, cluster: Cluster, server: Server, ways: Ways, helper: Helper
) -> None:
    """From what k3s ships, by kubectl alone, to the same state; then deleted; then back by the helper."""
    ways.way(PACKAGED, strategy)
    ways.go(PACKAGED)
    printed = helper.run("plan", *ways.words, spec=spec(strategy), output="manifests")
    assert printed.status == 0, printed.stderr
    assert printed.writes == []
    objects: list[Any] = list(yaml.safe_load_all(printed.stdout))
    ways.at = "on the way"

    cluster.sandbox("kubectl", *APPLY, stdin=printed.stdout.encode())
    wished = of_both(ways.ends[strategy])
    wait_for(f"the state {strategy}", lambda: not difference(wished, of_both(state(server))), 60)

    kept = sum("k3s-core-ha/keep" in one["metadata"].get("annotations", {}) for one in objects)
    assert kept >= 2
    wait_for("the guard to be in force", lambda: guarded(cluster, printed.stdout, kept), 60)

    with Endpoints(server) as endpoints:
        deleted = cluster.run("kubectl", "delete", "-f", "-", stdin=printed.stdout.encode())
    assert deleted.returncode != 0
    assert deleted.stderr.count(KEPT) == kept, deleted.stderr
    assert deleted.stdout.count(" deleted") == len(objects) - kept
    assert [server.find(path) for path in (AUTOSCALER, BUDGET, WISH, GUARD)] == [None] * 4
    assert server.get(DEPLOYMENT)["spec"]["replicas"] >= 1 or server.find(DAEMONSET)
    assert server.get(SERVICE)["spec"]["clusterIP"]
    assert endpoints.below(0) == []

    ways.go(PACKAGED)

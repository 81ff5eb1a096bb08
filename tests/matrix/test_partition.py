# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that cannot be reached while strategy custom comes: refused or finished, never half."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cluster import changes, wait_for
from nodes import PACKAGED, is_ours
from probe import Probe

if TYPE_CHECKING:
    from conftest import Clusters
    from nodes import Nodes

WISH = {**PACKAGED, "coredns_strategy": "custom", "coredns_replicas": 3, "coredns_lameduck": 5, "wait_timeout": 60}
CUT_OFF = "server-3"
NOTICED = 85  # seconds until a node that is not heard of is not ready, whoever held the controller manager's lease
WENT_BACK = 6  # exit status


def cut_off(nodes: Nodes) -> None:
    """Pull its cable, until that is noticed."""
    nodes.sandbox("partition", CUT_OFF)
    wait_for(f"{CUT_OFF} to be missed", lambda: not nodes.ready(CUT_OFF), NOTICED)


def mend(nodes: Nodes) -> None:
    """Put it in again."""
    nodes.sandbox("restore", CUT_OFF)
    wait_for(f"{CUT_OFF} to be back", lambda: nodes.ready(CUT_OFF), 120)


def as_shipped(nodes: Nodes) -> bool:
    """Whether no field and no object of CoreDNS is ours."""
    lent = nodes.one("deployments", "coredns")["metadata"]["managedFields"]
    ours = [one for kind in ("poddisruptionbudgets", "horizontalpodautoscalers") for one in nodes.get(kind)]
    return not [one for one in ours if is_ours(one)] and all(
        entry["manager"] != "k3s-core-ha" or entry.get("subresource") for entry in lent
    )


@pytest.mark.usefixtures("whole")
def test_server_cut_off(clusters: Clusters) -> None:
    """Before a run that knows nothing of it; and in the midst of one."""
    nodes = clusters.of("ha")
    told = nodes.set_aside(["coredns"])
    cut_off(nodes)
    mark = nodes.audit_mark()
    refused = nodes.refused(WISH, *(word for word in told if CUT_OFF not in word))
    assert CUT_OFF in json.dumps(refused), refused
    assert changes(nodes.audited(mark)) == []
    mend(nodes)

    client = Probe(nodes, "agent-1")
    for seconds in (1, 6):
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(nodes.outcome, "apply", WISH, *told)
            time.sleep(seconds)
            nodes.sandbox("partition", CUT_OFF)
            done = run.result()
        print(f"\ncut off after {seconds} s: exit status {done.returncode}", flush=True)
        assert done.returncode in (0, WENT_BACK), f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        if done.returncode == WENT_BACK:
            assert as_shipped(nodes)
        else:
            assert not nodes.helper("apply", WISH, *told)["changed"]
        mend(nodes)
        nodes.helper("apply", WISH, *told)
        assert not nodes.helper("apply", WISH, *told)["changed"]
        nodes.helper("apply", PACKAGED, *told)
        assert as_shipped(nodes)
    seen = client.stop()
    print(f"fresh: {seen['fresh']['lost']} of {seen['fresh']['planned']} lost")
    nodes.set_aside([])
    assert nodes.left_of_ours() == []

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster comes to rest: nothing of kube-system waits for a place, crashes or is fought over."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from cluster import is_ready, wait_for

if TYPE_CHECKING:
    from cluster import Json
    from nodes import Nodes

# Of a pod without a place, one that crashes, one that cannot be made, and a manifest that k3s cannot apply.
COMPLAINTS = ("FailedScheduling", "BackOff", "FailedCreate", "ApplyManifestFailed")


def see_quiet(nodes: Nodes, seconds: int) -> None:
    """Every pod runs, none is started anew, and nobody changes what is wished of them, for so long."""
    wait_for("every pod of kube-system to run", lambda: not _unsettled(nodes), 120)
    before = _counts(nodes)
    since = time.time()
    time.sleep(seconds)  # that nothing happens has no sign to wait for
    assert _unsettled(nodes) == []
    assert _counts(nodes) == before
    assert [event["message"] for event in nodes.get("events") if _is_complaint(event, since)] == []


def _unsettled(nodes: Nodes) -> list[str]:
    return [pod["metadata"]["name"] for pod in _lasting(nodes) if not is_ready(pod)]


def _counts(nodes: Nodes) -> dict[str, int]:
    """How often each pod was started anew, and what is wished of those who make them was changed."""
    started = {
        pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"]["containerStatuses"])
        for pod in _lasting(nodes)
    }
    makers = nodes.get("deployments,daemonsets,replicasets")
    return started | {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["generation"] for one in makers}


def _lasting(nodes: Nodes) -> list[Json]:
    """The pods, but those that have done what they were for."""
    return [pod for pod in nodes.get("pods") if pod["status"]["phase"] != "Succeeded"]


def _is_complaint(event: Json, since: float) -> bool:
    said = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return event["reason"] in COMPLAINTS and datetime.datetime.fromisoformat(said).timestamp() > since

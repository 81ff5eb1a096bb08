# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps helm-controller's jobs from running at all, for as long as it is entered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cluster import wait_for

if TYPE_CHECKING:
    from nodes import Nodes

TAINT = "example.org/closed"
# How a job's pod tells that there is no image, or no node, for it.
NO_IMAGE = r"; its pod helm-\S+: (ErrImagePull|ImagePullBackOff): "
NO_NODE = r"; its pod helm-\S+: Unschedulable: 0/3 nodes are available: 3 node\(s\) had untolerated taint"


def job_of(chart: str) -> str:
    """Its name."""
    return f"helm-install-{chart}"


@contextlib.contextmanager
def no_image(nodes: Nodes) -> Iterator[None]:
    """No node has the jobs' image, and there is no way out to a registry."""
    (container,) = nodes.one("jobs", job_of("traefik"))["spec"]["template"]["spec"]["containers"]
    image = container["image"]
    _rename_image(nodes, image, f"{image}-aside")
    try:
        yield
    finally:
        _rename_image(nodes, f"{image}-aside", image)


def _rename_image(nodes: Nodes, old: str, new: str) -> None:
    for node in nodes.names:
        for words in (("tag", old, new), ("rm", old)):
            nodes.sandbox("exec", node, "k3s", "ctr", "images", *words)


@contextlib.contextmanager
def no_node(nodes: Nodes) -> Iterator[None]:
    """Each node has a taint that the jobs do not tolerate."""
    nodes.sandbox("kubectl", "taint", "node", "--all", f"{TAINT}=:NoSchedule")
    try:
        yield
    finally:
        nodes.sandbox("kubectl", "taint", "node", "--all", f"{TAINT}:NoSchedule-")


def wait_for_job(nodes: Nodes, chart: str) -> None:
    """Until it is complete."""

    def complete() -> bool:
        found = nodes.get("jobs", f"--field-selector=metadata.name={job_of(chart)}")
        conditions = [one for job in found for one in job["status"].get("conditions", [])]
        return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)

    wait_for(f"the end of {job_of(chart)}", complete, 120)

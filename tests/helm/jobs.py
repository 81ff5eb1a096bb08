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
REGISTRY = "registry-1.docker.io"
# How a job's pod tells that there is no image, or no node, for it.
NO_IMAGE = r"; its pod helm-\S+: (ErrImagePull|ImagePullBackOff): "
NO_NODE = r"; its pod helm-\S+: Unschedulable: 0/3 nodes are available: 3 node\(s\) had untolerated taint"


def job_of(chart: str) -> str:
    """Its name."""
    return f"helm-install-{chart}"


@contextlib.contextmanager
def no_image(nodes: Nodes) -> Iterator[None]:
    """No node has the jobs' image, and the registry refuses every connection."""
    (container,) = nodes.one("jobs", job_of("traefik"))["spec"]["template"]["spec"]["containers"]
    image = container["image"]
    _on_each(nodes, f"echo 127.0.0.1 {REGISTRY} >>/etc/hosts", *_rename(image, f"{image}-aside"))
    try:
        yield
    finally:
        _on_each(nodes, *_rename(f"{image}-aside", image), f"sed -i /{REGISTRY}/d /etc/hosts")


def _rename(old: str, new: str) -> list[str]:
    return [f"k3s ctr images tag {old} {new}", f"k3s ctr images rm {old}"]


def _on_each(nodes: Nodes, *commands: str) -> None:
    for node in nodes.names:
        nodes.sandbox("exec", node, "sh", "-c", " && ".join(commands))


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

# SPDX-License-Identifier: GPL-3.0-or-later
"""A Deployment of somebody's own, as a user applies it: a web server of one replica behind a Service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster import Json
    from nodes import Nodes

NAMESPACE = "web"
NAME = "site"
LABELS = {"app": NAME}
IMAGE = "rancher/mirrored-library-busybox:1.37.0"
PORT = 8080
# Process 1, which no SIGTERM ends: it answers on until its grace period is over, as a server does that drains.
SERVE = f"mkdir /www && echo OK >/www/ping && exec httpd -f -p {PORT} -h /www"
READY = {"httpGet": {"path": "/ping", "port": PORT}, "periodSeconds": 1}
CONTAINER = {"name": "httpd", "image": IMAGE, "command": ["sh", "-c", SERVE], "readinessProbe": READY}
KINDS = "deployments,replicasets,pods,poddisruptionbudgets,horizontalpodautoscalers,services,configmaps"


def apply(nodes: Nodes) -> None:
    """By kubectl, without a word of replicas."""
    head = {"namespace": NAMESPACE, "name": NAME}
    pod = {"terminationGracePeriodSeconds": 5, "containers": [CONTAINER]}
    deployment = {"selector": {"matchLabels": LABELS}, "template": {"metadata": {"labels": LABELS}, "spec": pod}}
    service = {"selector": LABELS, "ports": [{"port": 80, "targetPort": PORT}]}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": service},
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    nodes.sandbox("kubectl", "apply", "-f", "-", stdin=manifest.encode())
    nodes.sandbox("kubectl", "-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", "--timeout=120s")


def everything(nodes: Nodes) -> list[Json]:
    """All that is in its namespace, with who holds what."""
    found = nodes.sandbox("kubectl", "get", KINDS, "-n", NAMESPACE, "--show-managed-fields", "-o", "json")
    return json.loads(found)["items"]


def left_of_ours(nodes: Nodes) -> list[str]:
    """What a way back has left of ours there: objects, fields, labels, annotations."""
    return [f"{one['kind']} {one['metadata']['name']}" for one in everything(nodes) if "k3s-core-ha" in json.dumps(one)]

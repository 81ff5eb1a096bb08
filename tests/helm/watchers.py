# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen while something changes: by clients of a Service, by the API server of metrics-server, and of the pods
of local-path-provisioner.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cluster import wait_for
from provisioners import Active

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cluster import Json
    from nodes import Nodes

EVERY = 0.2
# A request over a new connection, again and again: when it was made, and its answer if there was one within two
# seconds, as with a query.
# From a source port that was not used for an hour: to one that was, conntrack gives the pod that it had, and where that
# one died without an answer it does so for two minutes more. Below those that the kernel and NodePorts take.
ASK = f"""
import socket, sys, time
while True:
    time.sleep({EVERY})
    at = time.time()
    answer = b""
    with socket.socket() as client:
        client.settimeout(2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("", 11000 + int(at / {EVERY}) % 19000))
        try:
            client.connect((sys.argv[1], 80))
            client.sendall(b"GET /ping HTTP/1.0\\r\\n\\r\\n")
            while part := client.recv(4096):
                answer += part
        except OSError:
            answer = b""
    print(at, *answer.decode().split()[-1:], flush=True)
"""
# A watch may end, as each does some time; the next one begins with how it is then.
FOLLOW = f'while :; do kubectl get apiservice v1beta1.metrics.k8s.io --watch -o "$0"; sleep {EVERY}; done'
AVAILABLE = r'{range .status.conditions[?(@.type=="Available")]}{.status} {.reason} {.message}{"\n"}{end}'


class _Watcher:
    """A program on a node until it is stopped, and what it has printed."""

    def __init__(self, nodes: Nodes, node: str, name: str, *command: str) -> None:
        self._nodes = nodes
        self._node = node
        self._unit = f"watch-{name}"
        output = f"--property=StandardOutput=truncate:/run/{self._unit}"
        self._run("systemd-run", "--quiet", "--collect", f"--unit={self._unit}", output, *command)

    def _run(self, *words: str) -> str:
        return self._nodes.sandbox("exec", self._node, *words)

    def _lines(self) -> list[str]:
        return self._run("cat", f"/run/{self._unit}").splitlines()

    def _end(self) -> list[str]:
        self._run("systemctl", "stop", self._unit)
        return self._lines()


class Client(_Watcher):
    """Asks a Service, traefik's or another one that answers as its ping does, from a node."""

    def __init__(self, nodes: Nodes, node: str, service: str = "traefik", namespace: str = "kube-system") -> None:
        found = nodes.sandbox("kubectl", "get", "service", service, "-n", namespace, "-o", "json")
        super().__init__(nodes, node, service, "python3", "-c", ASK, json.loads(found)["spec"]["clusterIP"])
        wait_for(f"an answer of {service}", lambda: any(answered for _, answered in self.asked()), 30)

    def asked(self) -> list[tuple[float, bool]]:
        """When each request so far was made, and whether it was answered."""
        return _asked(self._lines())

    def stop(self) -> list[tuple[float, bool]]:
        """End it; gives the same of all."""
        return _asked(self._end())


def _asked(lines: Iterable[str]) -> list[tuple[float, bool]]:
    return [(float(at), words.endswith("OK")) for at, _, words in (line.partition(" ") for line in lines)]


def lost(seen: Iterable[tuple[float, bool]]) -> list[float]:
    """When the requests without an answer were made."""
    return [at for at, answered in seen if not answered]


class Availability(_Watcher):
    """Follows what the API server says of metrics-server's APIService."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__(nodes, "server-1", "metrics", "bash", "-c", FOLLOW, f"jsonpath={AVAILABLE}")
        wait_for("a word of the APIService", self._lines, 30)

    def stop(self) -> list[str]:
        """End it; gives each word that it was not available."""
        lines = self._end()
        assert lines, "the watch said nothing"
        return [line for line in lines if not line.startswith("True ")]


class Pods(_Watcher):
    """Follows the pods of local-path-provisioner."""

    def __init__(self, nodes: Nodes) -> None:
        follow = ("get", "pods", "-n", "kube-system", "--watch", "--output-watch-events", "-o", "json")
        super().__init__(nodes, "server-1", "pods", "kubectl", *follow)
        wait_for("a pod", self._lines, 30)

    def stop(self) -> Active:
        """End it; gives which were active."""
        self._run("systemctl", "is-active", "--quiet", self._unit)  # until now
        active = Active()
        for event in _documents("\n".join(self._end())):
            active.take(event)
        return active


def _documents(text: str) -> Iterator[Json]:
    """JSON documents one after the other; the last may be cut."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return
        yield document

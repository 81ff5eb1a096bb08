# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox cluster whose CoreDNS runs on nodes of the API server's alone, and a bare client for its API."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from typing import Self

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANDBOX = ROOT / "tests" / "sandbox" / "sandbox"
CLONE_NEWNET = 0x40000000
AUDIT_LOG = "/var/lib/rancher/k3s/server/logs/audit.log"
READS = ("get", "list", "watch")

Json = dict[str, Any]


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Server:
    """The real API server, with the administrator's certificate."""

    def __init__(self, kubeconfig: str, directory: pathlib.Path) -> None:
        config = yaml.safe_load(kubeconfig)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = urllib.parse.urlsplit(cluster["server"]).netloc
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        pair = directory / "admin.pem"
        pair.touch(0o600)
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.tls.load_cert_chain(pair)

    def connect(self, timeout: float = 60) -> http.client.HTTPSConnection:
        """A connection of one's own."""
        return http.client.HTTPSConnection(self.address, context=self.tls, timeout=timeout)

    def request(self, method: str, path: str, body: Any = None, kind: str = "json") -> Json:
        """One request; `kind` is json, merge-patch+json, apply-patch+yaml …"""
        connection = self.connect()
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": f"application/{kind}"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, text)
        return json.loads(text)

    def get(self, path: str) -> Json:
        """An object, or a list."""
        return self.request("GET", path)

    def find(self, path: str) -> Json | None:
        """An object, or None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def patch(self, path: str, body: Any, kind: str = "merge-patch+json") -> Json:
        """A patch as a person would make it."""
        return self.request("PATCH", path, body, kind)

    def watch(self, path: str, started: Callable[[http.client.HTTPSConnection], None]) -> Iterator[Json]:
        """Each event of a watch, until the connection that `started` is told of is shut."""
        connection = self.connect(timeout=600)
        connection.request("GET", f"{path}{'&' if '?' in path else '?'}watch=true&timeoutSeconds=3600")
        started(connection)
        yield from map(json.loads, connection.getresponse())


class Watching:
    """Follows a watch, in a thread, for as long as it is entered."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._path = path
        self._began = threading.Event()
        self._connection: http.client.HTTPSConnection | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def take(self, event: Json) -> None:
        """Go on with this event."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._began.wait(30), f"the watch of {self._path} did not begin"
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        lived = self._thread.is_alive()
        if self._connection is not None:
            hang_up(self._connection)
        self._thread.join(10)
        assert lived or failed is not None, f"the watch of {self._path} ended before it was left"

    def _start(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection
        self._began.set()

    def _follow(self) -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):  # how the watch is ended
            for event in self._server.watch(self._path, self._start):
                self.take(event)


class Cluster:
    """A sandbox cluster by its name, behind SANDBOX_NAME, by which several runs have clusters of their own."""

    def __init__(self, name: str) -> None:
        self.name = "-".join(filter(None, [os.environ.get("SANDBOX_NAME"), name]))

    def run(self, *words: str, stdin: bytes | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """A command of the sandbox, whatever becomes of it."""
        command = [str(SANDBOX), "--name", self.name, *words]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    def sandbox(self, *words: str, stdin: bytes | None = None, timeout: float = 300) -> str:
        """A command of the sandbox that must succeed; gives what it prints."""
        done = self.run(*words, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, f"sandbox {' '.join(words)}: {done.stderr[-1000:]}"
        return done.stdout

    def up(self, topology: str, *options: str) -> None:
        """Start it."""
        self.sandbox("up", topology, *options, timeout=600)

    def enter(self) -> None:
        """Be in its network from now on."""
        namespace = self.sandbox("net", "sh", "-c", "ip netns identify $$").strip()
        libc = ctypes.CDLL(None, use_errno=True)
        with pathlib.Path("/run/netns", namespace).open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"entering the network namespace {namespace}")

    def audit_mark(self) -> int:
        """How many lines the audit log has."""
        return int(self.sandbox("exec", "server-1", "awk", "END { print NR }", AUDIT_LOG))

    def audited(self, mark: int) -> list[Json]:
        """What the helper, by its user agent or as a field manager, asked for since the mark, but for reads."""
        ours = '/"stage":"ResponseComplete"/ && (/"userAgent":"k3s-core-ha\\// || /fieldManager=k3s-core-ha/)'
        ours += ' && !/"username":"system:serviceaccount:/'  # `lead` in a pod, whose every renewal is a write
        text = self.sandbox("exec", "server-1", "awk", f"NR > {mark} && {ours}", AUDIT_LOG)
        return [event for event in map(json.loads, text.splitlines()) if event["verb"] not in READS]


def hang_up(connection: http.client.HTTPSConnection) -> None:
    """End what another thread reads from a connection. TLS's own shutdown would take the object from under it."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):  # the other end was first
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def changes(events: list[Json]) -> list[str]:
    """The requests of an audit log that may have changed something: dry runs do not."""
    return [f"{e['verb']} {e['requestURI']}" for e in events if "dryRun=All" not in e["requestURI"]]


def is_ready(thing: Json) -> bool:
    """By its condition Ready: a pod or a node."""
    conditions = thing["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Ask until the condition holds; gives what it gave."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)
    return value

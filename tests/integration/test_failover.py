# SPDX-License-Identifier: GPL-3.0-or-later
"""Fail-over profiles on three servers and an agent: brought by the role, and held against servers that die.

The server that dies is the one that the agent is connected to: under `fast` twice, or ten times with FULL=1, and once
under `edge`. And on a cluster of one server, whose datastore is SQLite: there each restart is an outage of the API.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from cluster import ROOT, ApiError, Cluster, Json, Server, is_ready, wait_for

TOOLS = ROOT / ".venv" / "bin"
HELPER = "/usr/local/bin/k3s-core-ha"
ROUNDS = 10 if os.environ.get("FULL") else 2
COMPONENTS = ("coredns", "metrics_server", "local_path_provisioner")
TOLERANCE = 2  # seconds by which a measurement may lie outside of what is predicted
OURS = "find /etc/rancher /etc/systemd/system /var/lib/rancher/k3s/agent/etc -name '*k3s-core-ha*'"
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0\s", re.MULTILINE)
# The components stay as k3s ships them, and no units of ours look after them: what counts here are k3s's own timers.
PACKAGED = {f"k3s_core_ha_{name}_strategy": "packaged" for name in COMPONENTS} | {"k3s_core_ha_reconcile": False}
API_ERRORS = (ApiError, OSError, ssl.SSLError, http.client.HTTPException, ValueError)


class Site:
    """The cluster, and the collection as a user installs it."""

    def __init__(self, directory: pathlib.Path, topology: str) -> None:
        self.directory = directory
        self.topology = topology
        self.cluster = Cluster(f"failover-{topology}")
        self.collections = directory / "collections"
        self.addresses: dict[str, str] = {}

    def start(self) -> None:
        self.cluster.up(self.topology, "--timeout", "300")
        self.run(str(ROOT / "tests" / "dist"), str(self.directory / "dist"))
        (artefact,) = (self.directory / "dist").glob("k3s_ha-core-*.tar.gz")
        galaxy = str(TOOLS / "ansible-galaxy")
        self.run(galaxy, "collection", "install", "--offline", "-p", str(self.collections), str(artefact))
        (self.directory / "inventory.yml").write_text(self.cluster.sandbox("inventory"))
        self.cluster.enter()
        nodes = json.loads(self.cluster.sandbox("kubectl", "get", "nodes", "-o", "json"))["items"]
        for node in nodes:
            (address,) = [a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"]
            self.addresses[node["metadata"]["name"]] = address

    def run(self, *command: str) -> str:
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(self.collections), "ANSIBLE_NOCOLOR": "1"}
        environment |= {"ANSIBLE_PIPELINING": "1", "ANSIBLE_TIMEOUT": "60"}
        done = subprocess.run(command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
        return done.stdout

    def play(self, profile: str) -> dict[str, int]:
        """Run the collection's playbook; how much changed on each host."""
        variables = json.dumps({**PACKAGED, "k3s_core_ha_failover_profile": profile})
        inventory = str(self.directory / "inventory.yml")
        start = time.monotonic()
        out = self.run(str(TOOLS / "ansible-playbook"), "-i", inventory, "-e", variables, "k3s_ha.core.ha")
        print(f"profile {profile}: the playbook took {time.monotonic() - start:.0f} s", flush=True)
        changed = {host: int(count) for host, count in RECAP.findall(out)}
        assert len(changed) == len(self.addresses), out[-3000:]
        return changed

    def server(self, name: str) -> Server:
        """The API of that server."""
        api = Server(self.cluster.sandbox("exec", name, "cat", "/etc/rancher/k3s/k3s.yaml"), self.directory)
        api.address = f"{self.addresses[name]}:6443"
        return api

    def budget(self, server: str) -> Json:
        return json.loads(self.cluster.sandbox("exec", server, HELPER, "-o", "json", "budget"))

    def connected_to(self) -> str:
        """The server that most of agent-1's connections lead to."""
        table = self.cluster.sandbox("exec", "agent-1", "cat", "/proc/net/tcp")
        peers: Counter[str] = Counter()
        for line in table.splitlines()[1:]:
            _, _, remote, state, *_ = line.split()
            address, port = remote.split(":")
            if state == "01" and int(port, 16) == 6443:
                peers[socket.inet_ntoa(bytes.fromhex(address)[::-1])] += 1
        by_address = {address: name for name, address in self.addresses.items()}
        return next(by_address[peer] for peer, _ in peers.most_common() if peer in by_address)

    def ours(self) -> list[str]:
        """Files of the profile on all nodes."""
        found = {node: self.cluster.sandbox("exec", node, "sh", "-c", OURS).split() for node in self.addresses}
        return [f"{node}:{file}" for node, files in found.items() for file in files]

    def all_well(self, api: Server) -> bool:
        """Whether all nodes are ready, and all servers voters of etcd."""
        with contextlib.suppress(*API_ERRORS):
            nodes = api.get("/api/v1/nodes")["items"]
            voters = [c for node in nodes for c in node["status"]["conditions"] if c["type"] == "EtcdIsVoter"]
            return all(map(is_ready, nodes)) and all(c["status"] == "True" for c in voters)
        return False


@dataclass
class Look:
    """What an API server shows of the nodes, again and again, from its cache: that needs no etcd."""

    api: Server
    victim: str
    unknown_at: float = 0
    not_ready: set[str] = field(default_factory=set)  # other nodes that were seen so
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self.ended.set()
        self.thread.join(timeout=70)

    def _look(self) -> None:
        while not self.ended.wait(0.2):
            with contextlib.suppress(*API_ERRORS):
                for node in self.api.get("/api/v1/nodes?resourceVersion=0")["items"]:
                    if is_ready(node):
                        continue
                    name = node["metadata"]["name"]
                    if name == self.victim:
                        self.unknown_at = self.unknown_at or time.monotonic()
                    else:
                        self.not_ready.add(name)


@contextlib.contextmanager
def started(made: Site) -> Iterator[Site]:
    """Up for as long as it is entered. KEEP=1 leaves it up."""
    try:
        made.start()
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.cluster.sandbox("down")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with started(Site(tmp_path_factory.mktemp("failover"), "ha")) as made:
        yield made


def test_fast_is_brought_by_the_role_and_is_in_force(site: Site) -> None:
    assert all(site.play("fast").values())
    told = site.budget("server-1")
    print(json.dumps(told["nodes"]))
    for server in told["servers"]:
        assert (server["grace_period"], server["monitor_period"], server["toleration_seconds"]) == (20, 1, 30)
        assert server["etcd_voter"] is True
    assert {node["lease_duration"] for node in told["nodes"]} == {16}
    assert told["lease_holder"]
    for node, unit in (("server-1", "k3s"), ("agent-1", "k3s-agent")):
        shown = site.cluster.sandbox("exec", node, "systemctl", "show", "-p", "Environment", unit)
        assert "HTTP2_READ_IDLE_TIMEOUT_SECONDS=5" in shown
    assert len(site.ours()) == 3 * 3 + 2


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert set(site.play("fast").values()) == {0}


def kill_the_agent_s_server(site: Site, what: str) -> None:
    """Its death is noticed when it was predicted to be, and nobody else is taken for dead."""
    victim = site.connected_to()
    survivor = next(name for name in site.addresses if name.startswith("server-") and name != victim)
    api = site.server(survivor)
    wait_for("all nodes ready, all etcds voters", lambda: site.all_well(api), 120)
    (predicted,) = [node for node in site.budget(survivor)["nodes"] if node["name"] == victim]
    low, high = predicted["detected"]
    look = Look(api, victim)
    start = time.monotonic()
    site.cluster.sandbox("kill", victim)
    killed = time.monotonic()
    try:
        wait_for(f"{victim} Unknown", lambda: look.unknown_at, high + 60)
        time.sleep(20)  # a living node that went silent with the server would be found by now
    finally:
        look.end()
        site.cluster.sandbox("restore", victim)
    seen = look.unknown_at - start
    role = "in the lead" if predicted["lease_holder"] else "not in the lead"
    print(
        f"{what}: {victim}, {role}, killed, which took {killed - start:.1f} s: Unknown after {seen:.1f} s,"
        f" predicted {low} to {high} s; others not ready: {look.not_ready or 'none'}",
        flush=True,
    )
    assert look.not_ready == set()
    assert low - TOLERANCE <= seen <= high + TOLERANCE
    wait_for("all nodes ready, all etcds voters", lambda: site.all_well(api), 180)


@pytest.mark.parametrize("number", range(1, ROUNDS + 1))
def test_no_living_node_is_taken_for_dead_when_its_server_dies(site: Site, number: int) -> None:
    kill_the_agent_s_server(site, f"fast, round {number}")


def test_edge(site: Site) -> None:
    assert all(site.play("edge").values())
    assert set(site.play("edge").values()) == {0}
    told = site.budget("server-1")
    for server in told["servers"]:
        assert (server["grace_period"], server["monitor_period"], server["toleration_seconds"]) == (120, 5, 600)
    assert {node["lease_duration"] for node in told["nodes"]} == {80}
    kill_the_agent_s_server(site, "edge")


def test_the_way_back_leaves_nothing(site: Site) -> None:
    assert all(site.play("default").values())
    assert site.ours() == []
    told = site.budget("server-1")
    assert {server["grace_period"] for server in told["servers"]} == {50}
    assert {node["lease_duration"] for node in told["nodes"]} == {40}


def test_one_server(tmp_path: pathlib.Path) -> None:
    with started(Site(tmp_path, "small")) as site:
        assert all(site.play("fast").values())
        assert set(site.play("fast").values()) == {0}
        (server,) = site.budget("server-1")["servers"]
        assert (server["grace_period"], server["toleration_seconds"]) == (20, 30)
        assert {node["lease_duration"] for node in site.budget("server-1")["nodes"]} == {16}
        assert all(site.play("default").values())
        assert site.ours() == []

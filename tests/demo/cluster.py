# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's cluster as the demonstration needs it: its command, and waits on what kubectl says."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SANDBOX = Path(__file__).resolve().parent.parent / "sandbox" / "sandbox"


class DemoError(Exception):
    """One sentence for a person: what did not happen."""


class Cluster:
    """A sandbox cluster by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *words: str) -> list[str]:
        """The sandbox's command line."""
        return [str(SANDBOX), "--name", self.name, *words]

    def sandbox(self, *words: str, stdin: bytes | None = None, timeout: float = 120) -> str:
        """Run a command of the sandbox and give what it prints."""
        done = subprocess.run(self.command(*words), input=stdin, capture_output=True, timeout=timeout)
        if done.returncode != 0:
            raise DemoError(f"sandbox {' '.join(words)}: {done.stderr.decode(errors='replace').strip()[-500:]}")
        return done.stdout.decode(errors="replace")

    def up(self, topology: str) -> None:
        """Start the cluster, with the sandbox's own progress on the screen."""
        if subprocess.run(self.command("up", topology)).returncode != 0:
            raise DemoError("the cluster did not start")

    def kubectl(self, *words: str) -> str:
        """What kubectl prints."""
        return self.sandbox("kubectl", *words)

    def get(self, *words: str) -> dict:
        """An object or a list as kubectl gives it in JSON."""
        return json.loads(self.kubectl("get", "-o", "json", *words))

    def dns_pods(self) -> list[dict]:
        """The CoreDNS pods that cluster DNS sends queries to: ready, and not on their way out."""
        pods = self.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and _ready(pod)]

    def dns_address(self) -> str:
        """Where pods send their queries."""
        return self.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"]

    def nodes_ready(self) -> bool:
        """Whether every node is Ready."""
        return all(_ready(node) for node in self.get("nodes")["items"])

    def install_helper(self, node: str, helper: Path) -> None:
        """Put the helper on a node, for its probe."""
        self.sandbox(
            "exec", node, "sh", "-c", "cat >/usr/local/bin/k3s-core-ha && chmod 755 /usr/local/bin/k3s-core-ha",
            stdin=helper.read_bytes(),
        )  # fmt: skip

    def dns_pod_to_an_agent(self) -> str:
        """Move the one packaged CoreDNS pod to an agent, if it is on the server; gives the agent."""
        for pod in self.dns_pods():
            if pod["spec"]["nodeName"].startswith("server-"):
                self.kubectl("cordon", "server-1")
                print("   server-1 is cordoned for the moment, and the pod deleted", flush=True)
                try:
                    self.kubectl("delete", "pod", "-n", "kube-system", pod["metadata"]["name"])
                    wait_for("CoreDNS on an agent", 120, lambda: bool(self._agents_with_dns()))
                finally:
                    self.kubectl("uncordon", "server-1")
                    print("   server-1 takes pods again", flush=True)
        wait_for("CoreDNS on an agent", 120, lambda: bool(self._agents_with_dns()))
        return self._agents_with_dns()[0]

    def _agents_with_dns(self) -> list[str]:
        return sorted(p["spec"]["nodeName"] for p in self.dns_pods() if p["spec"]["nodeName"].startswith("agent-"))


def _ready(thing: dict) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in thing["status"].get("conditions", []))


def wait_for(what: str, seconds: float, condition: Callable[[], bool]) -> float:
    """Ask each second until the condition holds; gives the seconds it took."""
    start = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            raise DemoError(f"{what}: not within {seconds:.0f} s")
        time.sleep(1)

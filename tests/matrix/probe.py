# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of cluster DNS on a node, from fresh source ports and from twelve that stay the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cluster import wait_for

if TYPE_CHECKING:
    from nodes import Nodes

PROBE = "/usr/local/lib/dns-probe"
RECORD = "/run/dns-probe.jsonl"
TICKS = "/run/dns-probe.ticks"
UNIT = "dns-probe"


class Probe:
    """Asks from its start until it is stopped, `rate` times a second from either kind of port."""

    def __init__(self, nodes: Nodes, node: str, rate: int = 100) -> None:
        self._nodes = nodes
        self._node = node
        output = f"--property=StandardOutput=truncate:{TICKS}"
        ask = ["--server=10.43.0.10", f"--rate={rate}", "--fixed-ports=12", "--duration=0", f"--record={RECORD}"]
        self._run("systemd-run", "--quiet", f"--unit={UNIT}", "--collect", output, PROBE, "-o", "json", "probe", *ask)
        wait_for("an answer", lambda: '"answered":' in self._run("tail", "-n", "3", TICKS), 30)

    def _run(self, *words: str) -> str:
        return self._nodes.sandbox("exec", self._node, *words)

    def stop(self, fault_at: float | None = None) -> dict[str, Any]:
        """End it; gives what it saw, with what was lost from the fault on."""
        self._run("systemctl", "stop", UNIT)
        since = [] if fault_at is None else ["--fault-at", f"{fault_at:.3f}"]
        return json.loads(self._run(PROBE, "-o", "json", "probe", f"--summarize={RECORD}", *since))["summary"]


def answers(nodes: Nodes, node: str, server: str, name: str) -> bool:
    """Whether the server, asked from the node, answers each query for the name, and not with NXDOMAIN."""
    ask = ("--server", server, "--name", name, "--rate=5", "--duration=1")
    printed = nodes.sandbox("exec", node, PROBE, "-o", "json", "probe", *ask)
    fresh = json.loads(printed.splitlines()[-1])["summary"]["fresh"]
    return fresh["answered"] == fresh["planned"] > 0


def see_nothing_lost(seen: dict[str, Any]) -> None:
    """Every fresh query was answered. Of a fixed port's, the few that were under way when a kube-proxy forgot an
    endpoint may be lost (docs/architecture.md).
    """
    fresh, fixed = seen["fresh"], seen["fixed"]
    assert fresh["answered"] == fresh["planned"] > 0, fresh
    assert fixed["longest_silence_s"] <= 0.5, fixed
    assert fixed["lost"] * 200 <= fixed["planned"], fixed

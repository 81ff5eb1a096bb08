# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that ask cluster DNS without a pause while something happens to it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from cluster import wait_for
from clusters import CLIENT, PROBE, Site

RATE = "50"  # queries a second of each
STARVED = 500  # milliseconds: a probe that sent so late had no processor, and CoreDNS had none either


class Probe:
    """Asks from its start on until it is stopped. `options` say whom; `node` is a machine, or None for the client."""

    def __init__(self, site: Site, name: str, node: str | None, *options: str) -> None:
        self.name = f"{site.name}, {name}"
        self._site = site
        self._node = node
        self._unit = f"dns-probe-{re.sub('[^a-z0-9]+', '-', name)}"
        place = "/run" if node else ""
        self._output = f"{place}/{self._unit}.out"
        ask = ["-o", "json", "probe", "--duration=0", f"--rate={RATE}", *options]
        if node:
            output = f"--property=StandardOutput=truncate:{self._output}"
            site.sandbox(
                "exec", node, "systemd-run", "--quiet", f"--unit={self._unit}", "--collect", output, PROBE, *ask
            )
        else:
            script = f'/probe "$@" >{self._output} 2>{self._output}.err </dev/null & echo $! >/{self._unit}.pid'
            site.kubectl("exec", CLIENT, "--", "sh", "-c", script, "sh", *ask)
        wait_for(f"{self.name}: an answer", self._answered, 30)

    def _answered(self) -> bool:
        return self._last().get("answered", 0) > 0

    def _run(self, script: str) -> str:
        words = ("sh", "-c", script)
        if self._node:
            return self._site.sandbox("exec", self._node, *words)
        return self._site.kubectl("exec", CLIENT, "--", *words)

    def _last(self) -> dict[str, Any]:
        """Its last whole line."""
        lines = self._run(f"tail -n 2 {self._output}").splitlines(keepends=True)
        return json.loads(next((line for line in reversed(lines) if line.endswith("\n")), "{}"))

    def stop(self) -> dict[str, Any]:
        """End it; gives the summary of what it saw."""
        self._run(f"systemctl stop {self._unit}" if self._node else f"kill $(cat /{self._unit}.pid)")
        return wait_for(f"{self.name}: a summary", lambda: self._last().get("summary"), 30)


def unanswered(name: str, summary: dict[str, Any]) -> int:
    """How many queries from fresh ports had no answer. Where the machine was starved, a late one is one, too."""
    fresh = summary["fresh"]
    missing = fresh["planned"] - fresh["answered"]
    lag = fresh["max_send_lag_ms"]
    print(f"{name}: {missing} of {fresh['planned']} without an answer in time, sent up to {lag:.0f} ms late")
    if missing and lag > STARVED:
        print(f"{name}: the machine was starved; {fresh['late']} answers that came late count")
        missing -= fresh["late"]
    return missing


@contextlib.contextmanager
def nothing_lost(sites: Iterable[Site]) -> Iterator[None]:
    """Clients in these clusters, all of whose queries must be answered: a pod, which asks as its resolv.conf says, and
    the machine that it is on, which asks each address of the cluster's DNS.
    """
    probes = []
    try:
        for site in sites:
            probes.append(Probe(site, "a pod", None))
            for address in site.shape.dns:
                options = (f"--server={address}", f"--name=kubernetes.default.svc.{site.shape.domain}")
                probes.append(Probe(site, f"a machine by {address}", site.client_node, *options))
        yield
    finally:
        lost = {}
        for probe in probes:
            summary = probe.stop()
            lost[probe.name] = unanswered(probe.name, summary), summary
    assert {name: (missing, summary) for name, (missing, summary) in lost.items() if missing} == {}

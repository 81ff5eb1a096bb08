# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper's DNS probe on a node, with a live line while it runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from cluster import Cluster, DemoError

RATE = 100  # queries a second from fresh source ports
FIXED = 12  # clients that keep their source port, as a process with one resolver socket does


class Probe:
    """Asks cluster DNS from a node, from fresh and from fixed source ports, until it is stopped."""

    def __init__(
        self, cluster: Cluster, node: str, log: Path, fault_at: float | None = None, live: bool = True
    ) -> None:
        self.fault_at = fault_at
        self._live = live
        self._summary: dict | None = None
        self._log = log
        self._answered_at = 0.0
        self._totals = {"answered": 0, "lost": 0}
        arguments = ["--server", cluster.dns_address(), "--duration", "0"]
        arguments += ["--rate", str(RATE), "--fixed-ports", str(FIXED)]
        if fault_at is not None:
            arguments += ["--fault-at", f"{fault_at:.3f}"]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                cluster.command("exec", node, "/usr/local/bin/k3s-core-ha", "-o", "json", "probe", *arguments),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def answered_since(self, since: float) -> bool:
        """Whether a whole second without a lost query has passed since then (seconds since the epoch)."""
        return self._answered_at >= since

    def stop(self) -> dict:
        """End the probe and give its summary."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # to the sandbox alone: it passes the signal on
        self._process.wait(timeout=30)
        self._reader.join(timeout=30)
        if self._live:
            print(flush=True)
        if self._summary is None:
            raise DemoError(f"the probe gave no summary: {self._log.read_text().strip()[-500:]}")
        return self._summary

    def _read(self) -> None:
        for line in self._process.stdout:
            event = json.loads(line)
            if "summary" in event:
                self._summary = event["summary"]
            elif "t" in event:
                self._tick(event)

    def _tick(self, event: dict) -> None:
        answered, lost = event["answered"], event["lost"] + event["failed"]
        self._totals["answered"] += answered
        self._totals["lost"] += lost
        if answered and not lost:
            self._answered_at = time.time()
        if not self._live:
            return
        after = "" if self.fault_at is None else f"{time.time() - self.fault_at:+5.0f} s  "
        mark = "#" * round(20 * lost / max(1, lost + answered))
        text = f"   {after}answered {self._totals['answered']:7,}  unanswered {self._totals['lost']:6,}  |{mark:<20}|"
        if sys.stdout.isatty():
            print(f"\r{text}", end="", flush=True)
        elif int(event["t"]) % 5 == 0:
            print(text, flush=True)

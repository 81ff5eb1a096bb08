# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper as a process that a test starts, watches and ends."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cluster import ROOT
from proxy import Proxy, Request, Trap

HELPER = ROOT / "build" / "k3s-core-ha"
LONGEST = 240  # seconds that one run may take


@dataclass
class Run:
    """What became of one run."""

    status: int
    result: dict[str, Any]
    stdout: str
    stderr: str
    requests: list[Request] = field(repr=False, default_factory=list)

    @property
    def writes(self) -> list[Request]:
        """What it asked for that may have changed something."""
        return [request for request in self.requests if request.write]

    @property
    def done(self) -> list[Request]:
        """The writes that the server took."""
        return [request for request in self.requests if request.done]

    @property
    def sentence(self) -> str:
        """The one sentence of its error."""
        return self.result["error"]["message"]


@dataclass
class Point:
    """Where something happens to a run: at a write, before the server has it or before the helper has the answer."""

    write: int  # how many were done before it
    forward: bool
    signal: signal.Signals | None = None  # that the helper gets
    cut: bool = True
    act: Callable[[], None] = lambda: None  # what others do


class Helper:
    """Runs the helper through the proxy."""

    def __init__(self, proxy: Proxy, directory: pathlib.Path) -> None:
        self.proxy = proxy
        self.directory = directory

    def run(self, *words: str, spec: Any = None, output: str = "json", at: Point | None = None) -> Run:
        """One run to its end; `spec` is the wish, `at` where something happens to it."""
        command = [str(HELPER), "--kubeconfig", str(self.proxy.kubeconfig), "-o", output, *words]
        if spec is not None:
            command += ["--spec", "-"]
        errors = self.directory / "helper.stderr"
        with errors.open("w") as stderr:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)

            def spring() -> None:
                at.act()
                if at.signal is not None:
                    process.send_signal(at.signal)

            self.proxy.arm(None if at is None else Trap(at.write, at.forward, spring, at.cut))
            try:
                stdout, _ = process.communicate("" if spec is None else json.dumps(spec), timeout=LONGEST)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        result = json.loads(stdout) if output == "json" and stdout else {}
        return Run(process.returncode, result, stdout, errors.read_text(), list(self.proxy.requests))

    def apply(self, spec: Any, *words: str) -> Run:
        """A run that must come to its end."""
        done = self.run("apply", *words, spec=spec)
        assert done.status == 0, done.stderr
        return done

# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the collection under its own name, and a helper that behaves as a test says."""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """Make ansible_collections.k3s_ha.core importable, wherever the checkout is."""
    tree = tempfile.TemporaryDirectory(prefix="k3s-core-ha-unit-")
    config.add_cleanup(tree.cleanup)
    namespace = pathlib.Path(tree.name, "ansible_collections", "k3s_ha")
    namespace.mkdir(parents=True)
    (namespace / "core").symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, tree.name)


@pytest.fixture
def root() -> pathlib.Path:
    """The top of the checkout."""
    return ROOT


# Notes what it was given, says and prints what it was told to, then ends, sleeps or dies as it was told to.
FAKE = """#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path({directory!r})
behaviour = json.loads((here / "behaviour.json").read_text())
calls = here / "calls.jsonl"
with calls.open("a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "stdin": sys.stdin.read()}}) + "\\n")
verb = next((a for a in sys.argv if a in behaviour["answers"]), "*")
answer = behaviour["answers"].get(verb, {{}})
sys.stderr.write(answer.get("stderr", ""))
sys.stderr.flush()
def interrupted(*_):
    print(answer.get("when_terminated", ""), flush=True)
    os._exit(130)
if "when_terminated" in answer:
    signal.signal(signal.SIGTERM, interrupted)
if answer.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(here / "ready").touch()
time.sleep(answer.get("sleep", 0))
if "signal" in answer:
    os.kill(os.getpid(), answer["signal"])
sys.stdout.write(answer.get("stdout", "{{}}"))
sys.stdout.flush()
sys.exit(answer.get("exit", 0))
"""


@dataclass
class FakeHelper:
    """A program in the helper's place."""

    directory: pathlib.Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.write_text(FAKE.format(python=sys.executable, directory=str(self.directory)))
        self.path.chmod(0o755)
        self.answer()

    @property
    def path(self) -> pathlib.Path:
        return self.directory / "k3s-core-ha"

    def answer(self, verb: str = "*", result: Any = None, **behaviour: Any) -> FakeHelper:
        """Say how the helper behaves for a verb: stdout (or a result as JSON), stderr, exit, sleep, signal …"""
        if result is not None:
            behaviour["stdout"] = json.dumps(result)
        self.answers[verb] = behaviour
        (self.directory / "behaviour.json").write_text(json.dumps({"answers": self.answers}))
        return self

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was started with, in order."""
        log = self.directory / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def fake_helper(tmp_path: pathlib.Path) -> FakeHelper:
    """A helper that answers {} until it is told otherwise."""
    return FakeHelper(tmp_path)

# SPDX-License-Identifier: GPL-3.0-or-later
"""A server alone, and the role over it by a control node that may die."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
for neighbour in ("integration", "matrix"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite("cluster", "nodes")

import yaml  # noqa: E402
from cluster import ROOT  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import Nodes  # noqa: E402

TOOLS = ROOT / ".venv" / "bin"
PLUGINS = pathlib.Path(__file__).resolve().parent / "plugins"
KILLED = -9


class Control:
    """Runs the collection's playbooks from its artefact, as a user would."""

    def __init__(self, nodes: Nodes, directory: pathlib.Path) -> None:
        self._directory = directory
        self._seen = directory / "seen"
        self._run(str(ROOT / "tests" / "dist"), str(directory / "dist"))
        (artefact,) = (directory / "dist").glob("k3s_ha-core-*.tar.gz")
        galaxy = str(TOOLS / "ansible-galaxy")
        done = self._run(galaxy, "collection", "install", "--offline", "-p", str(directory), str(artefact))
        assert done.returncode == 0, done.stderr
        (directory / "inventory.yml").write_text(nodes.sandbox("inventory"))

    def play(self, book: str, wish: dict[str, Any], end_after: int = 0) -> list[str]:
        """Run a playbook to its end, or until so many of its tasks have changed something; gives the names of these."""
        self._seen.unlink(missing_ok=True)
        self._seen.touch()
        (self._directory / "wish.yml").write_text(yaml.safe_dump(wish))
        words = ("-i", "inventory.yml", "-e", "@wish.yml", f"k3s_ha.core.{book}")
        done = self._run(str(TOOLS / "ansible-playbook"), *words, END_AFTER=str(end_after))
        assert done.returncode == (KILLED if end_after else 0), f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
        return self._seen.read_text().splitlines()

    def _run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self._directory),
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
            "ANSIBLE_CALLBACKS_ENABLED": "end_after",
            "ANSIBLE_NOCOLOR": "1",
            "END_AFTER_SEEN": str(self._seen),
            **more,
        }
        return subprocess.run(
            command, cwd=self._directory, env=environment, capture_output=True, text=True, timeout=900, check=False
        )


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """The cluster. KEEP=1 leaves it up."""
    with Nodes("killed-role", "single").started() as made:
        yield made


@pytest.fixture(scope="session")
def control(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Control:
    """The control node."""
    return Control(nodes, tmp_path_factory.mktemp("control"))

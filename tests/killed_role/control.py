# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks from its artefact, by a control node that may die."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import TYPE_CHECKING, Any

import yaml
from cluster import ROOT, Json

if TYPE_CHECKING:
    from cluster import Cluster

TOOLS = ROOT / ".venv" / "bin"
PLUGINS = pathlib.Path(__file__).resolve().parent / "plugins"
KILLED = -9


class Control:
    """Runs them as a user would, who has installed the collection."""

    def __init__(self, cluster: Cluster, directory: pathlib.Path) -> None:
        self._directory = directory
        self._seen = directory / "seen"
        self._run(str(ROOT / "tests" / "dist"), str(directory / "dist"))
        (artefact,) = (directory / "dist").glob("k3s_ha-core-*.tar.gz")
        galaxy = str(TOOLS / "ansible-galaxy")
        done = self._run(galaxy, "collection", "install", "--offline", "-p", str(directory), str(artefact))
        assert done.returncode == 0, done.stderr
        (directory / "inventory.yml").write_text(cluster.sandbox("inventory"))

    def play(self, book: str, wish: dict[str, Any], *options: str, end_after: int = 0) -> list[Json]:
        """Run a playbook to its end, or until so many of its tasks have changed something; gives of each of these its
        `host`, `task`, and the differences (`diff`) that it told.
        """
        self._seen.unlink(missing_ok=True)
        self._seen.touch()
        (self._directory / "wish.yml").write_text(yaml.safe_dump(wish))
        words = ("-i", "inventory.yml", "-e", "@wish.yml", "--diff", *options, f"k3s_ha.core.{book}")
        done = self._run(str(TOOLS / "ansible-playbook"), *words, END_AFTER=str(end_after))
        assert done.returncode == (KILLED if end_after else 0), f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
        return [json.loads(line) for line in self._seen.read_text().splitlines()]

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

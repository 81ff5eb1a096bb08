# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found out, by cell, with a key of all that it depends on: a run that was ended goes on where it was."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

from cells import Cell
from cluster import ROOT
from nodes import HELPER

DIRECTORY = ROOT / "build" / "matrix"
SOURCES = (
    "tests/matrix",
    "tests/sandbox",
    "tests/helm/charts",
    "tests/helm/charts.py",
    "tests/helm/watchers.py",
    "tests/integration/cluster.py",
    "tests/integration/provisioners.py",
    "tests/local_path/claims.py",
    "tests/role/site_of_ours.py",
)


class Results:
    """A file for each cell that passed, in build/matrix."""

    def __init__(self, watched: int) -> None:
        digest = hashlib.sha256(HELPER.read_bytes() + str(watched).encode())
        tracked = subprocess.run(["git", "ls-files", "-z", *SOURCES], cwd=ROOT, capture_output=True, check=True)
        for name in sorted(filter(None, tracked.stdout.decode().split("\0"))):
            digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
        self.key = digest.hexdigest()[:16]
        DIRECTORY.mkdir(parents=True, exist_ok=True)

    def passed(self, cell: Cell) -> dict[str, Any] | None:
        """What the cell found with this helper on this sandbox; None: nothing yet."""
        file = DIRECTORY / f"{cell.name}.json"
        found = json.loads(file.read_text()) if file.exists() else {}
        return found["found"] if found.get("key") == self.key else None

    def keep(self, cell: Cell, found: dict[str, Any]) -> None:
        """The cell passed."""
        (DIRECTORY / f"{cell.name}.json").write_text(json.dumps({"key": self.key, "found": found}, indent=2) + "\n")

# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found out, by cell, with a key of all that it depends on: a run that was ended goes on where it was."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from dataclasses import asdict, dataclass

from cells import SEED
from cluster import ROOT
from fleet import HELPER

DIRECTORY = ROOT / "build" / "prediction"
SOURCES = ("tests/prediction", "tests/sandbox", "tests/integration/cluster.py")


@dataclass
class Found:
    """What one component's prediction was worth."""

    component: str
    predicted: str  # fits, refused
    false: str = ""  # of what kind; empty: it was right
    words: str = ""  # of the refusal, or what went wrong

    def __str__(self) -> str:
        said = f"{self.component}: {self.predicted}, {'FALSE: ' + self.false if self.false else 'right'}"
        return f"{said}: {self.words}" if self.words else said


class Results:
    """A file for each cell, in build/prediction."""

    def __init__(self) -> None:
        digest = hashlib.sha256(HELPER.read_bytes() + SEED.encode())
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *SOURCES]
        files = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in sorted(filter(None, files.split("\0"))):
            digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
        self.key = digest.hexdigest()[:16]
        DIRECTORY.mkdir(parents=True, exist_ok=True)

    def of(self, number: int) -> list[Found] | None:
        """What the cell found with this helper on this sandbox; None: nothing yet."""
        file = DIRECTORY / f"{number}.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        return [Found(**found) for found in kept["found"]] if kept.get("key") == self.key else None

    def keep(self, number: int, found: list[Found]) -> None:
        """The cell was tried to its end."""
        kept = {"key": self.key, "found": [asdict(one) for one in found]}
        (DIRECTORY / f"{number}.json").write_text(json.dumps(kept, indent=2) + "\n")


def summary(found: list[Found]) -> str:
    """A line for each component."""
    lines = []
    for component in sorted({one.component for one in found}):
        of = [one for one in found if one.component == component]
        fits = [one for one in of if one.predicted == "fits"]
        refused = [one for one in of if one.predicted == "refused"]
        kinds = Counter(one.false for one in refused if one.false)
        lines.append(
            f"{component}: {len(of)} predictions; fits {len(fits)}, false {sum(bool(one.false) for one in fits)};"
            f" does not fit {len(refused)}, false {kinds.total()}"
            + "".join(f"; {kind}: {count}" for kind, count in sorted(kinds.items()))
        )
    return "\n".join(lines)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration shows in the end, and on whose cluster."""

from __future__ import annotations

import itertools
import pathlib
import re
import sys
from typing import Any

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "demo"))

from demo import DEFAULT_NAME, Outcome, table

ROWS = (
    "queries lost (a fresh source port each)",
    "their share, from the fault to the last lost one",
    "more that were refused, as no endpoint was left",
    "longest silence, fresh source ports",
    "longest silence, a client with a fixed port",
    "CoreDNS at full strength again after",
)
PREDICTED = "335 to 375 s, predicted"


def summary(lost: int, share: float | None, fresh: float, fixed: float, **others: int) -> dict[str, Any]:
    """As the probe gives it."""
    endings = {"servfail": 0, "refused": 0, "icmp": 0, **others}
    asked = {"planned": 36072, "lost": lost, "longest_silence_s": fresh, "since_fault": {"share": share}, **endings}
    return {"fresh": asked, "fixed": {"longest_silence_s": fixed}}


def rows(printed: str) -> dict[str, list[str]]:
    """The cells of each row by its title."""
    ends = (0, 50, 72, 96)
    cells = [[line[start:end].strip() for start, end in itertools.pairwise(ends)] for line in printed.splitlines()]
    assert cells[0] == ["", "as k3s ships it", "with k3s_ha.core"]
    return {title: values for title, *values in cells[1:]}


def test_a_measured_outage_beside_none() -> None:
    """Each figure in its own row and column; what is refused without an answer is told apart from what is lost."""
    packaged = Outcome(summary(4611, 0.9987, 351.24, 350.96, icmp=1200, refused=30, servfail=4), 355.7)
    ours = Outcome(summary(0, None, 0.0, 0.04), 351.2)
    found = rows(table(packaged, ours, PREDICTED))
    left = ["4,611 of 36,072", "100 %", "1,234", "351.2 s", "351.0 s", "356 s, measured"]
    right = ["0 of 36,072", "0 %", "0", "0.0 s", "0.0 s", "351 s, measured"]
    assert found == {row: list(pair) for row, *pair in zip(ROWS, left, right, strict=True)}


def test_what_was_not_measured_is_not_shown_as_if_it_had_been() -> None:
    """Neither the packaged state, nor the time to full strength, which is predicted then."""
    found = rows(table(None, Outcome(summary(12, 0.0325, 1.5, 2.0)), PREDICTED))
    assert {left for left, _ in found.values()} == {"not measured"}
    assert [right for _, right in found.values()] == ["12 of 36,072", "3 %", "0", "1.5 s", "2.0 s", PREDICTED]


def test_the_columns_are_in_line() -> None:
    """Whatever the figures."""
    printed = table(None, Outcome(summary(36072, 1.0, 475.0, 475.0)), PREDICTED)
    assert {len(line) for line in printed.splitlines()} == {96}


def test_its_cluster_is_nobody_elses(root: pathlib.Path) -> None:
    """What has the demonstration's name is taken down first: not what the sandbox calls a cluster without a name."""
    sandbox = (root / "tests/sandbox/cmd/sandbox/main.go").read_text()
    (usual,) = re.findall(r'r\.name = "(.*)"', sandbox)
    assert usual != DEFAULT_NAME

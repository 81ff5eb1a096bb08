# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is ended anywhere leaves a cluster that serves, and that the next run brings to the same end.

The points are found by a run that nothing disturbs, so a new request is a new point. FULL=1 takes every one of them,
else a few, evenly spread.
"""

from __future__ import annotations

import itertools
import signal
import time

import pytest
from helper import Helper, Point
from state import Endpoints
from ways import CUSTOM_METRICS, PACKAGED, Ways, evenly, kill_points, spec


@pytest.mark.parametrize(
    ("strategy", "few"),
    [("autoscaling", 2), ("replicas", 1), ("daemonset", 1), ("custom", 1), (CUSTOM_METRICS, 1)],
)
def test_killed_between_any_two_requests(strategy: str, few: int, ways: Ways, subtests: pytest.Subtests) -> None:
    """Killed on the way to a strategy, or back: the next run ends where an undisturbed one does."""
    there = kill_points(ways.way(PACKAGED, strategy))
    back = kill_points(ways.way(strategy, PACKAGED))
    print(f"\n{strategy}: {len(there)} points on the way, {len(back)} back")
    for pair in itertools.zip_longest(evenly(there, few), evenly(back, few)):
        for start, end, point in zip((PACKAGED, strategy), (strategy, PACKAGED), pair, strict=True):
            if point is None:
                ways.go(end)
                continue
            with subtests.test(end=end, write=point.write, forward=point.forward):
                ways.go(start)
                begun = time.monotonic()
                request = ways.killed(end, point)
                when = "before its answer" if point.forward else "before the server had it"
                print(f"to {end}, write {point.write} {when} ({request}): {time.monotonic() - begun:.0f} s")


@pytest.mark.parametrize(
    ("start", "end", "signals"),
    [
        (PACKAGED, "autoscaling", (signal.SIGTERM, signal.SIGINT)),
        ("autoscaling", PACKAGED, (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_told_to_stop(
    start: str, end: str, signals: tuple[signal.Signals, ...], ways: Ways, helper: Helper, subtests: pytest.Subtests
) -> None:
    """SIGINT and SIGTERM: what was done is undone, or stays where everything serves; the next run carries on."""
    writes = len(ways.way(start, end).done)
    # A run that is told at its last write has nothing left to leave undone.
    points = evenly([Point(write, False, cut=False) for write in range(writes - 1)], 1)
    for point, point.signal in zip(points, itertools.cycle(signals), strict=False):
        with subtests.test(write=point.write, signal=point.signal):
            ways.go(start)
            wished = len(ways.ends[end]["pods"])
            ways.at = "on the way"
            with Endpoints(ways.server) as endpoints:
                run = helper.run("apply", *ways.words, spec=spec(end), at=point)
            assert run.status in (130, 6), f"exit status {run.status}: {run.stderr}"
            assert endpoints.below(wished) == []
            print(f"\nto {end}, {point.signal.name} at write {point.write}: {run.sentence}")
            if any(step["state"] == "done" and not step["action"].startswith("wait") for step in run.result["steps"]):
                ways.go(end)
            else:
                ways.arrive(start)

# SPDX-License-Identifier: GPL-3.0-or-later
"""`k3s-core-ha lead` against a real API server: never two active, whatever befalls the leader.

Candidates run programs that act 50 times a second, and write each act into one journal, in which the kernel keeps the
order. By default some 20 elections with a short Lease; FULL=1 holds 1,000 of these, and 50 with the real times.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from candidates import (
    Act,
    Candidate,
    Journal,
    Lateness,
    Timing,
    can_freeze,
    cut_off,
    elector_killed,
    frozen,
    killed,
    killed_in_part,
    now,
    stopped,
    terminated,
)
from cluster import ApiError, Cluster, Server, wait_for
from helper import HELPER
from proxy import Proxy

Fault = Callable[[Candidate], AbstractContextManager[None]]
FULL = bool(os.environ.get("FULL"))
SHORT = Timing(1, 0.7, 0.15)
REAL = Timing(15, 10, 2)
FAULTS = [killed, terminated, stopped, cut_off, killed_in_part, frozen, elector_killed]
# Who of the former leader's processes may act on for a moment when they go on, or lose their supervisor, while another
# one leads: how long is measured. All others are dead before.
LATE = {stopped: {"daemon"}, frozen: {"program", "daemon"}, elector_killed: {"daemon"}}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


@pytest.fixture(scope="module")
def api(cluster: Cluster, directory: pathlib.Path) -> Server:
    """The API server, as soon as it is up."""
    return Server(cluster.sandbox("kubectl", "config", "view", "--raw"), directory)


@pytest.fixture(scope="module")
def ways_in(api: Server, directory: pathlib.Path) -> Iterator[list[Proxy]]:
    """A way to the API server for each candidate."""
    made = []
    for number in range(3):
        (directory / f"way-{number}").mkdir()
        made.append(Proxy(api, directory / f"way-{number}"))
    yield made
    for proxy in made:
        proxy.close()


def late_acts(acts: list[Act]) -> dict[str, dict[str, float]]:
    """By term and role, how long after another term's first act that role still acted."""
    late: dict[str, dict[str, float]] = defaultdict(dict)
    begun: dict[str, float] = {}
    ended_by: dict[str, float] = {}  # the first act of the term that came next
    latest = 0.0
    for act in acts:
        latest = max(latest, act.time)  # one that was held between its clock and its line acted when the line came
        if act.term not in begun:
            for other in begun:
                ended_by.setdefault(other, latest)
            begun[act.term] = latest
        elif act.term in ended_by:
            late[act.term][act.role] = latest - ended_by[act.term]
    return late


def hold(elections: int, timing: Timing, ways_in: list[Proxy], directory: pathlib.Path) -> None:
    """So many elections, each forced by a fault of the leader's, and their account."""
    lease = f"lead-{timing.lease:g}"
    journal = Journal(directory / f"{lease}.journal")
    faults = [fault for fault in FAULTS if fault is not frozen or can_freeze()]
    if frozen not in faults:
        print("\nnothing is frozen: that takes root, and a cgroup freezer", flush=True)
    took: dict[Fault, list[float]] = defaultdict(list)
    befell: dict[str, Fault] = {}  # by term
    candidates: list[Candidate] = []
    try:
        with Lateness() as lateness:
            for name, proxy in zip("abc", ways_in, strict=True):
                candidates.append(Candidate(name, proxy, journal, lease, timing))
            by_name = {candidate.name: candidate for candidate in candidates}
            wait_for("a first leader", journal.read)
            said = time.monotonic()
            for number, fault in zip(range(elections), itertools.cycle(faults), strict=False):
                time.sleep((0.5 + number % 10 / 10) * timing.retry)  # at any point between two renewals
                former = journal.latest()
                leader, fell = by_name[former.name], now()
                befell[former.term] = fault
                with fault(leader):
                    wait_for(
                        f"another leader than {leader.name}, {fault.__name__}",
                        lambda: journal.latest().name != former.name,  # noqa: B023 - asked at once
                        60 + 5 * timing.lease,
                    )
                if journal.latest().time > fell:  # else it had lost the Lease just before
                    took[fault].append(journal.latest().time - fell)
                if leader.process.poll() is not None:
                    leader.start()
                if time.monotonic() > said + 30:
                    said = time.monotonic()
                    print(f"{number + 1} of {elections} elections", flush=True)
    finally:
        for candidate in candidates:
            candidate.remove()
    account(timing, took, journal, befell, lateness.worst)


def account(
    timing: Timing, took: dict[Fault, list[float]], journal: Journal, befell: dict[str, Fault], lateness: float
) -> None:
    """Print what was seen, and judge it."""
    acts = journal.read()
    every = [seconds for each in took.values() for seconds in each]
    start = time_to_start()
    print(
        f"\n{timing}: {len(every)} elections, {len(journal.terms)} terms, {len(acts)} acts; this machine wakes late",
        end="",
    )
    print(f" by up to {lateness * 1000:.0f} ms and starts a program in {start * 1000:.0f} ms")
    for name, seconds in [*((fault.__name__, each) for fault, each in took.items()), ("all", every)]:
        print(f"  {name:15} {len(seconds):4}  fail-over median {statistics.median(seconds):6.2f} s", end="")
        print(f"  longest {max(seconds):6.2f} s")
    worst: dict[tuple[Fault | None, str], float] = {}
    for term, roles in late_acts(acts).items():
        for role, seconds in roles.items():
            key = (befell.get(term), role)
            worst[key] = max(worst.get(key, 0), seconds)
    for (fault, role), seconds in worst.items():
        what = fault.__name__ if fault else "by itself"
        print(
            f"  {what}: the former leader's {role} acted up to {seconds * 1000:.0f} ms after the next one's first act"
        )
    assert [key for key in worst if key[1] not in LATE.get(key[0], ())] == [], "two were active"
    assert all(seconds <= 0.25 + 10 * lateness for seconds in worst.values()), "a thawed leader went on for long"
    longest = timing.lease + 1.2 * timing.retry + 0.5 + 5 * start + 20 * lateness
    assert max(every) <= longest, f"longer than a Lease, a retry and what this machine is late by: {longest:.1f} s"


def time_to_start() -> float:
    """How long a program takes here until it is at work."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-ISc", "pass"], check=True)
    return time.monotonic() - begun


def test_elections_with_a_short_lease(ways_in: list[Proxy], directory: pathlib.Path) -> None:
    hold(1000 if FULL else 21, SHORT, ways_in, directory)


@pytest.mark.skipif(not FULL, reason="takes a quarter of an hour: FULL=1")
def test_elections_with_the_real_times(ways_in: list[Proxy], directory: pathlib.Path) -> None:
    hold(50, REAL, ways_in, directory)


def lead(proxy: Proxy, name: str, *program: str) -> subprocess.CompletedProcess[str]:
    """One that is alone."""
    options = ("--kubeconfig", str(proxy.kubeconfig), "lead", "--namespace", "kube-system", "--name", name)
    return subprocess.run([str(HELPER), *options, "--", *program], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("program", "status"),
    [(("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -USR2 $$"), 140), (("/nowhere",), 127), (("/etc",), 126)],
    ids=["its own", "a signal", "not found", "no program"],
)
def test_the_program_s_end_is_ours(program: tuple[str, ...], status: int, ways_in: list[Proxy], api: Server) -> None:
    done = lead(ways_in[0], "lead-status", *program)
    assert done.returncode == status, done.stderr
    spec = api.get(f"{LEASES}/lead-status")["spec"]
    assert spec["leaseDurationSeconds"] == 1
    assert not spec.get("holderIdentity")
    assert "leading kube-system/lead-status" in done.stderr
    assert "released kube-system/lead-status" in done.stderr


def test_what_a_program_leaves_is_gone_before_the_release(
    ways_in: list[Proxy], api: Server, directory: pathlib.Path
) -> None:
    journal = directory / "left"
    journal.touch()
    look = f"import os; print(os.path.getsize({str(journal)!r}))"
    script = f"(setsid sh -c 'trap \"\" TERM HUP; while :; do echo >>{journal}; done' &); sleep 0.3"
    assert lead(ways_in[0], "lead-left", "sh", "-c", script).returncode == 0
    sizes = [lead(ways_in[1], "lead-left", sys.executable, "-c", look).stdout for _ in range(2)]
    assert int(sizes[0]) > 0
    assert sizes[0] == sizes[1]
    assert api.get(f"{LEASES}/lead-left")["spec"]["leaseTransitions"] == 2


def test_a_lease_that_somebody_takes_away(ways_in: list[Proxy], api: Server, directory: pathlib.Path) -> None:
    """By hand, in the API: the program is gone at the next renewal."""
    journal = Journal(directory / "taken.journal")
    candidate = Candidate("a", ways_in[0], journal, "lead-taken", SHORT)
    try:
        wait_for("a leader", journal.read)
        stolen = {"holderIdentity": "somebody", "leaseDurationSeconds": 3}
        api.patch(f"{LEASES}/lead-taken", {"spec": stolen})
        wait_for("a loss", lambda: "lost kube-system/lead-taken: held by somebody" in candidate.log.read_text())
        first = journal.read()[0].term
        wait_for("another term", lambda: journal.read()[-1].term != first)
        assert late_acts(journal.read()) == {}
    finally:
        candidate.remove()


def test_a_namespace_that_is_not_there_is_told_and_waited_for(ways_in: list[Proxy], api: Server) -> None:
    """Said once; led as soon as it is there."""
    options = ("--kubeconfig", str(ways_in[0].kubeconfig), "lead", "--namespace", "lead-later", "--name", "x")
    process = subprocess.Popen(
        [str(HELPER), *options, *SHORT.words, "--", "true"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr
    assert "lead-later" in process.stderr.readline()
    try:
        api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "lead-later"}})
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "trying again" not in said
    finally:
        process.kill()
        try:
            api.request("DELETE", "/api/v1/namespaces/lead-later")
        except ApiError as error:
            print(json.dumps(str(error)))

# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates for a Lease as processes of this machine, the journal that their programs write, and what befalls them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from cluster import wait_for
from helper import HELPER
from proxy import Proxy

# Acts 50 times a second, and so does a daemon that it starts. Ends 50 ms after SIGTERM, or, once it had SIGUSR1, not.
PROGRAM = """
import os, signal, sys, time

journal = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
term = f"{sys.argv[2]}/{time.monotonic_ns()}"
end = [float("inf")]
signal.signal(signal.SIGUSR1, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
signal.signal(signal.SIGTERM, lambda *_: end.append(time.monotonic() + 0.05))
role = "program"
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    role = "daemon"
else:
    os.wait()
while time.monotonic() < min(end):
    os.write(journal, f"{time.clock_gettime(time.CLOCK_BOOTTIME):.6f} {term} {role}\\n".encode())
    time.sleep(0.02)
"""
FREEZERS = (  # hierarchy, file, what freezes, what thaws
    (pathlib.Path("/sys/fs/cgroup/freezer"), "freezer.state", "FROZEN", "THAWED"),
    (pathlib.Path("/sys/fs/cgroup"), "cgroup.freeze", "1", "0"),
)


def now() -> float:
    """The clock of the journal."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Timing:
    """In seconds."""

    lease: float
    renew: float
    retry: float

    @property
    def words(self) -> list[str]:
        """As options of the helper."""
        times = {"--lease-duration": self.lease, "--renew-deadline": self.renew, "--retry-period": self.retry}
        return [word for option, seconds in times.items() for word in (option, f"{seconds}s")]

    def __str__(self) -> str:
        return f"{self.lease:g}/{self.renew:g}/{self.retry:g} s"


@dataclass(frozen=True)
class Act:
    """A line of the journal. Whatever the clocks say, the kernel has put the lines in order."""

    time: float
    term: str  # a candidate's name, and when its program began: a pid comes again in the course of 1,000 elections
    role: str

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.term.partition("/")[0]


class Journal:
    """What the programs did, read on as it grows."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.path.touch()
        self.acts: list[Act] = []
        self.terms: dict[str, Act] = {}  # by their first act, in order
        self._file = path.open()
        self._rest = ""

    def read(self) -> list[Act]:
        """All acts so far."""
        lines = (self._rest + self._file.read()).split("\n")
        self._rest = lines.pop()
        for line in lines:
            moment, term, role = line.split()
            act = Act(float(moment), term, role)
            self.acts.append(act)
            self.terms.setdefault(term, act)
        return self.acts

    def latest(self) -> Act:
        """The first act of the term that began last."""
        self.read()
        return next(reversed(self.terms.values()))


class Freezer:
    """A control group whose processes the kernel can hold."""

    def __init__(self, name: str) -> None:
        for root, file, frozen, thawed in FREEZERS:
            if (root / "cgroup.procs").exists() and (root == FREEZERS[0][0] or (root / "cgroup.controllers").exists()):
                self.group = root / name
                self.group.mkdir(exist_ok=True)
                self.file, self.frozen, self.thawed = self.group / file, frozen, thawed
                return
        raise OSError("this machine has no cgroup freezer")

    def enter(self) -> None:
        """Put the calling process in."""
        (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def freeze(self) -> None:
        """Hold all of it."""
        self.file.write_text(self.frozen)
        if self.frozen == "FROZEN":
            wait_for("a frozen group", lambda: self.file.read_text().strip() == "FROZEN", 30)
        else:
            wait_for("a frozen group", lambda: "frozen 1" in (self.group / "cgroup.events").read_text(), 30)

    def thaw(self) -> None:
        """Let all of it go on."""
        self.file.write_text(self.thawed)

    def pids(self) -> list[int]:
        """Who is in it."""
        return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]

    def remove(self) -> None:
        """Take the empty group away."""
        self.thaw()
        send(self.pids(), signal.SIGKILL)
        wait_for("an empty group", lambda: not self.pids(), 30)
        self.group.rmdir()


def tree(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    parents: dict[int, list[int]] = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def send(pids: list[int], number: signal.Signals) -> None:
    """A signal to all that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Candidate:
    """`k3s-core-ha lead` as a process, with a way of its own to the API server."""

    def __init__(self, name: str, proxy: Proxy, journal: Journal, lease: str, timing: Timing) -> None:
        self.name = name
        self.proxy = proxy
        self.journal = journal
        self.log = journal.path.with_name(f"{journal.path.stem}.{name}.log")
        self.freezer = Freezer(f"core-ha-{os.getpid()}-{journal.path.stem}-{name}") if can_freeze() else None
        self.command = [str(HELPER), "--kubeconfig", str(proxy.kubeconfig), "lead", "--namespace", "kube-system"]
        self.command += ["--name", lease, "--identity", name, *timing.words, "--", sys.executable, "-ISc", PROGRAM]
        self.command += [str(journal.path), name]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """A new process; the log of the one before is kept."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self.freezer.enter if self.freezer else None,
            )
        return self.process

    def ended(self, seconds: float = 60) -> int:
        """Its exit status, once there is one."""
        return self.process.wait(timeout=seconds)

    def killed_by_its_switch(self, told: int) -> None:
        """Wait for its end. One that had lost the Lease just before all this is a candidate, and goes on."""
        before = self.log.read_text()[:told]
        if before.rfind("] lost ") > before.rfind("] leading "):
            return
        wait_for(
            f"the end of {self.name}",
            lambda: self.process.poll() is not None or self.log.stat().st_size > told,
        )
        if self.process.poll() is None and "waiting for" not in self.log.read_text()[told:]:
            assert self.ended() == 128 + signal.SIGKILL

    def remove(self) -> None:
        """End it, and all of its tree."""
        self.proxy.heal()
        if self.freezer:
            self.freezer.thaw()
        pids = tree(self.process.pid) if self.process.poll() is None else []
        send(pids, signal.SIGKILL)
        self.process.wait()
        if self.freezer:
            self.freezer.remove()


def can_freeze() -> bool:
    """Whether we may make control groups that can be frozen."""
    return os.geteuid() == 0 and any(os.access(root / "cgroup.procs", os.W_OK) for root, *_ in FREEZERS)


class Lateness:
    """How late this machine wakes those who sleep: the measure for what others may be late by."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> Lateness:
        threading.Thread(target=self._measure, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _measure(self) -> None:
        while not self._ended.is_set():
            planned = time.monotonic() + 0.01
            time.sleep(0.01)
            self.worst = max(self.worst, time.monotonic() - planned)


@contextlib.contextmanager
def killed(leader: Candidate) -> Iterator[None]:
    """All of it at once, as when a machine dies."""
    send(tree(leader.process.pid), signal.SIGKILL)
    yield
    assert leader.ended() == -signal.SIGKILL


@contextlib.contextmanager
def killed_in_part(leader: Candidate) -> Iterator[None]:
    """The process that watches over the election; the other one of the two must see to the rest."""
    send([leader.process.pid], signal.SIGKILL)
    yield
    assert leader.ended() == -signal.SIGKILL


@contextlib.contextmanager
def elector_killed(leader: Candidate) -> Iterator[None]:
    """The process that holds the election; the other one of the two must see to the rest."""
    send(tree(leader.process.pid)[1:2], signal.SIGKILL)
    yield
    assert leader.ended() == 128 + signal.SIGKILL


@contextlib.contextmanager
def terminated(leader: Candidate) -> Iterator[None]:
    """Asked to end: the Lease is released when all are gone."""
    send([leader.process.pid], signal.SIGTERM)
    yield
    assert leader.ended() in (0, 130)  # 130: it had lost the Lease just before


@contextlib.contextmanager
def stopped(leader: Candidate) -> Iterator[None]:
    """All of it stopped until another leads, then told to go on."""
    pids, told = tree(leader.process.pid), leader.log.stat().st_size
    send(pids, signal.SIGSTOP)
    yield
    send(list(reversed(pids)), signal.SIGCONT)  # the daemon first, who would end it last
    leader.killed_by_its_switch(told)


@contextlib.contextmanager
def frozen(leader: Candidate) -> Iterator[None]:
    """All of it frozen by the kernel until another leads."""
    assert leader.freezer
    told = leader.log.stat().st_size
    leader.freezer.freeze()
    yield
    leader.freezer.thaw()
    leader.killed_by_its_switch(told)


@contextlib.contextmanager
def cut_off(leader: Candidate) -> Iterator[None]:
    """Partitioned, with a program that ignores SIGTERM; afterwards it is a candidate again."""
    send([leader.process.pid], signal.SIGUSR1)
    leader.proxy.partition()
    yield
    leader.proxy.heal()
    # Killed by its switch where the machine let it run too late to kill its program by itself.
    assert leader.process.poll() in (None, 128 + signal.SIGKILL)

# SPDX-License-Identifier: GPL-3.0-or-later
"""A user who makes a volume and removes it again, all along."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster import wait_for

if TYPE_CHECKING:
    from nodes import Nodes

STORAGE = "/var/lib/rancher/k3s/storage"
LONGEST = 120  # seconds that a claim may wait


@dataclass
class Claim:
    """When it was asked for and bound, and when its removal was and its volume was gone; by time.monotonic()."""

    name: str
    asked: float
    bound: float = 0
    removed: float = 0
    gone: float = 0


class Claims:
    """One claim after the other, each for a volume on this node."""

    def __init__(self, nodes: Nodes, node: str) -> None:
        self.seen: list[Claim] = []
        self._nodes = nodes
        self._node = node
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._failed: str | None = None
        self._kept: list[str] = []

    def start(self) -> None:
        """Begin; a first volume has been made and removed."""
        self._thread.start()
        self.wait_for_one()

    def stop(self) -> None:
        """Finish the claim under way."""
        self._end.set()
        self._thread.join(3 * LONGEST)
        assert self._failed is None, self._failed

    def wait_for_one(self) -> Claim:
        """A claim that is asked for from now on is bound, and its volume is gone again."""
        asked = time.monotonic()

        def ended() -> list[Claim]:
            assert self._failed is None, self._failed
            return [claim for claim in self.seen if claim.asked > asked and claim.gone]

        return wait_for("a claim that came to its end", ended, 3 * LONGEST)[0]

    def keep(self) -> str:
        """Make a volume that stays; gives its claim's name."""
        self._kept.append(f"kept-{len(self._kept)}")
        self._ask(self._kept[-1])
        return self._kept[-1]

    def remove(self, name: str) -> None:
        """Remove such a volume, until it is gone."""
        self._run("delete", "pvc", name, "--wait=false")
        wait_for(f"the volume of {name} gone", lambda: name not in self._volumes(), LONGEST)

    def longest(self) -> tuple[float, float]:
        """What a user waited longest for a volume, and for its removal; in seconds."""
        ended = [claim for claim in self.seen if claim.gone]
        return max(c.bound - c.asked for c in ended), max(c.gone - c.removed for c in ended)

    def left(self) -> str:
        """Volumes, directories and helper pods that are left; all of them were removed."""
        volumes = self._nodes.sandbox("kubectl", "get", "persistentvolumes", "-o", "name")
        pods = self._nodes.sandbox("kubectl", "get", "pods", "-n", "kube-system", "-o", "name")
        directories = self._nodes.sandbox("exec", self._node, "find", STORAGE, "-mindepth", "1", "-maxdepth", "1")
        return volumes + "".join(line for line in pods.splitlines() if "helper-pod" in line) + directories

    def _work(self) -> None:
        try:
            while not self._end.is_set():
                self._one()
        except AssertionError as error:
            self._failed = str(error)

    def _one(self) -> None:
        claim = Claim(f"claim-{len(self.seen)}", time.monotonic())
        self.seen.append(claim)
        self._ask(claim.name)
        claim.bound = time.monotonic()
        volume = wait_for(f"the name of {claim.name}'s volume", lambda: self._volume_of(claim.name), LONGEST)
        wait_for(
            f"{claim.name} removed",
            lambda: self._run("delete", "pvc", claim.name, "--ignore-not-found", "--wait=false"),
            LONGEST,
        )
        claim.removed = time.monotonic()
        wait_for(f"the volume of {claim.name} gone", lambda: self._wait(f"pv/{volume}", "delete"), LONGEST)
        claim.gone = time.monotonic()

    def _ask(self, name: str) -> None:
        """A claim, until it is bound."""
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local-path",
            "resources": {"requests": {"storage": "1Mi"}},
        }
        # What the scheduler would write, were there a pod.
        chosen = {"volume.kubernetes.io/selected-node": self._node}
        thing = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "annotations": chosen},
            "spec": spec,
        }
        wait_for(f"{name} made", lambda: self._run("apply", "-f", "-", stdin=json.dumps(thing)), LONGEST)
        wait_for(f"{name} bound", lambda: self._wait(f"pvc/{name}", "jsonpath={.status.phase}=Bound"), LONGEST)

    def _volume_of(self, name: str) -> str:
        done = self._run("get", "pvc", name, "-o", "jsonpath={.spec.volumeName}")
        return done.stdout if done else ""

    def _wait(self, thing: str, condition: str) -> bool:
        """Whether it came to that within some seconds. By a watch: to ask several times a second costs a processor."""
        return self._nodes.run("kubectl", "wait", thing, f"--for={condition}", "--timeout=5s").returncode == 0

    def _volumes(self) -> list[str]:
        """The claims that have one; all, while no API answers."""
        done = self._run("get", "persistentvolumes", "-o", "jsonpath={.items[*].spec.claimRef.name}")
        return self._kept + [claim.name for claim in self.seen] if done is None else done.stdout.split()

    def _run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str] | None:
        """What kubectl says; nothing while no API answers."""
        done = self._nodes.run("kubectl", "--request-timeout=5s", *words, stdin=stdin.encode())
        return done if done.returncode == 0 else None

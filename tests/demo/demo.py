#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show on a small cluster of real nodes what the death of a node costs DNS clients, with the collection and without.

A cluster of one server and two agents is started, CoreDNS's packaged pod is moved to an agent, the role is run, and
the agent is killed while the other one asks for names. With --compare the packaged state is measured first, and the
time to full strength of both; without, what was not measured is not shown as if it had been.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, DemoError, wait_for
from probe import Probe

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "build" / "demo"
PROBE_LOG = WORK / "probe.log"  # what a probe says beside its result
DEFAULT_NAME = "make-demo"  # nobody else's: what has it is taken down first
LEAD = 5.0  # seconds of probing before the fault
WATCHED = 75.0  # seconds after it: the default timers have spoken by then (grace period 50 s)
REFUSED = ("icmp", "refused", "servfail")  # answered, but not with an address
OUTAGE = 480.0  # seconds within which the packaged pod, and full strength, must be back


@dataclass
class Outcome:
    """What clients saw of one fault, and after how many seconds CoreDNS was at full strength again."""

    summary: dict
    strength: float | None = None


class Steps:
    """Numbers the steps and tells what each took."""

    def __init__(self) -> None:
        self._number = 0
        self._start = time.monotonic()

    def begin(self, text: str) -> None:
        """Announce a step."""
        self._number += 1
        self._start = time.monotonic()
        print(f"\n{self._number}. {text}", flush=True)

    def done(self, text: str) -> None:
        """Close it, with the seconds it took."""
        print(f"   {text} ({time.monotonic() - self._start:.0f} s)", flush=True)


def tool(name: str) -> str:
    """A program of the virtual environment that this one runs in."""
    return str(Path(sys.executable).parent / name)


def run(command: list[str], log: str, **environment: str) -> str:
    """Run a command with its output in a log under build/demo; an error shows the log's end."""
    with (WORK / log).open("w") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}, timeout=900
        )
    text = (WORK / log).read_text()
    if done.returncode != 0:
        raise DemoError(f"{Path(command[0]).name} failed; the end of build/demo/{log}:\n{text[-2000:]}")
    return text


def install_collection() -> Path:
    """Install the artefact that `make dist` built into an empty place, as a user would; gives that place."""
    artefacts = sorted((ROOT / "build" / "dist").glob("k3s_ha-core-*.tar.gz"))
    if not artefacts:
        raise DemoError("there is no artefact in build/dist; `make dist` builds it")
    place = WORK / "collections"
    shutil.rmtree(place, ignore_errors=True)
    run(
        [tool("ansible-galaxy"), "collection", "install", "--offline", "-p", str(place), str(artefacts[-1])],
        "galaxy.log",
    )
    return place


def run_role(cluster: Cluster, collections: Path) -> dict:
    """Run the collection's playbook with the sandbox's own inventory; gives the helper's plan from there."""
    inventory = WORK / "inventory.yml"
    inventory.write_text(cluster.sandbox("inventory"))
    run(
        [tool("ansible-playbook"), "-i", str(inventory), "k3s_ha.core.ha"],
        "ansible.log",
        ANSIBLE_COLLECTIONS_PATH=str(collections),
        ANSIBLE_NOCOLOR="1",
    )
    return json.loads(cluster.sandbox("exec", "server-1", "/usr/local/bin/k3s-core-ha", "-o", "json", "plan"))


def lose_a_node(cluster: Cluster, victim: str, observer: str, packaged: bool, strength_of: int | None) -> Outcome:
    """Kill the victim while the observer asks, and bring it back.

    The packaged state is watched until answers come again. With `strength_of`, also the time is taken until that many
    CoreDNS pods are ready on living nodes.
    """
    fault_at = time.time() + LEAD
    probe = Probe(cluster, observer, PROBE_LOG, fault_at)
    try:
        time.sleep(max(0.0, fault_at - time.time()))
        cluster.sandbox("kill", victim)
        if packaged:
            wait_for("answers from cluster DNS", OUTAGE, lambda: probe.answered_since(fault_at + 10))
        else:
            time.sleep(WATCHED)
    finally:
        summary = probe.stop()
    strength = None
    if strength_of is not None:
        wait_for(
            f"{strength_of} CoreDNS pods on living nodes",
            OUTAGE,
            lambda: sum(pod["spec"]["nodeName"] != victim for pod in cluster.dns_pods()) >= strength_of,
        )
        strength = time.time() - fault_at
    cluster.sandbox("restore", victim)
    wait_for("all nodes Ready", 180, cluster.nodes_ready)
    return Outcome(summary, strength)


def column(outcome: Outcome | None, strength: str) -> list[str]:
    """What the table says of one outcome."""
    if outcome is None:
        return ["not measured"] * 6
    fresh, fixed = outcome.summary["fresh"], outcome.summary["fixed"]
    share = fresh["since_fault"]["share"] or 0
    return [
        f"{fresh['lost']:,} of {fresh['planned']:,}",
        f"{100 * share:.0f} %",
        f"{sum(fresh[ending] for ending in REFUSED):,}",
        f"{fresh['longest_silence_s']:.1f} s",
        f"{fixed['longest_silence_s']:.1f} s",
        f"{outcome.strength:.0f} s, measured" if outcome.strength is not None else strength,
    ]


def table(packaged: Outcome | None, ours: Outcome, predicted: str) -> str:
    """The demonstration's result."""
    rows = [
        "queries lost (a fresh source port each)",
        "  their share, from the fault to the last lost one",
        "  more that were refused, as no endpoint was left",
        "longest silence, fresh source ports",
        "longest silence, a client with a fixed port",
        "CoreDNS at full strength again after",
    ]
    left, right = column(packaged, ""), column(ours, predicted)
    lines = [f"{'':50}{'as k3s ships it':>22}{'with k3s_ha.core':>24}"]
    lines += [f"{row:50}{a:>22}{b:>24}" for row, a, b in zip(rows, left, right, strict=True)]
    return "\n".join(lines)


def by_hand(name: str) -> str:
    """How a person speaks to the cluster of this name, from the top of the checkout."""
    return f"tests/sandbox/sandbox --name {name}"


def show(cluster: Cluster, compare: bool) -> None:
    """The demonstration, step by step."""
    steps = Steps()
    steps.begin("A cluster of real nodes: one server, two agents")
    cluster.sandbox("down")  # a cluster that was left over may have the role already, or a dead node
    cluster.up("small")
    collections = install_collection()
    helper = collections / "ansible_collections/k3s_ha/core/roles/k3s_core_ha/files/k3s-core-ha-x86_64"
    for agent in ("agent-1", "agent-2"):
        cluster.install_helper(agent, helper)
    steps.done("ready, and the collection installed from its artefact")

    steps.begin("CoreDNS as k3s ships it: one pod, moved to an agent so that the server can stay")
    victim = cluster.dns_pod_to_an_agent()
    observer = "agent-2" if victim == "agent-1" else "agent-1"
    steps.done(f"the pod is on {victim}; {observer} will ask")

    packaged = None
    if compare:
        steps.begin(f"{victim} loses its power, CoreDNS as k3s ships it (about 6 minutes)")
        packaged = lose_a_node(cluster, victim, observer, packaged=True, strength_of=1)
        victim = cluster.dns_pod_to_an_agent()
        observer = "agent-2" if victim == "agent-1" else "agent-1"
        steps.done(f"answers again; the pod is on {victim}, {observer} will ask")

    steps.begin("The role: ansible-playbook k3s_ha.core.ha, while clients go on asking")
    meanwhile = Probe(cluster, observer, PROBE_LOG, live=False)
    try:
        plan = run_role(cluster, collections)
    finally:
        fresh = meanwhile.stop()["fresh"]
    steps.done(f"meanwhile {fresh['lost']} of {fresh['planned']:,} queries lost")
    print(f"   Level {plan['level']['name']}: {plan['level']['reason']}")

    steps.begin(f"{victim} loses its power, CoreDNS with k3s_ha.core")
    replicas = len(cluster.dns_pods())
    ours = lose_a_node(cluster, victim, observer, packaged=False, strength_of=replicas if compare else None)
    steps.done(f"{victim} is back")

    low, high = plan["predicted"]["full_strength"]["seconds"]
    print(f"\nWhat clients on {observer} saw when {victim}, with a CoreDNS pod on it, lost its power:\n")
    print(table(packaged, ours, f"{low:.0f} to {high:.0f} s, predicted"))
    print()
    if not compare:
        print("As k3s ships it was not measured: `make demo COMPARE=1` does it, and takes the 6 minutes of its outage.")
    sandbox = by_hand(cluster.name)
    print(f"Look around:   {sandbox} kubectl get pods -n kube-system -o wide")
    print(f"               {sandbox} exec server-1 k3s-core-ha plan")
    print(f"               {sandbox} kill agent-1; {sandbox} restore agent-1")
    print(f"Stop it:       {sandbox} down, or `make down`, which stops every cluster")


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--compare", action="store_true", help="also measure the packaged state, and times to full strength"
    )
    parser.add_argument("--name", default=DEFAULT_NAME, help="the sandbox cluster's name (default: %(default)s)")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        show(Cluster(options.name), options.compare)
    except KeyboardInterrupt:
        print(f"\ndemo: stopped; `{by_hand(options.name)} down` stops the cluster", file=sys.stderr)
        return 130
    except (DemoError, subprocess.SubprocessError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        print(f"The cluster is as it was then; `{by_hand(options.name)} down` stops it.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

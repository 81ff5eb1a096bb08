# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether new replicas fit, as the helper predicts it, against the real scheduler and controllers on random clusters.

"It fits" is held against the helper's own run: that must end well, with no pod left without a place, and may push out
others' pods only where the plan said so. "It does not fit" is held against the pods themselves: they are made all the
same, beside the old ones, and then by an ordinary rollout.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from cells import Cell, cell
from cluster import Json, wait_for
from conftest import numbers
from fleet import COREDNS, DAEMONSETS, DEPLOYMENTS, METRICS, is_running
from results import Found, Results, summary
from truth import hosts

if TYPE_CHECKING:
    from fleet import Fleet
    from truth import Truth

REFUSED = 4
MOST = 0.05  # of the predictions of either kind may be a false "does not fit"
PUSHED = "pushed out"
# A wish for replicas on different nodes, which the scheduler alone would not keep.
COUNTED = "at most can be on different nodes"
LEVEL = "level is node, which needs"
ALONE = "and gone with it. Uncordon one first."
NO_PLACE = (
    "could be placed on the",
    "have no room for it now",
    "No node takes pods now",
    "No node that can run CoreDNS is ready",
    "No registered node can run CoreDNS",
    "and can on 0 of",
)
LEFT = "metrics-server is left as it is"


def test_cell(number: int, request: pytest.FixtureRequest, results: Results) -> None:
    """One cluster with one wish: what was predicted, and what came of it."""
    found = results.of(number)
    if found is None:
        start = time.monotonic()
        found = judge(cell(number), request.getfixturevalue("fleet"), request.getfixturevalue("truth"))
        print(f"\ncell {number}: {time.monotonic() - start:.0f} s", end="")
    print(f"\ncell {number}: " + "\n  ".join(map(str, found)), flush=True)
    false = [one for one in found if one.predicted == "fits" and one.false]
    assert not false, f"{cell(number)}"
    results.keep(number, found)  # one that failed is tried again


def test_summary(request: pytest.FixtureRequest, results: Results) -> None:
    """Of all cells together."""
    known = {number: results.of(number) for number in numbers(request.config)}
    every = [found for of in known.values() for found in of or []]
    print("\n" + summary(every), flush=True)
    assert every
    assert not [number for number, found in known.items() if found is None]
    assert sum(bool(one.false) for one in every) <= max(1, MOST * len(every))  # one of a few is no share


def judge(one: Cell, fleet: Fleet, truth: Truth) -> list[Found]:
    """What each component's prediction was worth."""
    fleet.become(one)
    before = fleet.others()
    ours = fleet.pushed_out()
    status, plan = fleet.helper("plan", one.wish)
    if status == REFUSED:
        words = plan["error"]["message"]
        if words.startswith("metrics_server_replicas"):
            return [Found("metrics-server", "refused", false_left(one, before, fleet, truth), words)]
        return [Found("coredns", "refused", false_refusal(one, words, fleet, truth), words)]
    assert status == 0, plan
    status, done = fleet.helper("apply", one.wish)
    wrong = "" if status == 0 else f"exit {status}: {done['error']['message']}"
    found = [Found("coredns", "fits", words=wrong or what_is_wrong(one, COREDNS, fleet))]
    # What is left for now may be done by the look at the end of the run.
    told = done["warnings"] if status == 0 else plan["warnings"]
    left = [words for words in told if words.startswith(LEFT)]
    deferred = any(words.startswith(LEFT) for words in plan["warnings"])
    if one.metrics and not left and (deferred or has_steps(plan, "metrics-server")):
        found.append(Found("metrics-server", "fits", words=wrong or what_is_wrong(one, METRICS, fleet)))
    if not wrong and before - fleet.others() and not any(PUSHED in words for words in told):
        found[0].words = f"pushed out without a word: {sorted(before - fleet.others())}"
    if not wrong and (pushed := fleet.pushed_out() - ours):
        found[0].words = f"pushed out: {sorted(pushed)}"
    for said in found:
        said.false = "fits" if said.words else ""
    if left and not wrong:
        found.append(Found("metrics-server", "refused", false_left(one, before, fleet, truth), left[0]))
    return found


def has_steps(plan: Json, component: str) -> bool:
    """Whether the plan has something to do for it."""
    return any(step["id"].startswith(f"{component}-") for step in plan["steps"])


def what_is_wrong(one: Cell, component: str, fleet: Fleet) -> str:
    """After a run that ended well: pods without a place, or together where each was to have a node of its own."""
    pods: list[Json] = []

    def all_run() -> bool:
        # A pod on a node that is not ready goes when the node is back.
        found = [pod for pod in fleet.pods() if "deletionTimestamp" not in pod["metadata"]]
        pods[:] = [pod for pod in found if pod["metadata"]["labels"].get("k8s-app") == component]
        return bool(pods) and all(map(is_running, pods))

    try:
        wait_for("all pods", all_run, 5)
    except AssertionError:
        return f"not running: {[pod['metadata']['name'] for pod in pods if not is_running(pod)]}"
    if component == COREDNS and one.wish["coredns_strategy"] == "daemonset":
        status = fleet.server.get(f"{DAEMONSETS}/k3s-core-ha-coredns")["status"]
        short = status["desiredNumberScheduled"] - status.get("numberAvailable", 0)
        return f"{short} daemons short" if short else ""
    name = "coredns" if component == COREDNS else component
    wished = fleet.server.get(f"{DEPLOYMENTS}/{name}")["spec"]["replicas"]
    if len(pods) != wished:
        return f"{len(pods)} pods of {wished}"
    open_hosts = {node.host for node in one.nodes if node.eligible and node.state == "ready"}
    if len(hosts(one, pods)) < min(wished, len(open_hosts)):
        return f"{wished} pods on {len(hosts(one, pods))} hosts of {len(open_hosts)}"
    return ""


def false_refusal(one: Cell, words: str, fleet: Fleet, truth: Truth) -> str:
    """Of what kind the refusal is false; empty: it is right."""
    assert any(known in words for known in (COUNTED, LEVEL, ALONE, *NO_PLACE)), words
    if one.wish["coredns_strategy"] == "daemonset":
        nodes = str(one.wish["coredns_daemonset_nodes"])
        if LEVEL in words:
            return "promise" if truth.daemon_hosts(one, nodes) >= 2 else ""
        return "placement" if truth.daemons(nodes) else ""
    if LEVEL in words or COUNTED in words:
        count = 2 if LEVEL in words else one.asked
        return "promise" if len(truth.beside(count, apart=True)) == count else ""
    count = one.count
    placed = truth.beside(count)
    if ALONE in words:
        return "alone" if len(placed) == count and len(hosts(one, placed)) > 1 else ""
    if len(placed) == count:
        return "placement"
    return "beside the old ones" if truth.in_place("coredns", count) else ""


def false_left(one: Cell, before: set[str], fleet: Fleet, truth: Truth) -> str:
    """The same of metrics-server, which is left alone where it has no room but CoreDNS's."""
    count = int(str(one.wish.get("metrics_server_replicas", 2)))
    ours = fleet.pushed_out()
    if not truth.in_place("metrics-server", count) or fleet.pushed_out() - ours:
        return ""
    return "by pushing out" if before - fleet.others() else "placement"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Everybody who would notice: who asks for names, for metrics and for web pages, and who needs volumes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import site_of_ours as site
from claims import Claims
from cluster import wait_for
from probe import Probe, see_nothing_lost
from watchers import EVERY, Availability, Client, Pods, lost

if TYPE_CHECKING:
    from nodes import Nodes

WEB = {"traefik": "kube-system", site.NAME: site.NAMESPACE}
HOME = "server-1"  # of the volumes; it lives for as long as a cluster does


def bring_what_they_ask(nodes: Nodes) -> None:
    """The user's own page, which k3s does not bring, and until each page has who serves it."""
    site.apply(nodes)
    wait_for("traefik", lambda: "traefik" in nodes.specs(), 120)
    wait_for("a replica of each", lambda: not nodes.short_of_replicas(), 120)


class Clients:
    """They ask from a node for as long as they are entered; with volumes, somebody also makes and removes those."""

    def __init__(self, nodes: Nodes, node: str, *, volumes: bool) -> None:
        self._nodes = nodes
        self._node = node
        self.claims = Claims(nodes, HOME) if volumes else None
        self.fault_at: float | None = None  # for who makes one
        # What was seen: by the probe, of the APIService, of each web page, and which provisioners were active at once.
        self.dns: dict[str, Any] = {}
        self.unavailable: list[str] = []
        self.asked: dict[str, list[tuple[float, bool]]] = {}
        self.several_provisioners: list[list[str]] = []

    def __enter__(self) -> Clients:
        self._web = {name: Client(self._nodes, self._node, name, namespace) for name, namespace in WEB.items()}
        self._availability = Availability(self._nodes)
        self._provisioners = Pods(self._nodes)
        if self.claims:
            self.claims.start()
        self._probe = Probe(self._nodes, self._node)
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        # When the step has failed, that is what is to be told.
        with contextlib.suppress(AssertionError) if failed else contextlib.nullcontext():
            self.dns = self._probe.stop(self.fault_at)
            self.unavailable = self._availability.stop()
            self.asked = {name: client.stop() for name, client in self._web.items()}
            self.several_provisioners = self._provisioners.stop().several
            if self.claims:
                self.claims.stop()

    def lost(self, name: str) -> list[float]:
        """When the requests for this web page were made that had no answer."""
        return lost(self.asked[name])

    def see_no_page_lost(self) -> None:
        """A chart's change may cost the few requests that are under way when a pod goes."""
        for name in WEB:
            assert len(self.asked[name]) > 10
            assert len(self.lost(name)) * EVERY <= (2 if name == "traefik" else 0), (name, self.lost(name))

    @property
    def told(self) -> str:
        """What they saw, in words."""
        words = [f"{self.dns['fresh']['lost']} of {self.dns['fresh']['planned']} queries lost"]
        words += [f"{name} {len(self.lost(name))} of {len(asked)}" for name, asked in self.asked.items()]
        if self.claims:
            longest = max((claim.bound - claim.asked for claim in self.claims.seen if claim.bound), default=0)
            words.append(f"{len(self.claims.seen)} volumes, {longest:.1f} s for one at most")
        return ", ".join(words)


def see_nothing_noticed(clients: Clients) -> None:
    """By nobody, but for the few requests that a chart's change may cost."""
    see_nothing_lost(clients.dns)
    clients.see_no_page_lost()
    assert clients.unavailable == []
    assert clients.several_provisioners == []

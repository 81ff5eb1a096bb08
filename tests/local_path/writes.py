# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pod of local-path-provisioner wrote what to the API, by the servers' audit logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cluster import AUDIT_LOG, READS

if TYPE_CHECKING:
    from nodes import Nodes

SERVERS = ("server-1", "server-2", "server-3")
ACCOUNT = "system:serviceaccount:kube-system:local-path-provisioner-service-account"


@dataclass(order=True)
class Write:
    """A request that changed something."""

    received: datetime
    done: datetime
    pod: str
    what: str

    @property
    def renews(self) -> bool:
        """It is one of the election, not of the provisioner."""
        return "/leases" in self.what

    @property
    def packaged(self) -> bool:
        """It is of a pod that knows no election."""
        return not self.pod.startswith("k3s-core-ha-")


def read_writes(nodes: Nodes, servers: tuple[str, ...] = SERVERS, accounts: str = ACCOUNT) -> list[Write]:
    """In the order in which they came in. The nodes have one clock."""
    pattern = f'/"stage":"ResponseComplete"/ && /{accounts}/'
    found = []
    for server in servers:
        for line in nodes.sandbox("exec", server, "awk", pattern, AUDIT_LOG).splitlines():
            event = json.loads(line)
            pods = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name")
            if event["verb"] in READS or event["responseStatus"].get("code", 0) >= 300 or not pods:
                continue
            times = (datetime.fromisoformat(event[key]) for key in ("requestReceivedTimestamp", "stageTimestamp"))
            found.append(Write(*times, pods[0], f"{event['verb']} {event['requestURI']}"))
    return sorted(found)


def out_of_turn(writes: list[Write]) -> list[str]:
    """What a pod wrote after another one had taken the Lease, and before it had it itself; and what a packaged pod
    wrote between the first and the last word of the election.

    Only who holds the Lease can have written it last: so the last who did is the holder.
    """
    words = [write for write in writes if write.renews]
    wrong = []
    for write in writes:
        if write.renews:
            continue
        before = [word for word in words if word.done < write.received]
        if write.packaged:
            early = before and len(before) < len(words)
            if early:
                wrong.append(f"{write.received.time()} {write.pod} {write.what}: while there is an election")
        elif not before:
            wrong.append(f"{write.received.time()} {write.pod} {write.what}: before anybody had the Lease")
        elif before[-1].pod != write.pod:
            late = (write.received - before[-1].done).total_seconds()
            wrong.append(
                f"{write.received.time()} {write.pod} {write.what}: {late:.3f} s after {before[-1].pod} had it"
            )
    return wrong

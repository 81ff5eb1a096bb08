# SPDX-License-Identifier: GPL-3.0-or-later
"""One story: the clusters of one inventory get the role, are changed, and go back. Each test goes on from the last."""

from __future__ import annotations

import difflib
import json

from cluster import changes, wait_for
from clusters import CLIENT, POD_RESOLV_CONF, Play, Sites
from probes import nothing_lost
from shapes import RESERVED, SHAPES

SERVERS = {f"{shape.name}-server-1" for shape in SHAPES}
KINDS = (
    "configmaps",
    "deployments",
    "endpointslices",
    "horizontalpodautoscalers",
    "nodes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "services",
)

promised: list[Play] = []  # what check mode said


def changed(play: Play) -> set[str]:
    """The hosts on which something was changed."""
    return {host for host, count in play.changed.items() if count}


def marks(sites: Sites) -> dict[str, int]:
    """How long each cluster's audit log is."""
    return {site.name: site.audit_mark() for site in sites}


def test_each_client_finds_kubernetes_as_k3s_leaves_it(sites: Sites) -> None:
    """By name and by address, through the settings that the cluster gives its pods."""
    for site in sites:
        find_kubernetes(sites, site.shape.name)


def find_kubernetes(sites: Sites, name: str) -> None:
    """From a pod of this cluster, and from its node with that pod's resolv.conf."""
    (site,) = (site for site in sites if site.shape.name == name)
    shape = site.shape
    full = f"kubernetes.default.svc.{shape.domain}"
    assert shape.kubernetes in site.kubectl("exec", CLIENT, "--", "nslookup", full)
    assert full in site.kubectl("exec", CLIENT, "--", "nslookup", shape.kubernetes)
    # The C library's resolver, which goes through the list of domains.
    borrow = f"mount --bind {POD_RESOLV_CONF} /etc/resolv.conf && getent hosts kubernetes.default {shape.kubernetes}"
    found = site.sandbox("exec", site.client_node, "unshare", "--mount", "sh", "-c", borrow)
    assert [line.split() for line in found.splitlines()] == [[shape.kubernetes, full]] * 2
    for address in shape.dns:
        assert shape.kubernetes in site.kubectl("exec", CLIENT, "--", "nslookup", full, address)
    families = ["IPv4", "IPv6"][: len(shape.dns)]
    assert sorted(site.dns_endpoints()) == families


def test_check_mode_writes_nothing(sites: Sites) -> None:
    """Not an object, not a file; it says what would change."""
    before = marks(sites)
    play = sites.play("ha", "--check", "--diff")
    assert changed(play) == SERVERS
    for site in sites:
        audited = site.audited(before[site.name])
        assert audited, f"{site.name} was not asked"
        assert changes(audited) == []
        assert site.helpers() == []
    promised.append(play)


def test_each_cluster_gets_what_its_size_allows(sites: Sites) -> None:
    """And what check mode promised, while no client loses a query."""
    with nothing_lost(sites):
        play = sites.play("ha", "--diff")
        for site in sites:
            site.wait_for_dns(site.shape.dns_nodes)
    assert play.changed == promised[0].changed
    told, done = ("".join(one.diffs).splitlines() for one in (promised[0], play))
    assert "\n".join(difflib.unified_diff(told, done, "check mode", "done", lineterm="")) == ""
    for site in sites:
        plan = site.plan()
        assert plan["level"]["name"] == site.shape.level, plan["level"]
        assert not plan["changed"]
        assert f"Level {site.shape.level}: " in play.stdout
        assert site.helpers() == ["server-1:/usr/local/bin/k3s-core-ha"]
        find_kubernetes(sites, site.shape.name)


def test_a_second_run_only_reads(sites: Sites) -> None:
    """On every server."""
    before = marks(sites)
    assert changed(sites.play("ha")) == set()
    for site in sites:
        assert site.audited(before[site.name]) == []


def test_a_wish_of_one_cluster_is_no_other_cluster_s(sites: Sites) -> None:
    """In check mode, which tells the truth, and then for real."""
    sites.wishes = {RESERVED.name: {"k3s_core_ha_coredns_max_replicas": 9}}
    others = [site for site in sites if site.shape != RESERVED]
    before = marks(sites)
    said = sites.play("ha", "--check", "--diff")
    assert changed(said) == {f"{RESERVED.name}-server-1"}
    for site in sites:
        assert changes(site.audited(before[site.name])) == []
    assert sites.of(RESERVED).autoscaler()["maxReplicas"] != 9
    done = sites.play("ha", "--diff")
    assert (done.changed, done.diffs) == (said.changed, said.diffs)
    assert len(done.diffs) > 0
    assert sites.of(RESERVED).autoscaler()["maxReplicas"] == 9
    for site in others:
        assert site.audited(before[site.name]) == []
        assert site.autoscaler()["maxReplicas"] != 9


def test_a_node_dies_and_no_client_notices(sites: Sites) -> None:
    """Where both families are, and each node has a CoreDNS of its own."""
    site = sites.of(RESERVED)
    (victim,) = {"agent-1", "agent-2"} - {site.client_node}
    living = set(RESERVED.dns_nodes) - {victim}
    with nothing_lost([site]):
        site.sandbox("kill", victim)
        site.kubectl("wait", f"node/{victim}", "--for=condition=Ready=Unknown", "--timeout=150s")
        for family in ("IPv4", "IPv6"):
            wait_for(f"endpoints of {family}", lambda family=family: site.dns_endpoints()[family] == living)
        find_kubernetes(sites, RESERVED.name)
    site.sandbox("restore", victim)
    site.wait_for_dns(RESERVED.dns_nodes, 240)


def test_the_way_back(sites: Sites) -> None:
    """Over all clusters, while no client loses a query; then nothing of ours is left, and a second time none to do."""
    with nothing_lost(sites):
        assert changed(sites.play("remove")) == SERVERS
    for site in sites:
        things = json.loads(site.kubectl("get", "-A", "--show-managed-fields", "-o", "json", ",".join(KINDS)))["items"]
        ours = [thing for thing in things if "k3s-core-ha" in json.dumps(thing)]
        assert [f"{thing['kind']}/{thing['metadata']['name']}" for thing in ours] == []
        assert site.helpers() == []
        wait_for(f"one CoreDNS of {site.name}", lambda site=site: len(site.ready_dns()) == 1)
    before = marks(sites)
    assert changed(sites.play("remove")) == set()
    for site in sites:
        assert site.audited(before[site.name]) == []

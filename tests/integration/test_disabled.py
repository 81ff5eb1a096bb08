# SPDX-License-Identifier: GPL-3.0-or-later
"""Components disabled in k3s: strategy custom makes them, keeps them through starts of k3s, and gives them to k3s
again. And what else people do by hand to have others than k3s's: what comes of it is told, or put right.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Iterator

import pytest

for beside in ("matrix", "helm", "local_path"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / beside))
pytest.register_assert_rewrite("claims", "nodes", "watchers", "writes")

from claims import Claims  # noqa: E402 - so that a failed assertion there is explained, too
from cluster import changes, wait_for  # noqa: E402
from nodes import BESIDE, MANIFESTS, PACKAGED, Nodes  # noqa: E402
from probe import Probe, answers, see_nothing_lost  # noqa: E402
from watchers import Availability  # noqa: E402
from writes import out_of_turn, read_writes  # noqa: E402

CUSTOM = {**PACKAGED, "coredns_strategy": "custom", "metrics_server_strategy": "custom", "level": "none"}
CONFIG = "/etc/rancher/k3s/config.yaml.d/40-disabled.yaml"
DISABLED = ("coredns", "metrics-server")
TWO = {"local_path_provisioner_replicas": 2}
REPLICAS = {**PACKAGED, "coredns_strategy": "replicas", "level": "none"}
OWNER = "objectset.rio.cattle.io/owner-name"
ELSEWHERE = "--manifests=/nowhere"  # as where the helper does not run on the server that has the file


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A server whose k3s was told to do without them."""
    with Nodes("disabled", "single").started() as made:
        yield made


def disable(nodes: Nodes, *names: str) -> None:
    """Have k3s do without these, and see them go."""
    nodes.sandbox("exec", "server-1", "sh", "-c", f"echo 'disable+: [{', '.join(names)}]' >{CONFIG}")
    nodes.restart_all(metrics="metrics-server" not in names)
    for name in names:
        wait_for(f"{name} to be gone", lambda name=name: not there(nodes, "deployments", name), 60)


def there(nodes: Nodes, kind: str, name: str) -> bool:
    """Whether there is such an object."""
    return bool(nodes.get(kind, f"--field-selector=metadata.name={name}"))


def identities(nodes: Nodes) -> list[tuple[str, int]]:
    """What is another one when it is made anew, or, of a Deployment, changed."""
    kinds = [("deployments", name) for name in DISABLED]
    lent = [nodes.one(kind, name)["metadata"] for kind, name in (*kinds, ("services", "kube-dns"), *BESIDE)]
    return [(one["uid"], one["generation"] if i < len(kinds) else 0) for i, one in enumerate(lent)]


def test_disabled(nodes: Nodes) -> None:
    """Made, kept, not taken away; then k3s's own again."""
    disable(nodes, *DISABLED)
    told = nodes.set_aside(["coredns", "metrics-server-deployment"])
    refused = nodes.refused({**PACKAGED, "coredns_strategy": "replicas"})
    assert "strategy custom makes one" in str(refused), refused
    assert nodes.helper("apply", CUSTOM, *told)["changed"]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    wait_for("metrics", nodes.metrics, 60)
    before = identities(nodes)

    nodes.restart_all()
    assert identities(nodes) == before
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    for strategy, name in (("coredns_strategy", "coredns"), ("metrics_server_strategy", "metrics-server")):
        assert f"started with --disable {name}" in str(nodes.refused({**CUSTOM, strategy: "packaged"}, *told))
    hosts = nodes.one("configmaps", "coredns")["data"]["NodeHosts"]
    assert hosts.split()[1::2] == ["server-1"], hosts
    wait_for("the node's name", lambda: answers(nodes, "server-1", "10.43.0.10", "server-1"), 30)

    # One replica, and another one for as long as it is replaced.
    available = Availability(nodes)
    nodes.helper("apply", {**CUSTOM, "metrics_server_resources": {"requests": {"memory": "80Mi"}}}, *told)
    assert nodes.one("deployments", "metrics-server")["spec"]["replicas"] == 1
    assert available.stop() == []

    before = identities(nodes)
    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    assert identities(nodes) == before
    # From here on: on a busy machine a start of k3s itself can leave a Service without rules for a second.
    client = Probe(nodes, "server-1")
    available = Availability(nodes)
    nodes.helper("apply", CUSTOM, *told)
    assert [uid for uid, _ in identities(nodes)] == [uid for uid, _ in before]
    assert not nodes.helper("apply", CUSTOM, *told)["changed"]
    nodes.helper("apply", {**CUSTOM, "metrics_server_resources": {"requests": {"memory": "80Mi"}}}, *told)
    nodes.helper("apply", PACKAGED, *told)
    see_nothing_lost(client.stop())
    assert available.stop() == []
    nodes.set_aside([])
    nodes.restart_all()
    assert nodes.left_of_ours() == []
    assert [uid for uid, _ in identities(nodes)] == [uid for uid, _ in before]
    assert applied_whole(nodes)
    assert not nodes.helper("apply", PACKAGED)["changed"]


def test_volumes(nodes: Nodes) -> None:
    """local-path-provisioner disabled: made, kept, given to k3s again; volumes go on, and one at a time is active."""
    (container,) = nodes.one("deployments", "local-path-provisioner")["spec"]["template"]["spec"]["containers"]
    image = container["image"]
    custom = {**PACKAGED, "local_path_provisioner_strategy": "custom", "local_path_provisioner_image": image}
    disable(nodes, "local-storage")
    wait_for("it to be gone", lambda: not there(nodes, "deployments", "local-path-provisioner"), 60)
    refused = nodes.refused({**PACKAGED, "local_path_provisioner_strategy": "replicas", **TWO})
    assert "strategy custom makes one" in str(refused), refused
    assert nodes.helper("apply", PACKAGED)["changed"] is False
    told = nodes.carriers()
    assert nodes.helper("apply", custom, *told)["changed"]
    assert not nodes.helper("apply", custom)["changed"]
    claims = Claims(nodes, "server-1")
    claims.start()
    kept = claims.keep()

    nodes.restart_all()
    assert not nodes.helper("apply", custom)["changed"]
    assert "started with --disable local-storage" in str(nodes.refused(PACKAGED))
    claims.wait_for_one()

    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    assert nodes.get("pods", "-l", "app=local-path-provisioner") == []  # k3s's own, which it has applied
    deployment = nodes.one("deployments", "local-path-provisioner")
    assert (deployment["metadata"]["annotations"][OWNER], deployment["spec"]["replicas"]) == ("local-storage", 0)
    assert nodes.helper("apply", custom)["changed"]
    assert not nodes.helper("apply", custom)["changed"]
    assert not nodes.helper("apply", {**custom, "local_path_provisioner_strategy": "replicas"})["steps"][1:]
    claims.wait_for_one()

    nodes.helper("apply", PACKAGED)
    claims.wait_for_one()
    claims.remove(kept)
    claims.stop()
    writes = read_writes(nodes, ("server-1",))
    assert out_of_turn(writes) == []
    assert claims.left() == ""
    print(f"\n{len(claims.seen)} claims; {claims.longest()[0]:.1f} s for a volume at most", flush=True)
    assert nodes.left_of_ours() == []
    before = nodes.generations()
    nodes.restart_all()
    assert nodes.generations() == before
    assert nodes.helper("apply", PACKAGED)["changed"] is False


def failures(nodes: Nodes) -> int:
    """How often k3s could not apply its CoreDNS."""
    failed = nodes.get("events", "--field-selector=reason=ApplyManifestFailed,involvedObject.name=coredns")
    return sum(event.get("count") or 1 for event in failed)


def applied_whole(nodes: Nodes) -> bool:
    """Whether k3s has applied its CoreDNS whole, and owns it: it would try again every 15 s what failed."""
    (addon,) = nodes.get("addons.k3s.cattle.io", "--field-selector=metadata.name=coredns")
    staged = nodes.sandbox("exec", "server-1", "sha256sum", f"{MANIFESTS}/coredns.yaml").split()[0]
    return addon["spec"].get("checksum") == staged and owners(nodes) == ["coredns", "coredns"]


@contextlib.contextmanager
def own_file(nodes: Nodes, name: str, text: str) -> Iterator[None]:
    """A file of somebody's among k3s's manifests for so long, and k3s started without it then."""
    nodes.sandbox("exec", "server-1", "sh", "-c", f"cat >{MANIFESTS}/{name}", stdin=text.encode())
    try:
        yield
    finally:
        nodes.sandbox("exec", "server-1", "rm", "-f", f"{MANIFESTS}/{name}", CONFIG)
        nodes.restart_all()


def goes_both_ways(nodes: Nodes) -> None:
    """What k3s ships, and applied itself, is built on and given back."""
    wait_for("k3s's own", lambda: owners(nodes) == ["coredns", "coredns"], 60)
    nodes.helper("apply", REPLICAS)
    nodes.helper("apply", PACKAGED)
    assert nodes.left_of_ours() == []


def generation(nodes: Nodes) -> int:
    """How often what CoreDNS's Deployment is to be was changed."""
    return nodes.one("deployments", "coredns")["metadata"]["generation"]


def owners(nodes: Nodes) -> list[str]:
    """By which AddOn k3s applied CoreDNS's Deployment and its Service last."""
    found = [nodes.one(*which)["metadata"] for which in (("deployments", "coredns"), ("services", "kube-dns"))]
    return [about.get("annotations", {}).get(OWNER, "") for about in found]


def test_an_own_file_beside_k3ss(nodes: Nodes) -> None:
    """Taken over but for the Service, whose address is taken: told from wherever the helper runs, and over once the
    file is gone and k3s has started.
    """
    staged = nodes.sandbox("exec", "server-1", "cat", f"{MANIFESTS}/coredns.yaml")
    with own_file(nodes, "own-dns.yaml", staged.replace("170Mi", "180Mi")):
        wait_for("k3s to apply it", lambda: owners(nodes) == ["own-dns", "coredns"], 60)
        mark = nodes.audit_mark()
        told = str(nodes.refused(REPLICAS))
        assert "own-dns.yaml among k3s's manifests on this server declares" in told, told
        told = str(nodes.refused(REPLICAS, ELSEWHERE))
        assert "AddOn own-dns, and is in k3s's own coredns.yaml, too" in told, told
        assert changes(nodes.audited(mark)) == []

        nodes.restart_all()
        first = generation(nodes)
        wait_for("the fight", lambda: generation(nodes) > first + 1, 60)
        assert "own-dns.yaml" in str(nodes.refused(REPLICAS))
    goes_both_ways(nodes)


def test_an_own_file_in_the_place_of_a_disabled_one(nodes: Nodes) -> None:
    """It is taken for k3s's, and a fight as soon as k3s ships its own again."""
    staged = nodes.sandbox("exec", "server-1", "cat", f"{MANIFESTS}/coredns.yaml")
    lines = [line for line in staged.splitlines() if "clusterIP" not in line and "ipFamilyPolicy" not in line]
    with own_file(nodes, "own-dns.yaml", "\n".join(lines)):
        wait_for("k3s to apply it", lambda: owners(nodes) == ["own-dns", "own-dns"], 60)
        before = nodes.one("services", "kube-dns")["metadata"]["uid"]
        nodes.sandbox("exec", "server-1", "sh", "-c", f"echo 'disable+: [coredns]' >{CONFIG}")
        nodes.restart_all()
        assert nodes.one("services", "kube-dns")["metadata"]["uid"] == before
        done = nodes.helper("apply", REPLICAS)
        assert done["changed"]
        assert "--disable" not in str(done["warnings"]), done["warnings"]
        assert not nodes.helper("apply", REPLICAS)["changed"]
        nodes.helper("apply", PACKAGED)
        nodes.sandbox("exec", "server-1", "rm", CONFIG)
        nodes.restart_all()
        assert "own-dns" in str(nodes.refused(REPLICAS))
    # The Service stays that file's, for k3s cannot make one at an address that is taken; the next test deletes it.


def test_a_service_that_somebody_deleted(nodes: Nodes) -> None:
    """Made again as k3s ships it, with its address, and k3s's own at its next start."""
    before = nodes.one("services", "kube-dns")["spec"]
    nodes.sandbox("kubectl", "delete", "service", "kube-dns", "-n", "kube-system")
    assert nodes.helper("apply", PACKAGED)["changed"]
    assert nodes.left_of_ours() == []
    after = nodes.one("services", "kube-dns")
    assert after["spec"] == before
    wait_for("an answer", lambda: answers(nodes, "server-1", "10.43.0.10", "server-1"), 30)
    failed = failures(nodes)
    nodes.restart_all()
    assert nodes.one("services", "kube-dns")["metadata"]["uid"] == after["metadata"]["uid"]
    assert applied_whole(nodes)
    assert failures(nodes) == failed
    assert not nodes.helper("apply", PACKAGED)["changed"]


def test_a_skip_that_somebody_left_behind(nodes: Nodes) -> None:
    """No cluster DNS once CoreDNS is enabled again: told, and strategy custom makes it of what k3s stages."""
    told = nodes.set_aside(["coredns"])
    disable(nodes, "coredns")
    nodes.sandbox("exec", "server-1", "rm", CONFIG)
    nodes.restart_all()
    assert not there(nodes, "services", "kube-dns")
    assert "coredns.yaml.skip on server-1 keeps k3s from making it" in str(nodes.refused(REPLICAS, *told))
    custom = {**CUSTOM, "metrics_server_strategy": "packaged"}
    assert nodes.helper("apply", custom, *told)["changed"]
    assert not nodes.helper("apply", custom, *told)["changed"]
    wait_for("the node's name", lambda: answers(nodes, "server-1", "10.43.0.10", "server-1"), 30)
    nodes.helper("apply", PACKAGED, *told)
    nodes.set_aside([])
    nodes.restart_all()
    assert nodes.left_of_ours() == []
    assert applied_whole(nodes)

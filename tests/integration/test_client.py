# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper's client against a real API server: HTTP/2, discovery, several addresses, watches."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import ROOT, Cluster
from helper import HELPER

STATIC = ROOT / "build" / "k3s-core-ha-x86_64"  # with a libcurl of its own, and so HTTP/2 on any distribution
SERVER = "https://198.18.0.11:6443"
NOBODY = "https://198.18.0.99:6443"  # no machine has this address
CLOSED = "https://198.18.0.11:6444"  # a port that the kernel refuses
WISH = "coredns_min_replicas: 2\n"
# A group whose server is not there.
STALE = """
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.away.example.org}
spec:
  group: away.example.org
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: nowhere, namespace: kube-system}
"""
# Pods that no node takes, of 160 KiB together, among those that the helper reads.
LARGE = "---".join(
    f"""
apiVersion: v1
kind: Pod
metadata:
  name: large-{number}
  namespace: kube-system
  labels: {{k8s-app: metrics-server}}
  annotations: {{filling: {"x" * 20000}}}
spec:
  nodeSelector: {{no: where}}
  containers: [{{name: pause, image: pause}}]
"""
    for number in range(8)
)


class Sandbox(Cluster):
    """A cluster of one server, whose other nodes exist for the API alone, so that pods start at once."""

    kubeconfig = ""

    def helper(self, *words: str, stdin: str = "", program: pathlib.Path = STATIC) -> tuple[dict[str, Any], str]:
        """The helper in the cluster's network: its result, and what it said with -vv."""
        globals_ = ("--kubeconfig", self.kubeconfig, "--output", "json", "-vv")
        done = self.run("net", str(program), *globals_, *words, stdin=stdin.encode())
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox("client")
    try:
        made.up("fleet:3")
        kubeconfig = tmp_path_factory.mktemp("client") / "kubeconfig"
        kubeconfig.touch(0o600)
        kubeconfig.write_text(made.sandbox("kubectl", "config", "view", "--raw"))
        made.kubeconfig = str(kubeconfig)
        yield made
    finally:
        made.sandbox("down")


def connections(said: str) -> list[str]:
    return re.findall(r"connected to (\S+ by HTTP/\S+)", said)


def test_requests_in_parallel_share_one_connection_by_http2(sandbox: Sandbox) -> None:
    result, said = sandbox.helper("observe")
    assert result["version"]["gitVersion"].startswith("v1.")
    assert connections(said) == [f"{SERVER} by HTTP/2"]
    assert said.count(" GET /") > 10


@pytest.mark.parametrize("program", [HELPER, STATIC], ids=["distribution", "static"])
def test_large_answers_in_parallel_come_at_once(sandbox: Sandbox, program: pathlib.Path) -> None:
    # libcurl 7.88.1, Debian 12's, let one look in 100 at this cluster stand still by HTTP/2.
    sandbox.sandbox("kubectl", "apply", "--server-side", "-f", "-", stdin=LARGE.encode())
    try:
        for _ in range(50):
            result, _ = sandbox.helper("observe", program=program)
            assert result["version"]["gitVersion"].startswith("v1.")
    finally:
        sandbox.sandbox("kubectl", "delete", "--ignore-not-found", "--grace-period=0", "-f", "-", stdin=LARGE.encode())


@pytest.mark.parametrize(("address", "why"), [(CLOSED, "Connection refused"), (NOBODY, "")], ids=["closed", "nobody"])
def test_an_address_that_does_not_answer_is_passed_over(sandbox: Sandbox, address: str, why: str) -> None:
    result, said = sandbox.helper("--server", address, "--server", SERVER, "version")
    assert result["server"]["gitVersion"].startswith("v1.")
    assert f"the API at {address} does not answer ({why}" in said
    assert connections(said) == [f"{SERVER} by HTTP/2"]


def test_a_group_whose_server_is_away_is_left_out(sandbox: Sandbox) -> None:
    sandbox.sandbox("kubectl", "apply", "-f", "-", stdin=STALE.encode())
    try:
        plain = json.loads(sandbox.sandbox("kubectl", "get", "--raw", "/apis"))
        assert "away.example.org" in [group["name"] for group in plain["groups"]]
        result, _ = sandbox.helper("observe")
    finally:
        sandbox.sandbox("kubectl", "delete", "apiservice", "v1.away.example.org")
    assert "away.example.org/v1" not in result["groups"]
    assert {"apps/v1", "autoscaling/v2", "policy/v1"} <= set(result["groups"])


def test_a_change_waits_by_watches_and_with_one_address_dead(sandbox: Sandbox) -> None:
    sandbox.helper("apply", "--packaged")
    addresses = ("--server", CLOSED, "--server", SERVER)
    result, said = sandbox.helper(*addresses, "apply", "--spec", "-", stdin=WISH)
    assert result["changed"]
    waits = [step for step in result["steps"] if step["action"].startswith("wait_")]
    # Each wait is a list, and a watch unless all was well already; what the watch told was enough.
    assert 1 <= len(re.findall(r"GET \S+&watch=true&allowWatchBookmarks=true&\S+ 200", said)) <= len(waits)
    lists = re.findall(r"GET /apis/apps/v1/namespaces/kube-system/deployments\?fieldSelector=\S+&limit=500 200", said)
    deployments, looks = 4, 2  # three packaged ones and one of ours, each read before the change, and after it
    assert len(lists) == deployments * looks + sum(step["action"] == "wait_rollout" for step in waits)
    assert said.count("does not answer") == 1

    result, said = sandbox.helper(*addresses, "apply", "--spec", "-", stdin=WISH)
    assert not result["changed"]
    assert connections(said) == [f"{SERVER} by HTTP/2"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster for all tests here. KEEP=1 leaves it up, for the next run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("candidates", "charts", "cluster", "helper", "provisioners", "state", "ways")

from cluster import Cluster, Server, wait_for  # noqa: E402 - so that a failed assertion there is explained, too
from helper import Helper  # noqa: E402
from proxy import Proxy  # noqa: E402
from ways import Ways  # noqa: E402

NODES = 4  # that CoreDNS can run on
# By default the autoscaler looks every 15 s, for which tests here would only wait.
HPA_SYNC = "kube-controller-manager-arg=horizontal-pod-autoscaler-sync-period=3s"
COREDNS_PODS = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns"


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """For keys and kubeconfigs."""
    return tmp_path_factory.mktemp("integration")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server, and nodes whose pods are Ready at once and end at once."""
    made = Cluster(os.environ.get("SUITE", "integration"))  # parts of it run at the same time, each on its own
    try:
        # With the kinds of helm-controller, which leaves alone what is marked as unmanaged.
        made.up(f"fleet:{NODES}", "--traefik", "--server-arg", "disable=traefik", "--server-arg", HPA_SYNC)
        made.enter()
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.sandbox("down")


@pytest.fixture(scope="session")
def server(cluster: Cluster, directory: pathlib.Path) -> Server:
    """The API server; CoreDNS has left the one real node for the others, where a pod's start and end take no time."""
    api = Server(cluster.sandbox("kubectl", "config", "view", "--raw"), directory)
    taint = {"key": "example.org/reserved", "effect": "NoSchedule"}
    api.patch("/api/v1/nodes/server-1", {"spec": {"taints": [taint]}})
    for pod in api.get(COREDNS_PODS)["items"]:
        if pod["spec"].get("nodeName") == "server-1":
            api.request("DELETE", f"/api/v1/namespaces/kube-system/pods/{pod['metadata']['name']}")
    wait_for("CoreDNS away from server-1", lambda: pods_elsewhere(api))
    return api


def pods_elsewhere(api: Server) -> bool:
    """Whether CoreDNS runs, and none of it on the real node."""
    pods = api.get(COREDNS_PODS)["items"]
    return bool(pods) and all(
        pod["spec"].get("nodeName", "server-1") != "server-1" and pod["status"]["phase"] == "Running" for pod in pods
    )


@pytest.fixture(scope="session")
def proxy(server: Server, directory: pathlib.Path) -> Iterator[Proxy]:
    """What the helper takes for the API server."""
    made = Proxy(server, directory)
    yield made
    made.close()


@pytest.fixture(scope="session")
def helper(proxy: Proxy, directory: pathlib.Path) -> Helper:
    """The helper, through the proxy."""
    return Helper(proxy, directory)


@pytest.fixture(scope="session")
def ways(cluster: Cluster, server: Server, helper: Helper, directory: pathlib.Path) -> Ways:
    """Where the cluster is: at first as k3s ships it, whatever an earlier run left."""
    (directory / "metrics-server").mkdir()
    for name in ("coredns.yaml", "metrics-server/metrics-server-deployment.yaml"):
        staged = cluster.sandbox("exec", "server-1", "cat", f"/var/lib/rancher/k3s/server/manifests/{name}")
        (directory / name).write_text(staged)
    return Ways(server, helper, directory)

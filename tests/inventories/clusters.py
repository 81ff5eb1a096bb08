# SPDX-License-Identifier: GPL-3.0-or-later
"""Several clusters in one inventory, and the collection's playbooks over all of them."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import yaml
from cluster import ROOT, Cluster, Json, is_ready, wait_for
from shapes import Shape

TOOLS = ROOT / ".venv" / "bin"
INSTALLED = "/usr/local/bin/k3s-core-ha"
CLIENT = "client"  # a pod that nothing but the tests wants
CLIENT_IMAGE = "rancher/mirrored-library-busybox:1.37.0"
POD_RESOLV_CONF = "/run/pod-resolv.conf"  # on a node: what the client has
PROBE = "/usr/local/lib/dns-probe"  # not where the role installs the helper: it must outlive the way back
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0\s", re.MULTILINE)
DIFF = re.compile(r"^--- before.*?(?=^changed: )", re.MULTILINE | re.DOTALL)


class Site(Cluster):
    """One cluster of the inventory."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(f"inv-{shape.name}")
        self.shape = shape

    def start(self) -> None:
        """Start it, with a pod that can ask for names."""
        settings = [word for setting in self.shape.settings for word in ("--server-arg", setting)]
        self.up(self.shape.topology, *settings, "--timeout", "400")
        self.kubectl("run", CLIENT, f"--image={CLIENT_IMAGE}", "--restart=Never", "--", "sleep", "1000000")

    def ready(self, helper: bytes) -> None:
        """Give the client, and each machine, a probe; and each machine the client's resolv.conf."""
        self.kubectl("wait", f"pod/{CLIENT}", "--for=condition=Ready", "--timeout=240s")
        self.kubectl("exec", "-i", CLIENT, "--", "sh", "-c", "cat >/probe && chmod 755 /probe", stdin=helper)
        conf = self.kubectl("exec", CLIENT, "--", "cat", "/etc/resolv.conf").encode()
        for node in self.shape.nodes:
            self.sandbox("exec", node, "sh", "-c", f"cat >{PROBE} && chmod 755 {PROBE}", stdin=helper)
            self.sandbox("exec", node, "sh", "-c", f"cat >{POD_RESOLV_CONF}", stdin=conf)

    def kubectl(self, *words: str, stdin: bytes | None = None) -> str:
        """What kubectl prints."""
        return self.sandbox("kubectl", *words, stdin=stdin)

    def get(self, *words: str) -> Json:
        """An object or a list."""
        return json.loads(self.kubectl("get", "-o", "json", *words))

    @functools.cached_property
    def client_node(self) -> str:
        """Where the client runs."""
        return self.get("pod", CLIENT)["spec"]["nodeName"]

    def plan(self) -> Json:
        """What the installed helper would do on the server, and at which level the cluster is."""
        return json.loads(self.sandbox("exec", "server-1", INSTALLED, "-o", "json", "plan"))

    def dns_endpoints(self) -> dict[str, set[str]]:
        """The nodes of the ready endpoints of the cluster's DNS, by family."""
        found: dict[str, set[str]] = {}
        selector = "kubernetes.io/service-name=kube-dns"
        for part in self.get("-n", "kube-system", "endpointslices", "-l", selector)["items"]:
            nodes = found.setdefault(part["addressType"], set())
            nodes.update(end["nodeName"] for end in part.get("endpoints") or [] if end["conditions"]["ready"])
        return found

    def autoscaler(self) -> Json:
        """The spec of the autoscaler that the role made."""
        return self.get("-n", "kube-system", "horizontalpodautoscaler", "k3s-core-ha-coredns")["spec"]

    def ready_dns(self) -> list[str]:
        """The nodes of the CoreDNS pods that are ready and to stay, sorted."""
        pods = self.get("-n", "kube-system", "pods", "-l", "k8s-app=kube-dns")["items"]
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sorted(pod["spec"]["nodeName"] for pod in staying if is_ready(pod))

    def helpers(self) -> list[str]:
        """The helper's files on all machines."""
        look = ("sh", "-c", f"ls {INSTALLED}* 2>/dev/null || true")
        return [f"{node}:{file}" for node in self.shape.nodes for file in self.sandbox("exec", node, *look).split()]

    def wait_for_dns(self, nodes: tuple[str, ...], seconds: float = 120) -> None:
        """Wait until CoreDNS is ready on exactly these nodes."""
        wait_for(f"CoreDNS of {self.name} on {', '.join(nodes)}", lambda: self.ready_dns() == sorted(nodes), seconds)


@dataclass
class Play:
    """What became of a playbook."""

    stdout: str
    changed: dict[str, int] = field(default_factory=dict)  # by host

    @property
    def diffs(self) -> list[str]:
        """The differences that it showed, in any order."""
        return sorted(DIFF.findall(self.stdout))


class Sites:
    """All clusters, in one inventory."""

    def __init__(self, directory: pathlib.Path, sites: list[Site]) -> None:
        self.directory = directory
        self.sites = sites
        self.wishes: dict[str, Json] = {}  # variables of the role, by cluster
        self.collections = directory / "collections"

    def __iter__(self) -> Iterator[Site]:
        """The clusters."""
        return iter(self.sites)

    def of(self, shape: Shape) -> Site:
        """The cluster of this shape."""
        return next(site for site in self.sites if site.shape == shape)

    def start(self) -> None:
        """Start them side by side, and meanwhile install the collection."""
        with ThreadPoolExecutor(len(self.sites)) as pool:
            started = [pool.submit(site.start) for site in self.sites]
            self._install()
            for one in started:
                one.result()
        files = self.collections / "ansible_collections/k3s_ha/core/roles/k3s_core_ha/files"
        helper = (files / "k3s-core-ha-x86_64").read_bytes()
        for site in self.sites:
            site.ready(helper)

    def down(self) -> None:
        """End them."""
        for site in self.sites:
            site.sandbox("down")

    def _install(self) -> None:
        """Build the artefact and install it into an empty place, as a user would."""
        dist = self.directory / "dist"  # of its own: other tests may build theirs at the same time
        self._run(str(ROOT / "tests" / "dist"), str(dist))
        (artefact,) = dist.glob("k3s_ha-core-*.tar.gz")
        galaxy = str(TOOLS / "ansible-galaxy")
        self._run(galaxy, "collection", "install", "--offline", "-p", str(self.collections), str(artefact))

    def inventory(self) -> Json:
        """One inventory with a group for each cluster, which has the groups of its servers and agents."""
        groups = {}
        for site in self.sites:
            (own,) = yaml.safe_load(site.sandbox("inventory")).values()
            name = site.shape.name
            parts = {}
            for role, part in own["children"].items():
                hosts = {f"{name}-{host}": variables for host, variables in part["hosts"].items()}
                parts[f"{name}_{role}"] = {"hosts": hosts}
            variables = {
                **own["vars"],
                site.shape.server_group: f"{name}_server",
                "k3s_core_ha_reconcile": False,  # what is asked of the API is to be the role's
                **self.wishes.get(name, {}),
            }
            groups[name] = {"children": parts, "vars": variables}
        return {"all": {"children": groups}}

    def play(self, book: str, *options: str) -> Play:
        """Run a playbook of the collection over all clusters; it must succeed on every host."""
        inventory = self.directory / "inventory.yml"
        inventory.touch(0o600)
        inventory.write_text(yaml.safe_dump(self.inventory()))
        stdout = self._run(str(TOOLS / "ansible-playbook"), "-i", str(inventory), *options, f"k3s_ha.core.{book}")
        changed = {host: int(count) for host, count in RECAP.findall(stdout)}
        hosts = sum(len(site.shape.nodes) for site in self.sites)
        assert len(changed) == hosts, stdout[-3000:]
        return Play(stdout, changed)

    def _run(self, *command: str) -> str:
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_TIMEOUT": "60",
        }
        done = subprocess.run(command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{command[0]}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
        return done.stdout

# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's own decisions, with a fake helper: which servers, which helper, once per cluster, and what is left behind.

Every host is this machine; each has a directory in the place of /usr/local/bin, and a kubeconfig whose only word says
how its API behaves.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

HELPER = """#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
if "--profile" in arguments:
    if "--grace-period" in arguments:
        print(json.dumps({{"error": {{"exit": 4, "name": "unsafe", "message": "living nodes would flap"}}}}))
        sys.exit(4)
    profile = arguments[arguments.index("--profile") + 1]
    files = {{name: name + " of " + profile + "\\n" for name in ("config", "kubelet", "unit")}}
    print(json.dumps({{"drop_ins": files, "nodes_first": profile == "fast"}}))
    sys.exit()
kubeconfig = pathlib.Path(arguments[arguments.index("--kubeconfig") + 1])
api = kubeconfig.read_text().strip()
applied = kubeconfig.with_suffix(".applied")
def answer(status=0, **result):
    print(json.dumps(result))
    sys.exit(status)
def fail(status, name, message):
    answer(status, host=kubeconfig.parent.name, error={{"exit": status, "name": name, "message": message}})
if "budget" in arguments:
    answer(servers=json.loads(kubeconfig.with_suffix(".servers").read_text()))
wait = int(arguments[arguments.index("--wait-api") + 1])
named = [word.removeprefix("--server=") for word in arguments if "https://" in word]
if (api == "dead" and named != ["https://a", "https://b"]) or (api == "late" and wait < 100):
    fail(3, "api", "the API of " + kubeconfig.name + " does not answer")
if "https://gone" in named:
    fail(3, "api", "the API at https://gone does not answer")
if "version" in arguments:
    answer(version="0", host=kubeconfig.parent.name)
wish = sys.stdin.read()
if api == "refuses":
    fail(4, "unsafe", "it cannot be placed")
changed = not applied.exists() or applied.read_text() != wish
aside = [word.removeprefix("--set-aside=") for word in arguments if word.startswith("--set-aside=")]
kubeconfig.with_suffix(".aside").write_text(" ".join(aside))
carriers = [word.removeprefix("--carrier=") for word in arguments if word.startswith("--carrier=")]
kubeconfig.with_suffix(".carriers").write_text(" ".join(carriers))
if "--dry-run" not in arguments:
    applied.write_text(wish)
answer(changed=changed, level={{"name": "node", "reason": "three nodes"}}, steps=[], node_steps=[], diff=[])
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  check_mode: "{{ checking | default(ansible_check_mode) | bool }}"
  roles:
    - role: k3s_ha.core.k3s_core_ha
"""


@dataclass
class Run:
    """What a run of ansible-playbook came to: its words, and ok/changed/failed/unreachable by host."""

    output: str
    recap: dict[str, dict[str, int]]

    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items()}

    def failed(self) -> list[str]:
        return [host for host, counts in self.recap.items() if counts["failed"]]


@dataclass
class Site:
    """Hosts, their APIs and their helpers, and a way to run the role on them."""

    place: pathlib.Path
    collections: pathlib.Path
    children: dict[str, Any] = field(default_factory=dict)

    def group(self, name: str, hosts: dict[str, str], **variables: Any) -> None:
        """A group of hosts; each is given by how its API behaves (answers, late, dead, refuses), or is unreachable."""
        described: dict[str, Any] = {}
        for host, api in hosts.items():
            self.bin(host).mkdir(parents=True)
            kubeconfig = self.place / host / "k3s.yaml"
            kubeconfig.write_text(api)
            described[host] = {"k3s_core_ha_kubeconfig": str(kubeconfig)}
            if api == "unreachable":
                described[host] |= {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        self.children[name] = {"hosts": described, "vars": variables}

    def bin(self, host: str) -> pathlib.Path:
        return self.place / host / "bin"

    def installed(self) -> dict[str, list[str]]:
        return {path.parent.name: sorted(file.name for file in path.iterdir()) for path in self.place.glob("*/bin")}

    def applied(self) -> list[str]:
        return sorted(path.parent.name for path in self.place.glob("*/k3s.applied"))

    @property
    def helper(self) -> pathlib.Path:
        return self.place / "helper"

    def run(self, *arguments: str, playbook: str = "", **extra: Any) -> Run:
        """Run the role on all hosts, or a playbook of the collection."""
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ansible_become": False,
        }
        inventory = {"all": {"vars": variables, "children": self.children}}
        (self.place / "inventory.yml").write_text(yaml.safe_dump(inventory))
        (self.place / "play.yml").write_text(PLAYBOOK)
        given = {
            "__k3s_core_ha_installed": str(self.place) + "/{{ inventory_hostname }}/bin/k3s-core-ha",
            "__k3s_core_ha_lent": str(self.place) + "/{{ inventory_hostname }}/bin/k3s-core-ha.once",
            "__k3s_core_ha_units": str(self.place / "units"),
            "__k3s_core_ha_k3s_etc": str(self.place) + "/{{ inventory_hostname }}/etc",
            "k3s_core_ha_data_dir": str(self.place) + "/{{ inventory_hostname }}/data",
            "k3s_core_ha_helper_path": str(self.helper),
            "k3s_core_ha_reconcile": False,  # the timer is for real nodes
            **extra,
        }
        given = {key: value for key, value in given.items() if value is not None}
        (self.place / "extra.yml").write_text(yaml.safe_dump(given))
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
            "HOME": str(self.place),
        }
        program = pathlib.Path(sys.executable).with_name("ansible-playbook")
        files = ["-i", str(self.place / "inventory.yml"), "-e", f"@{self.place / 'extra.yml'}"]
        done = subprocess.run(
            [program, *files, *arguments, playbook or str(self.place / "play.yml")],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,  # where others use the machine, too
        )
        lines = re.findall(r"^(\S+)\s+: (ok=.*)$", done.stdout, re.MULTILINE)
        counts = {host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", line)} for host, line in lines}
        return Run(re.sub(r"\s+", " ", done.stdout + done.stderr), counts)


@pytest.fixture
def site(tmp_path: pathlib.Path, root: pathlib.Path) -> Site:
    made = Site(tmp_path, tmp_path / "collections")
    namespace = made.collections / "ansible_collections" / "k3s_ha"
    namespace.mkdir(parents=True)
    (namespace / "core").symlink_to(root, target_is_directory=True)
    made.helper.write_text(HELPER.format(python=sys.executable))
    made.helper.chmod(0o755)
    return made


def test_it_runs_once_per_cluster_on_the_first_server_that_answers(site: Site) -> None:
    site.group("a", {"a1": "unreachable", "a2": "dead", "a3": "answers", "a4": "answers"}, server_group="a")
    site.group("b", {"b1": "late"}, server_group="b")
    site.group("agent", {"c1": "answers"}, server_group="a")
    first = site.run()
    assert site.applied() == ["a3", "b1"]
    assert first.recap["a1"]["unreachable"] == 1
    assert first.failed() == []
    assert first.changed() == {"a1": 0, "a2": 1, "a3": 2, "a4": 1, "b1": 2, "c1": 0}
    assert site.installed() == {
        **{host: [] for host in ("a1", "c1")},
        **{host: ["k3s-core-ha"] for host in ("a2", "a3", "a4", "b1")},
    }
    # Each server that was reached has the helper by now, whether its API answers or not.
    assert [(site.place / host / "k3s.carriers").read_text() for host in ("a3", "b1")] == ["a2 a3 a4", "b1"]
    assert set(site.run().changed().values()) == {0}


def test_strategy_custom_sets_manifests_aside_on_every_server(site: Site) -> None:
    site.group("server", {"one": "answers", "two": "dead"})
    for host in ("one", "two"):
        (site.place / host / "data/server/manifests/metrics-server").mkdir(parents=True)
    skips = {host: site.place / host / "data/server/manifests/coredns.yaml.skip" for host in ("one", "two")}
    theirs = site.place / "two/data/server/manifests/metrics-server-deployment.yaml.skip"
    theirs.write_text("")
    aside = site.place / "one/k3s.aside"
    custom = {"k3s_core_ha_coredns_strategy": "custom"}

    assert site.run("--check", **custom).failed() == []
    assert aside.read_text() == "one=coredns two=coredns,metrics-server-deployment"
    assert not skips["one"].exists()
    # What was refused leaves nothing behind.
    (site.place / "one/k3s.yaml").write_text("refuses")
    assert site.run(**custom).failed() == ["one"]
    assert not any(skip.exists() for skip in skips.values())
    (site.place / "one/k3s.yaml").write_text("answers")
    assert site.run(**custom).failed() == []
    assert aside.read_text() == "one=coredns two=coredns,metrics-server-deployment"
    assert all(skip.read_text() == "k3s-core-ha\n" for skip in skips.values())
    assert set(site.run(**custom).changed().values()) == {0}
    # The helper brings k3s's values back first, and still knows of the files then; somebody else's stays.
    assert site.run().failed() == []
    assert aside.read_text() == "one=coredns two=coredns,metrics-server-deployment"
    assert not any(skip.exists() for skip in skips.values())
    assert theirs.exists()
    assert set(site.run().changed().values()) == {0}


def test_the_apis_that_are_named_are_asked_in_the_place_of_the_kubeconfigs(site: Site) -> None:
    site.group("server", {"one": "dead"}, k3s_core_ha_api_servers=["https://a", "https://b"])
    assert site.run().failed() == []
    assert site.applied() == ["one"]


@pytest.mark.parametrize("group", ["server", "master"])
def test_the_usual_names_of_the_group_are_known(site: Site, group: str) -> None:
    site.group(group, {"one": "answers"})
    site.group("node", {"two": "answers"})
    assert site.run().failed() == []
    assert site.applied() == ["one"]


def test_the_playbooks_find_the_servers_of_each_cluster(site: Site) -> None:
    site.group("a", {"a1": "answers", "a2": "answers"}, server_group="a")
    site.group("b", {"b1": "answers"}, k3s_core_ha_server_group="b")
    site.group("storage", {"nas": "unreachable"})
    assert site.run(playbook="k3s_ha.core.ha").failed() == []
    assert site.applied() == ["a1", "b1"]
    assert site.run(playbook="k3s_ha.core.remove").failed() == []
    assert set(map(tuple, site.installed().values())) == {()}


@pytest.mark.parametrize("group", ["server", "master"])
def test_the_playbooks_know_the_usual_names_of_the_group(site: Site, group: str) -> None:
    site.group(group, {"one": "answers"})
    site.group("node", {"two": "answers"})
    assert site.run(playbook="k3s_ha.core.ha").failed() == []
    assert site.applied() == ["one"]


def test_the_playbooks_do_not_pass_over_an_inventory_without_servers(site: Site) -> None:
    site.group("kube_control_plane", {"one": "answers"})
    run = site.run(playbook="k3s_ha.core.ha")
    assert run.failed() == ["one"]
    assert "None of these hosts is a server of k3s." in run.output


def test_check_mode_tells_the_truth_before_anything_is_installed(site: Site) -> None:
    site.group("server", {"one": "answers"})
    for checking in ({"checking": True}, {}):
        checked = site.run(*([] if checking else ["--check"]), **checking)
        assert checked.changed() == {"one": 2}
        assert site.installed() == {"one": []}
        assert site.applied() == []
    site.run()
    assert site.run("--check").changed() == {"one": 0}


def test_the_way_back_needs_no_installed_helper_and_leaves_none(site: Site) -> None:
    site.group("server", {"one": "answers", "two": "answers"})
    site.run()
    assert site.run(k3s_core_ha_state="absent").changed() == {"one": 2, "two": 1}
    assert site.installed() == {"one": [], "two": []}
    assert site.run(k3s_core_ha_state="absent").changed() == {"one": 0, "two": 0}
    assert site.installed() == {"one": [], "two": []}


def test_a_failed_way_back_leaves_the_helper(site: Site) -> None:
    site.group("server", {"one": "refuses", "two": "answers"})
    site.run()
    back = site.run(k3s_core_ha_state="absent")
    assert back.failed() == ["one"]
    assert "it cannot be placed" in back.output
    assert site.installed() == {"one": ["k3s-core-ha"], "two": ["k3s-core-ha"]}


@pytest.mark.parametrize("forks", ["1", "5"])
def test_what_one_server_refused_is_not_tried_on_the_next(site: Site, forks: str) -> None:
    site.group("server", {"one": "refuses", "two": "answers"})
    run = site.run("--forks", forks)
    assert run.failed() == ["one"]
    assert "it cannot be placed" in run.output
    assert site.applied() == []


def test_a_helper_that_cannot_be_started_is_told(site: Site) -> None:
    site.helper.write_text("#!/no/such/loader\n")
    site.group("server", {"one": "answers"})
    run = site.run()
    assert run.failed() == ["one"]
    assert "No such file or directory" in run.output


def test_no_answer_anywhere_is_told_for_each_server(site: Site) -> None:
    site.group("server", {"one": "dead", "two": "dead"})
    run = site.run()
    assert run.failed() == ["one", "two"]
    assert "No server of the group server answered. one: the API of k3s.yaml does not answer" in run.output


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"k3s_core_ha_lvel": "node"}, "Unknown: k3s_core_ha_lvel."),
        ({"k3s_core_ha_level": "planet"}, "k3s_core_ha_level"),
        ({"k3s_core_ha_coredns_min_replicas": "three"}, "k3s_core_ha_coredns_min_replicas"),
        ({"k3s_core_ha_server_group": "none"}, "The inventory has no group none"),
        (
            {"k3s_core_ha_reconcile": True, "k3s_core_ha_reconcile_interval": 9},
            "k3s_core_ha_reconcile_interval is 9; allowed is an integer from 10 to 86400",
        ),
        (
            {"k3s_core_ha_reconcile": True, "__k3s_core_ha_systemd": "/no/such"},
            "k3s_core_ha_reconcile is true, and one runs without systemd",
        ),
        ({"k3s_core_ha_helper_path": "/no/such"}, "k3s_core_ha_helper_path is not a file on the controller: /no/such"),
        ({"k3s_core_ha_helper_source": "artefact"}, "This copy of the collection has no helper for"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_touched(site: Site, extra: dict[str, Any], says: str) -> None:
    site.group("server", {"one": "answers"})
    run = site.run(**extra)
    assert run.failed() == ["one"]
    assert says in run.output
    assert site.installed() == {"one": []}


def test_a_damaged_helper_is_refused(site: Site) -> None:
    site.group("server", {"one": "answers"})
    checksum = site.helper.with_name("helper.sha256")
    checksum.write_text("0" * 64 + "  helper\n")
    run = site.run()
    assert run.failed() == ["one"]
    assert "is damaged: its SHA-256 is" in run.output
    assert site.installed() == {"one": []}
    checksum.write_text(hashlib.sha256(site.helper.read_bytes()).hexdigest() + "  helper\n")
    assert site.run().failed() == []


def test_the_collections_own_helper_is_used_where_none_is_named(site: Site, root: pathlib.Path) -> None:
    # As it is in the artefact: beside its checksum, in the role's files.
    copy = site.collections / "ansible_collections" / "k3s_ha" / "core"
    copy.unlink()
    copy.mkdir()
    shutil.copy(root / "galaxy.yml", copy)
    for part in ("meta", "plugins", "roles"):
        shutil.copytree(root / part, copy / part)
    machine = os.uname().machine
    program = copy / "roles/k3s_core_ha/files" / f"k3s-core-ha-{machine}"
    program.parent.mkdir(exist_ok=True)
    shutil.copy(site.helper, program)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    program.with_name(program.name + ".sha256").write_text(f"{digest}  {program.name}\n")
    site.group("server", {"one": "answers"})
    run = site.run(k3s_core_ha_helper_path=None)
    assert run.failed() == [], run.output
    assert site.applied() == ["one"]

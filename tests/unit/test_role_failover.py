# SPDX-License-Identifier: GPL-3.0-or-later
"""The fail-over profile of the role: which files are where, and in which order k3s is restarted."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import test_role
from test_role import Run, Site

site = test_role.site

PLAYBOOK = """
- hosts: all
  gather_facts: false
  environment:
    HOST: "{{ inventory_hostname }}"
  roles:
    - role: k3s_ha.core.k3s_core_ha
"""
SYSTEMCTL = """#!/bin/sh
case "$1" in
  show) printf 'LoadState=loaded\\nActiveState=active\\nId=k3s.service\\n' ;;
  restart)
    [ ! -e "{place}/$HOST/stuck" ] || exit 1
    echo "$HOST $2" >>"{place}/restarts" ;;
esac
"""
VOTES = [{"name": "one", "url": "https://one", "etcd_voter": True}]


class Nodes:
    """Two servers and two agents of one cluster, with a systemctl and kubelets that say that they are well."""

    def __init__(self, site: Site, healthz: str) -> None:
        self.site = site
        self.healthz = healthz
        site.group("server", {"a1": "answers", "a2": "answers"})
        site.group("agent", {"b1": "answers", "b2": "answers"})
        for host in ("a1", "a2", "b1", "b2"):
            kubelet = site.place / host / "data/agent/etc/kubelet.conf.d"
            kubelet.mkdir(parents=True)
            (kubelet / "00-k3s-defaults.conf").touch()
            for directory in ("etc", "units"):
                (site.place / host / directory).mkdir()
            self.votes(host, VOTES)
        (site.place / "b2/units/k3s-node.service").touch()
        (site.place / "play-failover.yml").write_text(PLAYBOOK)

    def votes(self, host: str, servers: Any) -> None:
        """What the API of this host tells of the cluster's servers."""
        (self.site.place / host / "k3s.servers").write_text(json.dumps(servers))

    def run(self, *arguments: str, playbook: str = "", **extra: Any) -> Run:
        return self.site.run(
            *arguments,
            playbook=playbook or str(self.site.place / "play-failover.yml"),
            __k3s_core_ha_units=str(self.site.place) + "/{{ inventory_hostname }}/units",
            __k3s_core_ha_kubelet_healthz=self.healthz,
            **extra,
        )

    def restarts(self) -> list[str]:
        """Which units were restarted, in order, since the last call."""
        log = self.site.place / "restarts"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def files(self) -> dict[str, str]:
        """Ours on all nodes, with their content."""
        found = [path for path in self.site.place.glob("*/**/*k3s-core-ha*") if "bin" not in path.parts]
        return {str(path.relative_to(self.site.place)): path.read_text() for path in found if path.is_file()}


@pytest.fixture
def nodes(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    tools = site.place / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL.format(place=site.place))
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Nodes(site, f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()


SERVERS = ["a1 k3s.service", "a2 k3s.service"]
AGENTS = ["b1 k3s-agent.service", "b2 k3s-node.service"]


def expected(profile: str) -> dict[str, str]:
    files: dict[str, str] = {}
    for host, unit in (("a1", ""), ("a2", ""), ("b1", "-agent"), ("b2", "-node")):
        files[f"{host}/data/agent/etc/kubelet.conf.d/90-k3s-core-ha.conf"] = f"kubelet of {profile}\n"
        files[f"{host}/units/k3s{unit}.service.d/90-k3s-core-ha.conf"] = f"unit of {profile}\n"
        if not unit:
            files[f"{host}/etc/config.yaml.d/90-k3s-core-ha.yaml"] = f"config of {profile}\n"
    return files


def test_a_profile_is_brought_changed_and_taken_back(nodes: Nodes) -> None:
    run = nodes.run(k3s_core_ha_failover_profile="fast")
    assert run.failed() == [], run.output
    assert nodes.files() == expected("fast")
    # Nodes that renew faster come before the servers that expect it.
    restarts = nodes.restarts()
    assert (sorted(restarts[:2]), restarts[2:]) == (AGENTS, SERVERS)
    again = nodes.run("--check", k3s_core_ha_failover_profile="fast")
    assert set(again.changed().values()) == {0}, again.output
    assert nodes.run(k3s_core_ha_failover_profile="edge").failed() == []
    assert nodes.files() == expected("edge")
    restarts = nodes.restarts()
    assert (restarts[:2], sorted(restarts[2:])) == (SERVERS, AGENTS)
    assert nodes.run(playbook="k3s_ha.core.remove", k3s_core_ha_failover_profile="edge").failed() == []
    assert nodes.files() == {}
    assert len(nodes.restarts()) == len(SERVERS + AGENTS)


def test_check_mode_tells_what_would_change(nodes: Nodes) -> None:
    checked = nodes.run("--check", k3s_core_ha_failover_profile="fast")
    assert checked.failed() == [], checked.output
    assert (nodes.files(), nodes.restarts()) == ({}, [])
    assert all(checked.changed().values())


def test_a_server_that_does_not_come_back_is_the_last_one_that_was_touched(nodes: Nodes) -> None:
    (nodes.site.place / "a1/stuck").touch()
    nodes.votes("a2", [*VOTES, {"name": "two", "url": "https://two", "etcd_voter": False}])
    run = nodes.run(k3s_core_ha_failover_profile="fast", __k3s_core_ha_failover_patience=1)
    assert run.failed() == ["a1", "a2"]
    assert sorted(nodes.restarts()) == AGENTS
    # What is not done is noted, and done by the next run.
    nodes.votes("a2", VOTES)
    (nodes.site.place / "a1/stuck").unlink()
    assert nodes.run(k3s_core_ha_failover_profile="fast").failed() == []
    assert nodes.files() == expected("fast")
    assert nodes.restarts() == SERVERS


def test_with_an_external_datastore_each_server_waits_for_the_others(nodes: Nodes) -> None:
    one = {"name": "one", "url": "https://one", "etcd_voter": None}
    for host in ("a1", "a2"):
        nodes.votes(host, [one, {**one, "name": "two", "url": "https://gone"}])
    run = nodes.run(k3s_core_ha_failover_profile="fast")
    assert run.failed() == ["a1", "a2"]
    assert "https://gone does not answer" in run.output
    assert sorted(nodes.restarts()) == AGENTS
    for host in ("a1", "a2"):
        nodes.votes(host, [one, {**one, "name": "two", "url": "https://two"}])
    assert nodes.run(k3s_core_ha_failover_profile="fast").failed() == []
    assert nodes.restarts() == SERVERS


def test_numbers_that_would_flap_are_refused_before_anything_is_changed(nodes: Nodes) -> None:
    run = nodes.run(k3s_core_ha_failover_profile="fast", k3s_core_ha_failover_grace_period=12)
    assert run.failed() == ["a1", "a2"]
    assert "living nodes would flap" in run.output
    assert (nodes.files(), nodes.restarts(), nodes.site.applied()) == ({}, [], [])


def test_a_short_grace_period_needs_the_agents_in_the_play(nodes: Nodes) -> None:
    run = nodes.run("--limit", "server", k3s_core_ha_failover_profile="fast")
    assert run.failed() == ["a1", "a2"]
    assert "not in this play: b1, b2." in run.output, run.output
    assert (nodes.files(), nodes.restarts()) == ({}, [])


def test_a_kubelet_that_reads_no_files_is_told(nodes: Nodes) -> None:
    for path in nodes.site.place.glob("*/data/agent/etc/kubelet.conf.d/00-k3s-defaults.conf"):
        path.unlink()
    run = nodes.run(k3s_core_ha_failover_profile="edge")
    assert len(run.failed()) == 4
    assert "The kubelet of this k3s reads no files from" in run.output
    assert (nodes.files(), nodes.restarts()) == ({}, [])


def test_an_agent_that_is_down_is_no_concern_of_who_wishes_for_nothing(nodes: Nodes) -> None:
    nodes.site.children["agent"]["hosts"]["b1"] |= {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    run = nodes.run()
    assert run.failed() == []
    assert run.recap["b1"]["unreachable"] == 0

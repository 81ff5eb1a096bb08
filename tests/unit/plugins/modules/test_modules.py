# SPDX-License-Identifier: GPL-3.0-or-later
"""The two modules: which run of the helper each asks for, and what of its result each hands on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.k3s_ha.core.plugins.modules import k3s_core_ha, k3s_core_ha_info

if TYPE_CHECKING:
    from types import ModuleType

    from conftest import FakeHelper

DEFAULTS = {
    "level": "auto",
    "zone_label": "topology.kubernetes.io/zone",
    "coredns_strategy": "autoscaling",
    "coredns_daemonset_nodes": "control_plane",
    "coredns_cpu_utilization": 75,
    "coredns_traffic_distribution": "auto",
    "metrics_server_strategy": "replicas",
    "local_path_provisioner_strategy": "replicas",
    "traefik_strategy": "packaged",
    "wait_timeout": 300,
    "unreachable_counts_for": 604800,
}
WHERE = ["--manifests", "/var/lib/rancher/k3s/server/manifests"]
PLAN = {
    "changed": True,
    "level": {"name": "node", "reason": "three nodes"},
    "steps": [{"id": "coredns-overlay", "state": "done"}],
    "node_steps": [],
    "components": {"coredns": {"strategy": "packaged"}},
    "diff": [
        {"object": "apps/v1 Deployment kube-system/coredns", "before": {"a": 1}, "after": {"a": 2}},
        {"object": "policy/v1 PodDisruptionBudget kube-system/k3s-core-ha-coredns", "after": {"b": 1}},
    ],
    "warnings": ["agent-2 was not heard of for 9 days"],
    "predicted": {"lost": 0},
}


@pytest.fixture
def run(fake_helper: FakeHelper, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a module against the fake helper and returns what it printed."""

    def _run(module: ModuleType, **arguments: Any) -> dict[str, Any]:
        given = {"executable": str(fake_helper.path), "timeout": 30, **arguments}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            module.main()
        answer = json.loads(capsys.readouterr().out)
        assert ended.value.code == (1 if answer.get("failed") else 0)
        return answer

    return _run


def spec_of(fake: FakeHelper, call: int = 0) -> dict[str, Any]:
    return json.loads(fake.calls[call]["stdin"])


def test_present_applies_the_defaults(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("apply", result=PLAN)
    answer = run(k3s_core_ha)
    assert fake_helper.calls[0]["argv"][-5:] == ["apply", "--spec", "-", *WHERE]
    assert spec_of(fake_helper) == DEFAULTS
    assert answer["changed"] is True
    for key in ("level", "steps", "node_steps", "predicted"):
        assert answer[key] == PLAN[key]
    assert all(any(told in str(warning) for warning in answer["warnings"]) for told in PLAN["warnings"])
    assert "diff" not in answer


@pytest.mark.parametrize("changed", [True, False])
def test_changed_is_what_the_helper_says(run: Any, fake_helper: FakeHelper, changed: bool) -> None:
    fake_helper.answer("apply", result={"changed": changed})
    assert run(k3s_core_ha)["changed"] is changed


def test_what_is_on_nodes_is_passed_on(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("apply", result=PLAN)
    run(k3s_core_ha, carriers=["a"], set_aside={"a": ["coredns", "metrics-server-deployment"], "b": []}, manifests="/m")
    assert fake_helper.calls[0]["argv"][-5:] == [
        "--carrier=a",
        "--set-aside=a=coredns,metrics-server-deployment",
        "--set-aside=b=",
        "--manifests",
        "/m",
    ]


def test_check_mode_is_the_helpers_dry_run(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("apply", result=PLAN)
    assert run(k3s_core_ha, _ansible_check_mode=True)["changed"] is True
    assert fake_helper.calls[0]["argv"][-6:] == ["apply", "--spec", "-", "--dry-run", *WHERE]


def test_diff_is_given_in_ansibles_form(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("apply", result=PLAN)
    deployment, budget = run(k3s_core_ha, _ansible_diff=True)["diff"]
    assert deployment == {
        "before_header": "apps/v1 Deployment kube-system/coredns",
        "after_header": "apps/v1 Deployment kube-system/coredns",
        "before": {"a": 1},
        "after": {"a": 2},
    }
    assert (budget["before"], budget["after"]) == ("", {"b": 1})


def test_absent_asks_for_the_packaged_components_alone(run: Any, fake_helper: FakeHelper) -> None:
    run(k3s_core_ha, state="absent", coredns_min_replicas=4, wait_timeout=20)
    assert spec_of(fake_helper) == {
        "coredns_strategy": "packaged",
        "metrics_server_strategy": "packaged",
        "local_path_provisioner_strategy": "packaged",
        "traefik_strategy": "packaged",
        "wait_timeout": 20,
    }


def test_labels_are_passed_as_they_are(run: Any, fake_helper: FakeHelper) -> None:
    labels = {"disk": "ssd", "example.org/rack": ["r1", "r2"]}
    run(k3s_core_ha, level="zone", zone_label="example.org/rack", node_affinity=labels)
    assert spec_of(fake_helper) == DEFAULTS | {
        "level": "zone",
        "zone_label": "example.org/rack",
        "node_affinity": labels,
    }


def test_deployments_of_ones_own_are_passed_with_numbers_as_numbers(run: Any, fake_helper: FakeHelper) -> None:
    site = {"namespace": "web", "name": "site"}
    run(k3s_core_ha, extra_deployments=[site, {**site, "name": "other", "replicas": "3"}])
    assert spec_of(fake_helper)["extra_deployments"] == [
        {**site, "replicas": None},
        {**site, "name": "other", "replicas": 3},
    ]


def test_numbers_are_passed_as_numbers(run: Any, fake_helper: FakeHelper) -> None:
    run(k3s_core_ha, coredns_min_replicas="4", coredns_max_replicas=9)
    assert spec_of(fake_helper) == {**DEFAULTS, "coredns_min_replicas": 4, "coredns_max_replicas": 9}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"coredns_minimum": 3}, "coredns_minimum"),
        ({"coredns_min_replicas": "three"}, "coredns_min_replicas"),
        ({"level": "planet"}, "level"),
        ({"state": "maybe"}, "state"),
        ({"wait_timeout": []}, "wait_timeout"),
        ({"extra_deployments": [{"name": "site"}]}, "namespace"),
        ({"extra_deployments": [{"namespace": "web", "name": "site", "count": 2}]}, "count"),
    ],
)
@pytest.mark.parametrize("module", [k3s_core_ha, k3s_core_ha_info])
def test_bad_arguments_never_reach_the_helper(
    run: Any, fake_helper: FakeHelper, module: ModuleType, arguments: dict[str, Any], word: str
) -> None:
    answer = run(module, **arguments)
    assert answer["failed"]
    assert word in answer["msg"]
    assert not fake_helper.calls


@pytest.mark.parametrize("module", [k3s_core_ha, k3s_core_ha_info])
def test_a_failure_keeps_sentence_status_and_progress(run: Any, fake_helper: FakeHelper, module: ModuleType) -> None:
    error = {"exit": 4, "name": "unsafe", "message": "9 replicas cannot be placed on 3 nodes."}
    fake_helper.answer(result={"changed": False, "error": error}, exit=4, stderr="reading\n")
    answer = run(module)
    assert answer["failed"]
    assert answer["msg"] == "9 replicas cannot be placed on 3 nodes."
    assert (answer["exit_status"], answer["exit_name"], answer["progress"]) == (4, "unsafe", ["reading"])


def test_info_plans_and_changes_nothing(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("plan", result=PLAN)
    answer = run(k3s_core_ha_info, kubeconfig="/k", wait_api=5)
    (call,) = fake_helper.calls
    assert call["argv"][-5:] == ["plan", "--spec", "-", *WHERE]
    assert call["argv"][4:8] == ["--kubeconfig", "/k", "--wait-api", "5"]
    assert spec_of(fake_helper) == DEFAULTS
    assert (answer["changed"], answer["converged"]) == (False, False)
    assert answer["differences"] == PLAN["diff"]
    assert answer["components"] == PLAN["components"]
    assert "snapshot" not in answer


def test_info_is_converged_where_nothing_is_planned(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("plan", result={**PLAN, "changed": False, "diff": []})
    assert run(k3s_core_ha_info, _ansible_check_mode=True)["converged"] is True


def test_info_hands_out_the_snapshot_on_request(run: Any, fake_helper: FakeHelper) -> None:
    fake_helper.answer("plan", result=PLAN).answer("observe", result={"kind": "Snapshot"})
    assert run(k3s_core_ha_info, snapshot=True)["snapshot"] == {"kind": "Snapshot"}
    assert [call["argv"][-3] for call in fake_helper.calls] == ["-", "observe"]

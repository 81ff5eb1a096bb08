# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written in more than one place is the same in all: exit statuses, spec, options, variables.

And what the helper owes to be a good client of the API is held whole: each manner has a case.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.k3s_ha.core.plugins.doc_fragments import helper as helper_fragment
from ansible_collections.k3s_ha.core.plugins.doc_fragments import spec as spec_fragment
from ansible_collections.k3s_ha.core.plugins.module_utils._helper import EXIT_STATUS, GRACE_SECONDS, HELPER_ARGUMENTS
from ansible_collections.k3s_ha.core.plugins.module_utils._spec import SPEC_ARGUMENTS
from ansible_collections.k3s_ha.core.plugins.modules import k3s_core_ha, k3s_core_ha_info

if TYPE_CHECKING:
    import pathlib
    from types import ModuleType

PREFIX = "k3s_core_ha_"
JSON_TYPES = {"str": "string", "int": "integer", "bool": "boolean", "dict": "object", "list": "array"}
FAILOVER_NUMBERS = (
    "failover_grace_period",
    "failover_toleration_seconds",
    "failover_lease_duration",
    "failover_connection_timeout",
)
ROLE_ONLY = {
    "state",
    "helper_source",
    "helper_path",
    "kubeconfig",
    "api_servers",
    "server_group",
    "wait_api",
    "timeout",
    "reconcile",
    "reconcile_interval",
    "failover_profile",
    "failover_batch",
    *FAILOVER_NUMBERS,
    "agent_group",
    "data_dir",
    "textfile",
}

# How a client of Kubernetes behaves: by the file that sets a rule, words of the titles of the cases that hold it.
MANNERS = {
    "loader.go": ("an explicit path", "KUBECONFIG before", "first file wins", "an invalid file", "relative paths"),
    "clientcmd/api/v1/types.go": ("each field",),
    "validation.go": ("does not fit together",),
    "client_config.go": ("https only",),
    "merged_client_builder.go": ("service account",),
    "rest/config.go": ("all from memory", "its source is wiped"),
    "transport/round_trippers.go": ("nothing that authenticates is logged",),
    "util/net/http.go": ("no proxy", "dead peer"),
    "rest/with_retry.go": ("at most 10", "Retry-After", "reset connection", "EOF", "GOAWAY", "refused is not retried"),
    "rest/request.go": ("one time for all tries", "never repeated blindly", "and version"),
    "rest/warnings.go": ("once",),
    "server/healthz": ("bounded",),
    "api/errors/errors.go": ("its reason decides",),
    "meta/v1/types.go": ("an apply is strict", "(dryRun=All)", "uid precondition", "metadata alone"),
    "util/retry/util.go": ("five times", "after five"),
    "util/wait/backoff.go": ("not the same for everyone",),
    "tools/pager": ("410", "do not end", "page by page"),
    "tools/cache/reflector.go": ("with bookmarks", "last event's version", "a new list", "carries a Status", "refused"),
    "aggregated_discovery.go": ("else plain", "the good ones stay"),
    "rollout_status.go": ("generation", "ProgressDeadlineExceeded", "no old ones", "a DaemonSet", "is deleted"),
    "drain.go": ("names its pod and its uid", "429"),
    "leaderelection.go": ("renewed each retry period", "our own clock", "released", "after the deadline"),
}


def cases(root: pathlib.Path) -> list[tuple[str, str]]:
    """Of each case of the helper's tests the title, and what is said of it there and at the head of its file."""
    found = []
    for path in sorted((root / "native/src").rglob("*_test.cc")):
        text = path.read_text()
        head = text.split("#include", 1)[0]
        for comment, title in re.findall(r'((?: *//.*\n)*) *TEST_CASE\(\s*"((?:[^"\\]|\\.)*)"', text):
            found.append((title, head + comment + title))
    return found


def test_each_manner_of_a_client_has_a_case(root: pathlib.Path) -> None:
    found = cases(root)
    owed = [(source, words) for source, manners in MANNERS.items() for words in manners]
    assert [one for one in owed if not any(one[0] in said and one[1] in title for title, said in found)] == []


@pytest.fixture
def role_options(root: pathlib.Path) -> dict[str, Any]:
    text = (root / "roles/k3s_core_ha/meta/argument_specs.yml").read_text()
    return yaml.safe_load(text)["argument_specs"]["main"]["options"]


@pytest.fixture
def role_defaults(root: pathlib.Path) -> dict[str, Any]:
    return yaml.safe_load((root / "roles/k3s_core_ha/defaults/main.yml").read_text())


@pytest.fixture
def schema(root: pathlib.Path) -> dict[str, Any]:
    program = root / "build/k3s-core-ha"
    assert program.exists(), "build/k3s-core-ha is not there: run `make build` first"
    printed = subprocess.run([program, "plan", "--schema"], check=True, capture_output=True, timeout=30).stdout
    return json.loads(printed)


def shape(option: dict[str, Any]) -> dict[str, Any]:
    """What two descriptions of an option must have in common."""
    parts = option.get("options") or option.get("suboptions") or {}
    own = {key: option.get(key) for key in ("type", "elements", "choices", "default", "required")}
    return {**own, "parts": {name: shape(part) for name, part in parts.items()}}


def test_exit_statuses_are_those_of_the_helper(root: pathlib.Path) -> None:
    header = (root / "native/src/base/exit_status.h").read_text()
    numbers = {name: int(number) for name, number in re.findall(r"^  (\w+) = (\d+),", header, re.MULTILINE)}
    names = dict(re.findall(r'case ExitStatus::(\w+): return "(\w+)";', header))
    assert {number: names[name] for name, number in numbers.items()} == EXIT_STATUS


def test_the_helpers_help_lists_each_exit_status(root: pathlib.Path) -> None:
    said = subprocess.run([root / "build/k3s-core-ha", "--help"], check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^ +(\d+)  \S", said.split("Exit status:", 1)[1], re.MULTILINE)
    assert {int(number) for number in listed} == set(EXIT_STATUS)


def test_the_helper_is_given_the_time_that_it_may_take_to_go_back(root: pathlib.Path) -> None:
    header = (root / "native/src/act/act.h").read_text()
    found = re.search(r"seconds time_to_go_back\{(\d+)\};", header)
    assert found
    assert int(found[1]) < GRACE_SECONDS


def test_the_modules_know_each_key_of_the_helpers_schema(schema: dict[str, Any]) -> None:
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(SPEC_ARGUMENTS)


@pytest.mark.parametrize("key", sorted(SPEC_ARGUMENTS))
def test_each_key_is_as_the_helpers_schema_has_it(schema: dict[str, Any], key: str) -> None:
    theirs, ours = schema["properties"][key], SPEC_ARGUMENTS[key]
    assert theirs["type"] == JSON_TYPES[ours["type"]]
    assert theirs.get("enum") == ours.get("choices")
    assert theirs.get("default") == ours.get("default")
    if "options" in ours:
        items = theirs["items"]
        assert {name: JSON_TYPES[part["type"]] for name, part in ours["options"].items()} == {
            name: part["type"] for name, part in items["properties"].items()
        }
        assert {name for name, part in ours["options"].items() if part.get("required")} == set(items["required"])


@pytest.mark.parametrize(
    ("fragment", "arguments"),
    [(helper_fragment, HELPER_ARGUMENTS), (spec_fragment, SPEC_ARGUMENTS)],
    ids=["helper", "spec"],
)
def test_each_option_is_documented_as_it_is(fragment: Any, arguments: dict[str, Any]) -> None:
    documented = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    assert {key: shape(option) for key, option in documented.items()} == {
        key: shape(option) for key, option in arguments.items()
    }


def test_the_role_knows_each_key_of_the_spec(role_options: dict[str, Any]) -> None:
    assert {key.removeprefix(PREFIX) for key in role_options} == set(SPEC_ARGUMENTS) | ROLE_ONLY


@pytest.mark.parametrize("key", sorted(SPEC_ARGUMENTS))
def test_each_role_variable_is_as_the_modules_option(role_options: dict[str, Any], key: str) -> None:
    assert shape(role_options[PREFIX + key]) == shape(SPEC_ARGUMENTS[key])


@pytest.mark.parametrize("key", sorted(SPEC_ARGUMENTS))
def test_each_documented_range_is_the_schemas(schema: dict[str, Any], role_options: dict[str, Any], key: str) -> None:
    low, high = schema["properties"][key].get("minimum"), schema["properties"][key].get("maximum")
    if high is None:
        return
    documented = yaml.safe_load(spec_fragment.ModuleDocFragment.DOCUMENTATION)["options"][key]
    for option in (documented, role_options[PREFIX + key]):
        assert f"{low} to {high}" in " ".join(option["description"])


@pytest.mark.parametrize("name", FAILOVER_NUMBERS)
def test_each_number_of_a_failover_profile_is_documented_with_the_helpers_range(
    root: pathlib.Path, role_options: dict[str, Any], name: str
) -> None:
    option = "--" + name.removeprefix("failover_").replace("_", "-")
    asked = subprocess.run([root / "build/k3s-core-ha", "-o", "json", "budget", option, "999999"], capture_output=True)
    assert asked.returncode == 2
    found = re.search(rf"{name} is 999999; allowed is an integer from (\d+ to \d+) ", asked.stdout.decode())
    assert found
    assert found[1] in " ".join(role_options[PREFIX + name]["description"])


def test_the_failover_profiles_are_the_helpers(root: pathlib.Path, role_options: dict[str, Any]) -> None:
    asked = subprocess.run([root / "build/k3s-core-ha", "budget", "--profile", "no-such"], capture_output=True)
    assert asked.returncode == 2
    choices = ", ".join(role_options[PREFIX + "failover_profile"]["choices"])
    assert f"allowed is one of {choices}." in asked.stderr.decode()


def test_the_readme_lists_each_variable(root: pathlib.Path, role_options: dict[str, Any]) -> None:
    table = (root / "README.md").read_text().split("## Variables", 1)[1].split("## ", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(key.removeprefix(PREFIX) for key in role_options)


def test_the_readme_lists_each_exit_status(root: pathlib.Path) -> None:
    text = " ".join((root / "README.md").read_text().split()).split("Exit statuses: ", 1)[1]
    told = {int(number) for number in re.findall(r"(?:^|, )(\d+) ", text.split(".", 1)[0])}
    assert told == set(EXIT_STATUS)


def test_the_roles_defaults_are_those_of_its_argument_specs(
    role_options: dict[str, Any], role_defaults: dict[str, Any]
) -> None:
    # A default that follows from other variables is an expression, which argument_specs can only describe.
    computed = {key for key, value in role_defaults.items() if isinstance(value, str) and "{{" in value}
    assert computed == {PREFIX + "server_group", PREFIX + "agent_group", PREFIX + "data_dir"}
    documented = {key: option["default"] for key, option in role_options.items() if "default" in option}
    assert {key: value for key, value in role_defaults.items() if key not in computed} == documented


def test_the_role_passes_every_variable_to_the_module(root: pathlib.Path) -> None:
    tasks = yaml.safe_load((root / "roles/k3s_core_ha/tasks/apply.yml").read_text())
    (call,) = [task["k3s_ha.core.k3s_core_ha"] for task in tasks if "k3s_ha.core.k3s_core_ha" in task]
    assert set(call) == set(SPEC_ARGUMENTS) | {
        *(
            "state",
            "carriers",
            "set_aside",
            "manifests",
            "executable",
            "kubeconfig",
            "api_servers",
            "wait_api",
            "timeout",
        )
    }
    for key in SPEC_ARGUMENTS:
        expected = (
            "{{ k3s_core_ha_KEY }}" if "default" in SPEC_ARGUMENTS[key] else "{{ k3s_core_ha_KEY | default(omit) }}"
        )
        if key.endswith("_chart"):  # the content of a file is put into its place
            expected = "{{ __k3s_core_ha_KEY if k3s_core_ha_KEY is defined else omit }}"
        assert call[key] == expected.replace("KEY", key)


@pytest.mark.parametrize("module", [k3s_core_ha, k3s_core_ha_info])
def test_what_is_predicted_is_documented(root: pathlib.Path, module: ModuleType) -> None:
    source = (root / "native/src/ha/placement/prediction.cc").read_text()
    events = set(re.findall(r'result\["(\w+)"\]', source))
    parts = set(re.findall(r'\{"(\w+)", ', source)) - events
    documented = yaml.safe_load(module.RETURN)["predicted"]
    said = documented["contains"]
    assert set(said) == set(documented["sample"]) == events
    assert {part for event in said.values() for part in event.get("contains", {})} == parts
    assert {part for event in documented["sample"].values() for part in event} == parts


def test_every_module_is_in_the_action_group(root: pathlib.Path) -> None:
    groups = yaml.safe_load((root / "meta/runtime.yml").read_text())["action_groups"]
    assert sorted(groups["k3s_ha"]) == sorted(path.stem for path in (root / "plugins/modules").glob("*.py"))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the helper: what goes in, what comes out, and every way in which it can go wrong."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from ansible_collections.k3s_ha.core.plugins.module_utils._helper import EXIT_STATUS, Helper, HelperError

if TYPE_CHECKING:
    import pathlib

    from conftest import FakeHelper


def run(fake: FakeHelper, **arguments: object) -> dict:
    return Helper(str(fake.path), **{"timeout": 30, "grace": 5, **arguments}).run(
        ["apply", "--spec", "-"], {"level": "auto"}
    )


def failure(fake: FakeHelper, **arguments: object) -> HelperError:
    with pytest.raises(HelperError) as caught:
        run(fake, **arguments)
    return caught.value


def test_arguments_are_a_list_and_the_spec_comes_on_standard_input(fake_helper: FakeHelper) -> None:
    fake_helper.answer(result={"changed": False})
    assert run(
        fake_helper, kubeconfig="/a b/k3s.yaml", context="c;d", api_servers=["https://a", "https://b"], wait_api=7
    ) == {"changed": False}
    (call,) = fake_helper.calls
    assert call["argv"] == [
        *("--output", "json", "--timeout", "30", "--kubeconfig", "/a b/k3s.yaml", "--context", "c;d"),
        *("--server", "https://a", "--server", "https://b"),
        *("--wait-api", "7", "apply", "--spec", "-"),
    ]
    assert json.loads(call["stdin"]) == {"level": "auto"}


def test_what_is_not_set_is_not_passed(fake_helper: FakeHelper) -> None:
    run(fake_helper)
    assert fake_helper.calls[0]["argv"] == ["--output", "json", "--timeout", "30", "apply", "--spec", "-"]


def test_a_spec_larger_than_a_pipe_arrives_whole(fake_helper: FakeHelper) -> None:
    fake_helper.answer(stdout=json.dumps({"filler": "x" * 300_000}), stderr="y" * 300_000)
    spec = {"filler": "z" * 300_000}
    assert len(Helper(str(fake_helper.path), timeout=30).run(["apply"], spec)["filler"]) == 300_000
    assert json.loads(fake_helper.calls[0]["stdin"]) == spec


@pytest.mark.parametrize(("status", "name"), [item for item in EXIT_STATUS.items() if item[0] != 0])
def test_each_exit_status_has_its_name_and_keeps_the_helpers_sentence(
    fake_helper: FakeHelper, status: int, name: str
) -> None:
    result = {"changed": True, "steps": [{"id": "a"}], "error": {"exit": status, "name": name, "message": "It is so."}}
    fake_helper.answer(result=result, exit=status, stderr="one\ntwo\n")
    error = failure(fake_helper)
    assert error.as_failure() == {
        "msg": "It is so.",
        "exit_status": status,
        "exit_name": name,
        "progress": ["one", "two"],
        "changed": True,
        "steps": [{"id": "a"}],
    }


@pytest.mark.parametrize(
    "stdout", ["", "not json", "[]", '{"error": "flat"}', '{"error": {"message": ""}}', '{"error": {}}']
)
def test_a_failure_without_a_sentence_gives_the_last_words(fake_helper: FakeHelper, stdout: str) -> None:
    fake_helper.answer(stdout=stdout, exit=3, stderr="waiting\nno route to host\n\n")
    error = failure(fake_helper)
    assert str(error) == "The helper ended with status 3: no route to host"
    assert error.name == "api"


def test_an_unknown_status_is_called_so(fake_helper: FakeHelper) -> None:
    fake_helper.answer(stdout="", exit=42)
    error = failure(fake_helper)
    assert (error.exit_status, error.name) == (42, "unknown")
    assert str(error) == "The helper ended with status 42: it said nothing"


@pytest.mark.parametrize(
    ("stdout", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("[1]", "it is a list"),
        ("null", "it is a NoneType"),
        ('{"changed": tr', "Expecting value"),
        ('{"changed": true} trailing', "Extra data"),
        ("\udcff", "Expecting value"),
    ],
)
def test_an_answer_that_is_no_object_is_refused(fake_helper: FakeHelper, stdout: str, why: str) -> None:
    fake_helper.answer(stdout=stdout.encode(errors="replace").decode(), exit=0, stderr="working\n")
    error = failure(fake_helper)
    assert str(error).startswith("The helper's answer is not a JSON object (")
    assert why in str(error)
    assert error.progress == ["working"]


def test_a_long_wrong_answer_is_quoted_in_part(fake_helper: FakeHelper) -> None:
    fake_helper.answer(stdout="?" * 100_000)
    assert len(str(failure(fake_helper))) < 500


def test_a_missing_helper_names_the_role_that_brings_it(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HelperError, match=r"is not on this host; the role k3s_ha\.core\.k3s_core_ha puts it there"):
        Helper(str(tmp_path / "nothing")).run(["plan"])


def test_a_helper_whose_loader_is_missing(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "dynamic"
    program.write_text("#!/no/such/loader\n")
    program.chmod(0o755)
    with pytest.raises(HelperError, match="the program loader that it names is not on this host"):
        Helper(str(program)).run(["plan"])


def test_a_helper_of_another_architecture(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "foreign"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(100))
    program.chmod(0o755)
    with pytest.raises(HelperError, match="is not a program for this host's architecture"):
        Helper(str(program)).run(["plan"])


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_helper_that_is_not_executable(tmp_path: pathlib.Path, kind: str) -> None:
    program = tmp_path / "helper"
    if kind == "file":
        program.write_text("")
        program.chmod(0o644)
    else:
        program.mkdir()
    with pytest.raises(HelperError, match="is not executable by this user"):
        Helper(str(program)).run(["plan"])


def test_a_late_helper_is_asked_to_go_back_first(fake_helper: FakeHelper) -> None:
    fake_helper.answer(sleep=60, stderr="applying\n", when_terminated='{"changed": false, "steps": []}')
    error = failure(fake_helper, timeout=1, grace=1)
    assert str(error) == "The helper gave no answer within 1 s and 1 s of grace."
    assert (error.exit_status, error.name) == (130, "timeout")
    assert error.as_failure()["progress"] == ["applying"]
    assert error.as_failure()["changed"] is False


def test_a_late_helper_that_does_not_listen_is_killed(fake_helper: FakeHelper) -> None:
    fake_helper.answer(sleep=60, stubborn=True)
    error = failure(fake_helper, timeout=1, grace=0.5)
    assert str(error) == "The helper gave no answer within 1 s and 0.5 s of grace and had to be killed."


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_helper_that_dies(fake_helper: FakeHelper, number: signal.Signals) -> None:
    fake_helper.answer(signal=int(number), stderr="half way\n")
    error = failure(fake_helper)
    assert str(error) == f"The helper was ended by {number.name}."
    assert error.as_failure()["progress"] == ["half way"]

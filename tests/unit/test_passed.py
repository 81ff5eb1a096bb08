# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runner of all checks takes as known."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from passed import Passed


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A repository with a file that is new to git, and one that git ignores."""
    monkeypatch.setenv("K3S_CORE_HA_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "tree"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True, timeout=60)
    (root / ".gitignore").write_text("build\n")
    (root / "source").write_text("one")
    return root


def test_known_while_nothing_changes(tree: pathlib.Path) -> None:
    """One check, one command, one content of the files: and not otherwise."""
    passed = Passed(tree, known=True)
    assert not passed.passed("unit", "run units")
    passed.keep("unit", "run units")
    (tree / "build").write_text("ignored")
    assert Passed(tree, known=True).passed("unit", "run units")
    assert not Passed(tree, known=False).passed("unit", "run units")
    assert not Passed(tree, known=True).passed("unit", "run other units")
    assert not Passed(tree, known=True).passed("lint", "run units")
    (tree / "source").chmod(0o755)
    assert not Passed(tree, known=True).passed("unit", "run units")
    (tree / "source").chmod(0o644)
    (tree / "source").write_text("two")
    assert not Passed(tree, known=True).passed("unit", "run units")
    (tree / "source").unlink()
    assert not Passed(tree, known=True).passed("unit", "run units")


def test_what_changed_meanwhile_is_not_known(tree: pathlib.Path) -> None:
    """A check that ran while somebody wrote has passed on neither tree."""
    passed = Passed(tree, known=True)
    (tree / "source").write_text("two")
    passed.keep("unit", "run units")
    assert not Passed(tree, known=True).passed("unit", "run units")
    (tree / "source").write_text("one")
    assert not Passed(tree, known=True).passed("unit", "run units")

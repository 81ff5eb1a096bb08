# SPDX-License-Identifier: GPL-3.0-or-later
"""One API server for all cells. KEEP=1 leaves it up; --cells 1-40 tries these alone, and what is known is not tried."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
pytest.register_assert_rewrite("cluster", "fleet", "truth")

from cells import ALL, CUT, FULL  # noqa: E402 - so that a failed assertion there is explained, too
from cluster import Cluster, Server  # noqa: E402
from fleet import Fleet  # noqa: E402
from results import Results  # noqa: E402
from truth import Truth, learn  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    """For a part of them."""
    parser.addoption("--cells", default=f"1-{ALL if FULL else CUT}", help="FIRST-LAST")


def numbers(config: pytest.Config) -> range:
    """The cells that are tried."""
    first, _, last = config.getoption("--cells").partition("-")
    return range(int(first), int(last or first) + 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each cell."""
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", numbers(metafunc.config))


@pytest.fixture(scope="session")
def results() -> Results:
    """Of this run and of earlier ones."""
    return Results()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Up when the first cell needs it."""
    made = Cluster("prediction")
    try:
        made.up("fleet:1")
        made.enter()
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.sandbox("down")


@pytest.fixture(scope="session")
def fleet(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """What becomes each cell."""
    directory = tmp_path_factory.mktemp("prediction")
    config = cluster.sandbox("kubectl", "config", "view", "--raw")
    kubeconfig = directory / "kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(config)
    made = Fleet(Server(config, directory), kubeconfig)
    yield made
    made.leave()


@pytest.fixture(scope="session")
def truth(fleet: Fleet) -> Truth:
    """What really becomes of pods."""
    return Truth(fleet, learn(fleet))

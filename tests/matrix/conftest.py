# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster at a time, of the topology that a cell asks for, and what was found out before. KEEP=1 leaves it up."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, and who asks it for what, is the same here as there.
for neighbour in ("helm", "integration", "local_path", "role"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite(
    "claims", "clients", "cluster", "nodes", "probe", "provisioners", "quiet", "site_of_ours", "watchers"
)

from cells import CUT, TOPOLOGIES, cells  # noqa: E402 - so that a failed assertion there is explained, too
from clients import bring_what_they_ask  # noqa: E402
from cluster import Json  # noqa: E402
from nodes import Nodes  # noqa: E402
from results import Results  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make test` has time for, and what runs beside one another."""
    parser.addoption("--cut", action="store_true", help="only the cells that no scenario of molecule has")
    parser.addoption("--rest", type=int, default=300, help="seconds for which a cluster at rest is watched")
    parser.addoption("--topology", choices=TOPOLOGIES, help="only the cells of this topology")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each cell."""
    if "cell" not in metafunc.fixturenames:
        return
    chosen = CUT if metafunc.config.getoption("--cut") else cells()
    only = metafunc.config.getoption("--topology")
    chosen = [cell for cell in chosen if only in (None, cell.topology)]
    metafunc.parametrize("cell", chosen, ids=[cell.name for cell in chosen])


class Clusters:
    """The cluster that is up."""

    def __init__(self) -> None:
        self._up: Nodes | None = None
        self.shipped: dict[str, Json] = {}  # what each of its Deployments was to be at first

    def of(self, topology: str) -> Nodes:
        """One of this topology as k3s leaves it, or as a cell that passed left it."""
        if self._up is None or self._up.topology != topology:
            self.down()
            self._up = Nodes(f"matrix-{topology}", topology, "--traefik")
            self._up.start()
            bring_what_they_ask(self._up)
            self.shipped = self._up.specs()
        return self._up

    def down(self) -> None:
        """End it."""
        if self._up is not None:
            self._up.sandbox("down")
            self._up = None


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    """Up when it is needed."""
    made = Clusters()
    try:
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.down()


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> None:
    """Only in a run of the whole matrix, which has time for a cluster of five or six nodes."""
    if request.config.getoption("--cut"):
        pytest.skip("a run of the whole matrix has time for so many nodes")


@pytest.fixture(scope="session")
def watched(request: pytest.FixtureRequest) -> int:
    """For how many seconds a cluster at rest is watched."""
    return request.config.getoption("--rest")


@pytest.fixture(scope="session")
def results(watched: int) -> Results:
    """Of this run and of earlier ones that watched for as long."""
    return Results(watched)

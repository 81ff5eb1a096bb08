# SPDX-License-Identifier: GPL-3.0-or-later
"""A server and two agents, with traefik and helm-controller, and the collection installed from its artefact."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
for neighbour in ("integration", "matrix", "helm", "killed_role"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite("cluster", "control", "nodes", "site_of_ours", "watchers")

from control import Control  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import Nodes  # noqa: E402


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """The cluster. KEEP=1 leaves it up."""
    with Nodes("role", "small", "--traefik").started() as made:
        yield made


@pytest.fixture(scope="session")
def control(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Control:
    """The control node."""
    return Control(nodes, tmp_path_factory.mktemp("control"))

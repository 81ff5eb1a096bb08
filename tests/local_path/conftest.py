# SPDX-License-Identifier: GPL-3.0-or-later
"""Three servers and an agent, the helper on each of the servers, and claims made and removed on the agent all along."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
for neighbour in ("integration", "matrix"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite("cluster", "nodes", "claims", "writes")

from claims import Claims  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import Nodes  # noqa: E402


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """The cluster. KEEP=1 leaves it up."""
    with Nodes("local-path", "ha").started() as made:
        made.carriers()
        yield made


@pytest.fixture
def claims(nodes: Nodes) -> Iterator[Claims]:
    """Made and removed from now on."""
    made = Claims(nodes, "agent-1")
    made.start()
    yield made
    made.stop()

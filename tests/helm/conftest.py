# SPDX-License-Identifier: GPL-3.0-or-later
"""A server and two agents, with traefik and helm-controller, for all tests."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
for neighbour in ("integration", "matrix", "local_path", "role"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite("claims", "cluster", "jobs", "nodes", "probe", "provisioners", "watchers", "writes")

from nodes import Nodes  # noqa: E402 - so that a failed assertion there is explained, too


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """The cluster. KEEP=1 leaves it up."""
    with Nodes("helm", "small", "--traefik").started() as made:
        yield made

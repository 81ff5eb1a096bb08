# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of the release before, for each test."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and who asks it for what, is the same here as there.
for neighbour in ("helm", "integration", "local_path", "matrix", "role"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / neighbour))
pytest.register_assert_rewrite(
    "claims", "clients", "cluster", "nodes", "probe", "provisioners", "site_of_ours", "watchers"
)

from clients import bring_what_they_ask  # noqa: E402 - so that a failed assertion there is explained, too
from nodes import Nodes  # noqa: E402

OLDER = "1.35"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A server and two agents. KEEP=1 leaves them up."""
    older = Nodes("upgrade", "small", "--traefik", "--version", OLDER)
    older.sandbox("build", "--version", OLDER, timeout=3600)
    with older.started() as made:
        bring_what_they_ask(made)
        yield made

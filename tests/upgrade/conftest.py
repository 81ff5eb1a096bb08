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

import site_of_ours as site  # noqa: E402 - so that a failed assertion there is explained, too
from cluster import wait_for  # noqa: E402
from nodes import Nodes  # noqa: E402

OLDER = "1.35"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A server and two agents. KEEP=1 leaves them up."""
    older = Nodes("upgrade", "small", "--traefik", "--version", OLDER)
    older.sandbox("build", "--version", OLDER, timeout=3600)
    with older.started() as made:
        site.apply(made)
        wait_for("traefik", lambda: "traefik" in made.specs(), 120)
        wait_for("a replica of each", lambda: not made.short_of_replicas(), 120)
        yield made

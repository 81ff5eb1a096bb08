# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of different shapes in one inventory. KEEP=1 leaves them up."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator

import pytest

# How a cluster is spoken to, and waited for, is the same here as there.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
pytest.register_assert_rewrite("cluster", "clusters", "probes")

from clusters import Site, Sites  # noqa: E402 - so that a failed assertion there is explained, too
from shapes import SHAPES  # noqa: E402


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """The clusters as k3s leaves them, and the collection installed from its artefact."""
    made = Sites(tmp_path_factory.mktemp("inventories"), [Site(shape) for shape in SHAPES])
    try:
        made.down()  # what an earlier run left is not as k3s leaves it
        made.start()
        yield made
    finally:
        if not os.environ.get("KEEP"):
            made.down()

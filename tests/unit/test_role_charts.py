# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts that are files on the controller, as the role gives them to the helper."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import test_role

if TYPE_CHECKING:
    import pathlib

    from test_role import Site

site = test_role.site

ARCHIVE = bytes(range(256))


def wish(site: Site, host: str) -> dict[str, Any]:
    """What the helper was given there."""
    return json.loads((site.place / host / "k3s.applied").read_text())


def test_a_chart_of_a_file_is_given_whole(site: Site, tmp_path: pathlib.Path) -> None:
    files = {name: tmp_path / f"{name}.tgz" for name in ("a", "b")}
    for name, file in files.items():
        file.write_bytes(name.encode() + ARCHIVE)
    chart = {"repo": "https://example.org/charts", "version": "1.2.3"}
    wishes = {"k3s_core_ha_coredns_strategy": "helm", "k3s_core_ha_metrics_server_strategy": "helm"}
    wishes["k3s_core_ha_metrics_server_chart"] = chart
    wishes["k3s_core_ha_local_path_provisioner_strategy"] = "helm"
    for name, file in files.items():
        hosts = {f"{name}1": "answers", f"{name}2": "answers"}
        given = {f"k3s_core_ha_{name}_chart": {"file": str(file)} for name in ("coredns", "local_path_provisioner")}
        site.group(name, hosts, server_group=name, **wishes, **given)
    run = site.run()
    assert run.failed() == [], run.output
    for name in files:
        told = wish(site, f"{name}1")
        content = {"content": base64.b64encode(name.encode() + ARCHIVE).decode()}
        assert told["coredns_chart"] == told["local_path_provisioner_chart"] == content
        assert told["metrics_server_chart"] == chart
    # The way back is there without the file, too.
    for file in files.values():
        file.unlink()
    run = site.run()
    assert run.failed() == ["a1", "b1"]
    assert "a.tgz" in run.output
    assert site.run(k3s_core_ha_state="absent").failed() == []

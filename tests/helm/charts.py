# SPDX-License-Identifier: GPL-3.0-or-later
"""Our charts as a HelmChart carries them, and as a repository that the nodes reach."""

from __future__ import annotations

import base64
import functools
import gzip
import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from typing import TYPE_CHECKING

import yaml
from cluster import SANDBOX, wait_for

if TYPE_CHECKING:
    from nodes import Nodes

CHARTS = pathlib.Path(__file__).parent / "charts"
GATEWAY = "198.18.0.1"  # the machine's own address in the nodes' network
PORT = 8079


@functools.cache
def packed(name: str) -> bytes:
    """The chart as an archive. The same files give the same bytes, so that nothing changes by itself."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file in sorted(path for path in (CHARTS / name).rglob("*") if path.is_file()):
            data = file.read_bytes()
            about = tarfile.TarInfo(str(file.relative_to(CHARTS)))
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return gzip.compress(archive.getvalue(), mtime=0)


def content(name: str) -> str:
    """The same in base64."""
    return base64.b64encode(packed(name)).decode()


def version(name: str) -> str:
    """Of the chart."""
    return yaml.safe_load((CHARTS / name / "Chart.yaml").read_text())["version"]


class Repository:
    """Serves our charts by HTTP from the cluster's gateway, for as long as it is entered."""

    url = f"http://{GATEWAY}:{PORT}"

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._directory = tempfile.TemporaryDirectory(prefix="charts-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Repository:
        directory = pathlib.Path(self._directory.name)
        entries = {}
        for name in sorted(path.name for path in CHARTS.iterdir()):
            file = f"{name}-{version(name)}.tgz"
            (directory / file).write_bytes(packed(name))
            entries[name] = [{"apiVersion": "v2", "name": name, "version": version(name), "urls": [file]}]
        (directory / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": entries}))
        serve = [
            sys.executable,
            "-m",
            "http.server",
            str(PORT),
            "--bind",
            GATEWAY,
            "--directory",
            str(directory),
        ]
        self._log = (directory / "log").open("wb")
        command = [str(SANDBOX), "--name", self._nodes.name, "net", *serve]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_for("a node to reach it", self._answers, 20)
        return self

    def _answers(self) -> bool:
        reach = f"exec 3<>/dev/tcp/{GATEWAY}/{PORT}"
        return self._nodes.run("exec", "server-1", "bash", "-c", reach).returncode == 0

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._log.close()
        self._directory.cleanup()

    def served(self, chart: str) -> bool:
        """Whether somebody has fetched the chart."""
        log = pathlib.Path(self._directory.name, "log").read_text()
        return f'"GET /{chart}-{version(chart)}.tgz' in log

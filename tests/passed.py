# SPDX-License-Identifier: GPL-3.0-or-later
"""Which checks have passed on this very tree: kept, as build tools keep what they built, by what it rests on."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import time

KEPT = 14  # days


class Passed:
    """Checks that passed, kept by a hash of every file of the project that git does not ignore, and of the machine."""

    def __init__(self, root: pathlib.Path, known: bool) -> None:
        """`known`: what passed earlier counts; else it is only added to."""
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
        self._root = root
        self._known = known
        self._place = pathlib.Path(os.environ.get("K3S_CORE_HA_CACHE", cache / "k3s-core-ha")) / "passed"
        self._tree = self._hash()
        if self._place.is_dir():
            for old in self._place.iterdir():
                if old.stat().st_mtime < time.time() - KEPT * 86400:
                    old.unlink()

    def passed(self, name: str, command: str) -> str:
        """When the check passed, in a word for people; empty: nothing is known of that."""
        place = self._file(name, command)
        if not self._known or not place.exists():
            return ""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(place.stat().st_mtime))

    def keep(self, name: str, command: str) -> None:
        """It passed. Nothing is kept where the tree has changed meanwhile."""
        if self._hash() == self._tree:
            self._place.mkdir(parents=True, exist_ok=True)
            self._file(name, command).touch()

    def _file(self, name: str, command: str) -> pathlib.Path:
        full = os.environ.get("FULL", "")
        words = "\n".join([self._tree, command, full, platform.release(), platform.machine(), sys.version])
        return self._place / f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:24]}"

    def _hash(self) -> str:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=self._root, check=True, capture_output=True, timeout=60).stdout.split(b"\0")
        tree = hashlib.sha256()
        for name in sorted(set(names) - {b""}):
            path = self._root / os.fsdecode(name)
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            else:
                content = path.read_bytes() if path.is_file() else b"gone"
            mode = path.lstat().st_mode if path.is_symlink() or path.exists() else 0
            tree.update(b"%s\0%o\0%s\0" % (name, mode & 0o100, hashlib.sha256(content).digest()))
        return tree.hexdigest()

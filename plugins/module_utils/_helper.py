# Copyright (c) The k3s_ha.core authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a stable interface for others.

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import typing as t

# The helper's exit statuses, as native/src/base/exit_status.h numbers them; a unit test compares the two.
EXIT_STATUS: dict[int, str] = {
    0: "done",
    1: "internal",
    2: "usage",
    3: "api",
    4: "unsafe",
    5: "conflict",
    6: "rolled_back",
    7: "not_rolled_back",
    8: "below_bar",
    130: "interrupted",
}

# Past its own deadline, and once more after SIGTERM, the helper still gets this long to leave the cluster as good as
# before: what it may take to go back (time_to_go_back in native/src/act/act.h, compared by a unit test), and a minute.
GRACE_SECONDS = 900 + 60

# A message stays readable: what the helper printed is quoted up to this many characters.
QUOTE_LIMIT = 300

# How every module of this collection says where the helper is and which cluster it is to talk to.
HELPER_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "executable": {"type": "path", "default": "/usr/local/bin/k3s-core-ha"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "api_servers": {"type": "list", "elements": "str"},
    "wait_api": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 1800},
}


class HelperError(Exception):
    """The helper could not be run, or did not do what it was asked to; str() is one sentence for a person."""

    def __init__(
        self,
        message: str,
        exit_status: int | None = None,
        name: str | None = None,
        result: dict[str, t.Any] | None = None,
        progress: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.name = name
        self.result = result or {}
        self.progress = progress or []

    def as_failure(self) -> dict[str, t.Any]:
        """What fail_json is given: the sentence, the status, and all that is known of how far the helper came."""
        failure: dict[str, t.Any] = {"msg": str(self), "progress": self.progress}
        if self.exit_status is not None:
            failure["exit_status"] = self.exit_status
        if self.name is not None:
            failure["exit_name"] = self.name
        for key in ("changed", "level", "steps", "node_steps", "predicted"):
            if key in self.result:
                failure[key] = self.result[key]
        return failure


class Helper:
    """Runs the helper: arguments as a list, the spec on standard input, one JSON object back."""

    def __init__(
        self,
        executable: str,
        kubeconfig: str | None = None,
        context: str | None = None,
        api_servers: list[str] | None = None,
        wait_api: int = 0,
        timeout: int = 1800,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self.executable = executable
        self.timeout = timeout
        self.grace = grace
        self._globals = ["--output", "json", "--timeout", str(timeout)]
        if kubeconfig:
            self._globals += ["--kubeconfig", kubeconfig]
        if context:
            self._globals += ["--context", context]
        for server in api_servers or []:
            self._globals += ["--server", server]
        if wait_api:
            self._globals += ["--wait-api", str(wait_api)]

    @classmethod
    def from_params(cls, params: dict[str, t.Any]) -> Helper:
        """The helper that a module's parameters, of HELPER_ARGUMENTS, describe."""
        return cls(**{key: params[key] for key in HELPER_ARGUMENTS})

    def run(self, verb: list[str], spec: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Runs one verb and returns its result; raises HelperError on anything but exit status 0 with a JSON object."""
        argv = [self.executable, *self._globals, *verb]
        given = b"" if spec is None else json.dumps(spec).encode()
        process = self._start(argv)
        late = False
        try:
            stdout, stderr = process.communicate(given, timeout=self.timeout + self.grace)
        except subprocess.TimeoutExpired:
            late = True
            stdout, stderr = self._end(process)
        return self._judge(process.returncode, stdout, stderr, late)

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise HelperError(self._why_not_started(error)) from error

    def _why_not_started(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            if os.path.exists(self.executable):
                return f"{self.executable} cannot be started: the program loader that it names is not on this host."
            return (
                f"The helper {self.executable} is not on this host; "
                "the role k3s_ha.core.k3s_core_ha puts it there, or set the option executable."
            )
        if error.errno == errno.ENOEXEC:
            return (
                f"{self.executable} is not a program for this host's architecture, {platform.machine()}; "
                "it is damaged or was built for another one."
            )
        if isinstance(error, PermissionError):
            return f"{self.executable} is not executable by this user."
        return f"{self.executable} could not be started: {error.strerror}."

    def _end(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        """SIGTERM lets the helper go back; only one that does not react to it is killed."""
        process.terminate()
        try:
            return process.communicate(timeout=self.grace)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()

    def _judge(self, status: int, stdout: bytes, stderr: bytes, late: bool) -> dict[str, t.Any]:
        progress = stderr.decode(errors="replace").splitlines()
        result, unreadable = _parse(stdout.decode(errors="replace"))
        if late:
            killed = " and had to be killed" if status == -signal.SIGKILL else ""
            raise HelperError(
                f"The helper gave no answer within {self.timeout} s and {self.grace:g} s of grace{killed}.",
                exit_status=status,
                name="timeout",
                result=result,
                progress=progress,
            )
        if status < 0:
            raise HelperError(
                f"The helper was ended by {_signal_name(-status)}.",
                exit_status=status,
                name="signal",
                result=result,
                progress=progress,
            )
        if status != 0:
            raise HelperError(
                _error_message(result) or _last_words(status, progress),
                exit_status=status,
                name=EXIT_STATUS.get(status, "unknown"),
                result=result,
                progress=progress,
            )
        if result is None:
            raise HelperError(
                f"The helper's answer is not a JSON object ({unreadable}).", exit_status=status, progress=progress
            )
        return result


def _parse(text: str) -> tuple[dict[str, t.Any] | None, str]:
    """The object, or None and why it is none."""
    if not text.strip():
        return None, "it is empty"
    quoted = text if len(text) <= QUOTE_LIMIT else text[:QUOTE_LIMIT] + " …"
    try:
        value = json.loads(text)
    except ValueError as error:
        return None, f"{error}: {quoted}"
    if not isinstance(value, dict):
        return None, f"it is a {type(value).__name__}: {quoted}"
    return value, ""


def _error_message(result: dict[str, t.Any] | None) -> str | None:
    error = (result or {}).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) and message else None


def _last_words(status: int, progress: list[str]) -> str:
    words = next((line.strip() for line in reversed(progress) if line.strip()), "it said nothing")
    return f"The helper ended with status {status}: {words}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

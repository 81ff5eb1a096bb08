# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes the tasks that changed something, and kills Ansible after one of them: a loss of power, as hosts see it."""

from __future__ import annotations

import json
import os
import pathlib
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: end_after
type: aggregate
short_description: Kill Ansible after a task that changed something
description:
  - Writes of each task that changed something the host, the name, and the differences that it told, as a line of
    JSON, to the file that END_AFTER_SEEN names.
  - After so many of them as END_AFTER says, it kills Ansible.
"""


class CallbackModule(CallbackBase):
    """Of the run's own process, between two tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "end_after"

    def __init__(self) -> None:
        """Nothing was changed yet."""
        super().__init__()
        self._left = int(os.environ.get("END_AFTER", "0"))
        self._seen = pathlib.Path(os.environ["END_AFTER_SEEN"])

    def v2_runner_on_ok(self, result):  # noqa: ANN001, ANN201 - Ansible's
        """A task has ended well."""
        told = getattr(result, "result", getattr(result, "_result", {}))
        if not told.get("changed"):
            return
        host, task = (getattr(result, name, getattr(result, f"_{name}", None)) for name in ("host", "task"))
        change = {"host": host.get_name(), "task": task.get_name(), "diff": told.get("diff", [])}
        with self._seen.open("a") as file:
            file.write(f"{json.dumps(change)}\n")
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

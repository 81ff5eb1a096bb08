# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the tasks that changed something, and kills Ansible after one of them: a loss of power, as hosts see it."""

from __future__ import annotations

import os
import pathlib
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: end_after
type: aggregate
short_description: Kill Ansible after a task that changed something
description:
  - Writes the name of each task that changed something to the file that END_AFTER_SEEN names.
  - After so many of them as END_AFTER says, it kills Ansible.
"""


class CallbackModule(CallbackBase):
    """Of the run's own process, between two tasks of the one host."""

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
        if not getattr(result, "result", getattr(result, "_result", {})).get("changed"):
            return
        with self._seen.open("a") as file:
            file.write(f"{getattr(result, 'task', getattr(result, '_task', None)).get_name()}\n")
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

"""Imported by the fork server of `code_server.py` before its first fork: importing it makes a process the one that runs are
forked from. The code server names it and does not import it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from tasks_pipeline.dagster_process import RUN, WARM_PROCESS
from tasks_pipeline.warming import warm_up

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def _begin_run(warm_process: int, prctl: Callable[..., int]) -> None:
    """Let a run end when the process that it was forked from is killed: the code server takes it for dead then."""
    if os.getppid() == warm_process:  # and not a process that the run itself forks
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        prctl(_PR_SET_NAME, RUN.encode())


warm_up()
if sys.platform == "linux":
    _prctl = ctypes.CDLL(None).prctl
    _prctl(_PR_SET_NAME, WARM_PROCESS.encode())
    os.register_at_fork(after_in_child=partial(_begin_run, os.getpid(), _prctl))

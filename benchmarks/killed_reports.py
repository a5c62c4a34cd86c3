"""Computing and sending of reports, killed with SIGKILL at random moments: what is missing, doubled or wrong afterwards.

`python -m benchmarks.killed_reports HOME MOMENT` is the work itself, in a process of its own. It computes the figures of all days and the weekly
reports and sends what is due, as `told_reports.py` does.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.clock import simulated
from benchmarks.living import live
from benchmarks.told_reports import COMPARED, compute, mails_of, send, shown
from benchmarks.truth import Truth
from benchmarks.weeks import Plan, configuration
from tasks_pipeline.home import Home
from tasks_pipeline.stores import open_stores


def killed(root: Path, plan: Plan, step: timedelta, kills: int) -> dict[str, Any]:
    """Once without a kill, in a copy of the home, and then with so many; then to the end. Compares the two."""
    from tests.support.outside import mail_server

    truth = Truth(plan)
    newest = truth.weeks("organisation")[-1]
    with mail_server() as quiet, mail_server() as server:
        home = Home(root / "killed")
        home.root.mkdir(parents=True, mode=0o700)
        home.config_path.write_text(configuration(plan, smtp_port=server.port))
        with open_stores(home) as stores:
            live(stores, plan, step=step, deliver=True)  # alerts: what is left are reports
        reference = Home(root / "whole")
        shutil.copytree(home.root, reference.root)
        reference.config_path.write_text(configuration(plan, smtp_port=quiet.port))
        now = plan.end + timedelta(hours=14)
        began = time.monotonic()
        work(reference, now)
        seconds = time.monotonic() - began
        done = 0
        for number in range(kills):
            done += kill_one(home, now + number * timedelta(minutes=20), random.uniform(0.02, seconds))
        end = now + kills * timedelta(minutes=20)
        work(home, end)
        whole, found = (shown(each, end, newest, "organisation") for each in (reference, home))
        mails, expected = Counter(mails_of(server)), Counter(mails_of(quiet))
        return {
            "kills": done,
            "seconds_without_a_kill": round(seconds, 1),
            "figures_equal": all(found["figures"][name] == whole["figures"][name] for name in COMPARED),
            "revision": found["revision"],
            "mails_expected": expected.total(),
            "mails_missing": (expected - mails).total(),
            "mails_doubled": (mails - expected).total(),
        }


def kill_one(home: Home, now: datetime, after: float) -> bool:
    """Start the work and kill it so many seconds after it began; gives whether it was still at it."""
    command = [sys.executable, "-m", "benchmarks.killed_reports", str(home.root), now.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def work(home: Home, now: datetime) -> None:
    """All of it, in this process or another."""
    with open_stores(home) as stores:
        days = set(stores.spool.days())
    plan = Plan(min(days), len(days))
    truth = Truth(plan)
    compute(home, truth, now)
    send(home, now)


if __name__ == "__main__":
    with simulated(datetime.fromisoformat(sys.argv[2])):
        pass  # imports everything
    print("up", flush=True)
    work(Home(Path(sys.argv[1])), datetime.fromisoformat(sys.argv[2]))

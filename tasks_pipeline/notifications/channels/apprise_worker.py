"""The process in which Apprise sends: `python -m tasks_pipeline.notifications.channels.apprise_worker`.

Its plugins bring clients of their own, whose time limits hold for each operation. So they run apart, where whoever asks can
end them at the deadline: see `apprise`. A line of JSON per message on standard input, one per answer on standard output, and
an empty one first, once it is ready.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import Any

import msgspec

ORPHAN_FACTOR = 2  # times the limit, after which there is nobody who could have ended this process


class Task(msgspec.Struct, frozen=True):
    """A message to send. `kind` is a name of apprise.NotifyType."""

    url: str
    title: str
    body: str
    kind: str
    seconds: float


class Said(msgspec.Struct, frozen=True):
    """What came of it: whether the URL could be used, whether it was sent, and what was logged."""

    usable: bool
    sent: bool
    words: str = ""


class _Heard(logging.Handler):
    """What Apprise logs about a message."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _sent(apprise: Any, task: Task, heard: _Heard) -> Said:
    heard.lines.clear()
    target = apprise.Apprise()
    limits = f"{'&' if '?' in task.url else '?'}rto={task.seconds:g}&cto={task.seconds:g}"
    if not target.add(task.url + limits):
        return Said(usable=False, sent=False)
    sent = target.notify(
        body=task.body,
        title=task.title,
        notify_type=getattr(apprise.NotifyType, task.kind),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return Said(usable=True, sent=bool(sent), words="; ".join(heard.lines[-3:]))


def main() -> None:
    """Send until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the end of input is the sign to stop
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a plugin prints is no answer
    import apprise

    heard = _Heard()
    logging.getLogger("apprise").addHandler(heard)
    apprise.Apprise().add(
        "json://localhost/"
    )  # reads all its plugins, which takes a second that no message should pay for
    answers.write(b"\n")
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=Task)
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_FACTOR * task.seconds)
        try:
            said = _sent(apprise, task, heard)
        except Exception as error:  # noqa: BLE001 — a plugin's fault is what came of its message
            said = Said(usable=True, sent=False, words=f"{type(error).__name__}: {error}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(msgspec.json.encode(said) + b"\n")


if __name__ == "__main__":
    main()

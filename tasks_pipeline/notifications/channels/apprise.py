"""The channel of Apprise: any of the services it knows, in a process that is ended when it takes too long.

What Apprise logs about a failure becomes the failure's detail. The process costs some 70 MB while the channel is open, and is
started with its first message; nothing else can end a plugin that waits for a far side that drips.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress

import msgspec

from tasks_pipeline.config.channels import AppriseChannel
from tasks_pipeline.notifications.channels.apprise_worker import Said, Task
from tasks_pipeline.notifications.channels.base import Receipt
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.outbound import Deadline
from tasks_pipeline.texts import clean

TEXT_LENGTH = 8000
START_SECONDS = 60.0  # for starting the process, in which nothing leaves yet
_KINDS = {"critical": "FAILURE", "warning": "WARNING"}


class AppriseSender:
    """Hands messages to Apprise, which says no more than whether it worked."""

    def __init__(self, channel: AppriseChannel) -> None:
        self._url = channel.url.get_secret_value()
        self._timeout = channel.timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Send, within the channel's `timeout_seconds`. Raises PermanentFailure for a URL that Apprise cannot use, UnknownOutcome
        when there was no end in time, else TemporaryFailure with its words."""
        kind = "SUCCESS" if message.status == "recovered" else _KINDS.get(message.severity, "INFO")
        task = Task(self._url, message.subject, message.text()[:TEXT_LENGTH], kind, self._timeout)
        said = self._asked(self._ready(), task)
        if not said.usable:
            raise PermanentFailure("Apprise does not know how to use the URL of this channel")
        if not said.sent:
            words = said.words or "it did not say why"
            raise TemporaryFailure(clean(f"Apprise: {self._without_secrets(words)}", 300))
        return Receipt("Apprise handed it over")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        try:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks_pipeline.notifications.channels.apprise_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what plugins write there may hold the URL
                bufsize=0,
            )
            _line(process, Deadline.after(START_SECONDS))
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            self.close()
            raise TemporaryFailure(
                f"the process of Apprise does not start: {error or type(error).__name__}"
            ) from error
        return process

    def _asked(self, process: subprocess.Popen[bytes], task: Task) -> Said:
        deadline = Deadline.after(self._timeout)
        assert process.stdin is not None
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            return msgspec.json.decode(_line(process, deadline), type=Said)
        except TimeoutError as error:
            self.close()
            raise UnknownOutcome(f"Apprise: no end within {self._timeout:g} s") from error
        except (OSError, EOFError) as error:
            self.close()
            raise UnknownOutcome("Apprise: its process ended without an answer") from error

    def _without_secrets(self, text: str) -> str:
        for piece in (
            self._url.replace("://", "/").replace("?", "/").replace("@", "/").replace(":", "/").split("/")[1:]
        ):
            if len(piece) >= 6:
                text = text.replace(piece, "***")
        return text


def _line(process: subprocess.Popen[bytes], deadline: Deadline) -> bytes:
    """The next line of a process. Raises TimeoutError, and EOFError when there is none."""
    assert process.stdout is not None
    descriptor, found = process.stdout.fileno(), b""
    while not found.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], deadline.left())
        if ready:
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                raise EOFError
            found += piece
    return found

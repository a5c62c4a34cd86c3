"""Looking into uploaded files from outside: a process for each, ended when it takes too long. What it does: inspect.py."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from tasks_pipeline.uploads.facts import Bundle, DebugObject, Findings, UploadError, ZippedFile

log = logging.getLogger(__name__)

SECONDS = 180.0
_CLOSING = "the service is shutting down; send it again"
_MODULE = "tasks_pipeline.uploads.inspect"
_INHERITED = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
)


class Inspector:
    """Starts inspecting processes; `close` ends those at work, whose callers get UploadError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def debug_file(self, path: Path, name: str) -> tuple[DebugObject, ...]:
        """The objects in a debug file that was sent under `name`. Raises UploadError."""
        return self._run("debug_file", str(path), name).objects

    def bundle(self, path: Path, max_files: int, max_bytes: int) -> Bundle:
        """What is in an artifact bundle of at most so many files and bytes unpacked. Raises UploadError."""
        found = self._run("bundle", str(path), str(max_files), str(max_bytes)).bundle
        return found or Bundle(None, None, ())

    def unzip(self, path: Path, folder: Path, max_bytes: int, least_free: int) -> tuple[ZippedFile, ...]:
        """Unpack a zip into a folder, on whose disk so many bytes stay free. Raises UploadError."""
        return self._run("unzip", str(path), str(folder), str(max_bytes), str(least_free)).unpacked

    def close(self) -> None:
        """End the processes at work, and start no more."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()

    def _run(self, *arguments: str) -> Findings:
        process = self._start(arguments)
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise UploadError("the file takes too long to read") from None
        finally:
            with self._lock:
                self._running.discard(process)
        if self._closed:
            raise UploadError(_CLOSING)
        if process.returncode != 0:
            # The reader died of the file (or of us). Why is for the operator; the sender learns that it is the file.
            log.warning(
                "the reader of an uploaded file ended with %d: %s", process.returncode, errors[-2000:].decode(errors="replace")
            )  # fmt: skip
            raise UploadError("the file could not be read within the limits of memory and time")
        findings = msgspec.json.decode(output, type=Findings)
        if findings.error is not None:
            raise UploadError(findings.error)
        return findings

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        # No secrets of this process's environment go to one that strangers' files may take over.
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with self._lock:
            if self._closed:
                raise UploadError(_CLOSING)
            process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
            self._running.add(process)
        return process

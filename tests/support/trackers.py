"""Real issue trackers for tests, each on a free loopback port and gone at the end: Roundup, and Redmine where Debian's package is installed.

`python -m tests.support.trackers` makes Redmine's database, which takes half a minute, once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROUNDUP_USERS = {"admin": "admin-secret", "tasks-bot": "bot-secret", "ann": "ann-secret", "ben": "ben-secret"}
REDMINE_KEYS = {
    "admin": "a" * 40,
    "tasks-bot": "b" * 40,
    "ann": "c" * 40,
    "ben": "d" * 40,
    "reader": "e" * 40,
}
ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
_SHARE, _INSTANCES = Path("/usr/share/redmine"), Path("/var/lib/redmine")
_PREPARE = Path(__file__).with_name("redmine_prepare.rb")
_START_SECONDS = 120


class TrackerMissing(Exception):
    """It cannot be started here; the text says what it would take."""


@dataclass(frozen=True)
class RealTracker:
    """A tracker that runs. `as_` is what people do there, by the same API."""

    url: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def people(self, headers: Mapping[str, str], auth: tuple[str, str] | None = None) -> httpx.Client:
        """A client of somebody; close it."""
        return httpx.Client(base_url=self.url, headers=dict(headers), auth=auth, timeout=30, trust_env=False)


@contextmanager
def real_roundup(limit: int = 0) -> Iterator[RealTracker]:
    """Roundup's classic tracker with ROUNDUP_USERS. `limit`: calls of a user in a minute."""
    folder = Path(tempfile.mkdtemp(prefix="tasks-pipeline-roundup-"))
    command = [sys.executable, "-m", "tests.support.roundup_server", str(folder), str(limit)]
    log = folder / "server.log"
    try:
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
                port = process.stdout.readline().strip() if ready else ""
                if not port:
                    raise RuntimeError(f"Roundup did not start: {log.read_text()[-2000:]}")
                yield RealTracker(f"http://127.0.0.1:{port}/tracker")
            finally:
                process.stdin.close()
                process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


@contextmanager
def real_redmine() -> Iterator[RealTracker]:
    """Redmine with REDMINE_KEYS and what `redmine_prepare.rb` makes. Raises TrackerMissing where it is not installed."""
    if not (_SHARE / "config.ru").exists():
        raise TrackerMissing(
            "Redmine is not installed: apt-get install redmine redmine-sqlite ruby-webrick, as root"
        )
    if os.geteuid() != 0 or not os.access(_INSTANCES.parent, os.W_OK):
        raise TrackerMissing(
            "Debian's Redmine looks for its instances in /var/lib/redmine, where root alone may write"
        )
    folder = Path(tempfile.mkdtemp(prefix="tasks-pipeline-redmine-"))
    port = _free_port()
    instance = _INSTANCES / f"test{port}"
    _INSTANCES.mkdir(exist_ok=True)
    try:
        instance.symlink_to(folder)
        environment = _instance(folder, instance.name)
        _prepared(folder, environment)
        with _served(folder, port, environment) as url:
            yield RealTracker(url, json.loads((folder / "facts.json").read_text()))
    finally:
        instance.unlink(missing_ok=True)
        shutil.rmtree(folder)


def _instance(folder: Path, name: str) -> dict[str, str]:
    """The files of an instance, and the environment that its processes need."""
    for each in ("config", "log", "tmp/cache", "tmp/pids", "files", "public/plugin_assets"):
        (folder / each).mkdir(parents=True)
    database = f"production:\n  adapter: sqlite3\n  database: {folder}/redmine.sqlite3\n  timeout: 10000\n"
    (folder / "config/database.yml").write_text(database)
    (folder / "config/secret_key.txt").write_text(secrets.token_hex(32))
    # Redmine's Gemfile does not name webrick, and so bundler hides it.
    webrick = Path("/usr/share/rubygems-integration/all/gems").glob("webrick-*/lib")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "RAILS_ENV": "production",
        "REDMINE_INSTANCE": name,
        "REDMINE_LANG": "en",
        "RUBYLIB": ":".join(map(str, webrick)),
        "TRACKER_KEYS": json.dumps(REDMINE_KEYS),
        "TRACKER_FACTS": str(folder / "facts.json"),
    }


def _prepared(folder: Path, environment: Mapping[str, str]) -> None:
    """A database with everything in it. It takes half a minute to make, once: the cache keeps it for this version and this script."""
    version = hashlib.sha256(
        _PREPARE.read_bytes() + (_SHARE / "lib/redmine/version.rb").read_bytes()
    ).hexdigest()
    kept = CACHE / f"redmine-{version[:16]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "redmine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            # In one process, the second step would find the columns of before the first.
            _rails(environment, "rake", "db:migrate")
            _rails(environment, "rake", "redmine:load_default_data")
            _rails(environment, "rails", "runner", str(_PREPARE))
            fresh = Path(tempfile.mkdtemp(dir=CACHE))
            for name in ("redmine.sqlite3", "facts.json"):
                shutil.copy(folder / name, fresh / name)
            fresh.rename(kept)
            return
    for name in ("redmine.sqlite3", "facts.json"):
        shutil.copy(kept / name, folder / name)


def _rails(environment: Mapping[str, str], *command: str) -> None:
    done = subprocess.run(
        command, cwd=_SHARE, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-3000:]}")


@contextmanager
def _served(folder: Path, port: int, environment: Mapping[str, str]) -> Iterator[str]:
    command = ["rackup", "-s", "webrick", "-E", "production", "-o", "127.0.0.1", "-p", str(port)]
    log = folder / "log/server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=_SHARE, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    with process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(url, process, log)
            yield url
        finally:
            process.kill()  # asked to end, WEBrick waits for connections that are kept; what it made is thrown away
            process.wait(timeout=30)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Nothing tells when it listens but that it answers."""
    headers = {"X-Redmine-API-Key": REDMINE_KEYS["tasks-bot"]}
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if (
                httpx.get(
                    f"{url}/users/current.json", headers=headers, timeout=30, trust_env=False
                ).status_code
                == 200
            ):
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"Redmine did not start: {log.read_text(errors='replace')[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with real_redmine() as made:  # what takes long is in the cache from then on
        print(f"Redmine runs, and answered at {made.url}")

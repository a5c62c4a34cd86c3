"""Whatever a file does to the process that reads it, the caller learns of it in time and goes on."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks_pipeline.uploads import inspection
from tasks_pipeline.uploads.facts import UploadError
from tasks_pipeline.uploads.inspection import Inspector
from tests.support.uploads import CRASHER_ID, DATA
from tests.support.waiting import wait_for


def module(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Let the inspecting process run this code instead."""
    (folder / "instead.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(inspection, "_MODULE", "instead")


def test_a_file_is_read_in_a_process() -> None:
    (found,) = Inspector().debug_file(DATA / "crasher.debug", "crasher")
    assert found.debug_id == CRASHER_ID


@pytest.mark.parametrize(
    "code", ["import os; os.abort()", "raise MemoryError", "import sys; sys.exit(3)", "import os; os.kill(os.getpid(), 9)"]
)  # fmt: skip
def test_a_reader_that_dies_refuses_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    module(monkeypatch, tmp_path, code)
    with pytest.raises(UploadError, match="within the limits of memory and time"):
        Inspector().debug_file(DATA / "crasher.debug", "crasher")


def test_a_reader_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module(monkeypatch, tmp_path, "import signal; signal.pause()")
    monkeypatch.setattr(inspection, "SECONDS", 0.1)
    with pytest.raises(UploadError, match="takes too long"):
        Inspector().debug_file(DATA / "crasher.debug", "crasher")


def test_closing_ends_readers_at_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    module(monkeypatch, tmp_path, f"open({str(ready)!r}, 'w').close()\nimport signal; signal.pause()")
    inspector = Inspector()
    with ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(inspector.debug_file, DATA / "crasher.debug", "crasher")
        wait_for("the reader is at work", lambda: ready.exists() or None)
        inspector.close()
        with pytest.raises(UploadError, match="shutting down"):
            at_work.result()
    with pytest.raises(UploadError, match="shutting down"):
        inspector.debug_file(DATA / "crasher.debug", "crasher")


def test_readers_are_bounded_and_know_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOP_SECRET", "s3cret")
    seen = tmp_path / "seen"
    module(
        monkeypatch,
        tmp_path,
        "import os, resource, sys\n"
        f"with open({str(seen)!r}, 'w') as file: file.write(' '.join(os.environ))\n"
        "from tasks_pipeline.uploads.inspect import main\n"
        "main(sys.argv[1:])\n"
        f"assert resource.getrlimit({resource.RLIMIT_DATA})[0] == 1024**3\n",
    )
    assert Inspector().debug_file(DATA / "crasher.debug", "crasher")
    assert "SHOP_SECRET" not in seen.read_text()

"""Parquet from elsewhere: small files that would fill memory are refused, and cost nobody anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks_pipeline.storage import decoding, scratch
from tasks_pipeline.storage.decoding import Undecodable, prove


def peak() -> int:
    """Bytes of memory that this process had at most."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def one_value(rows: int, size: int) -> pa.Table:
    """A column that says the same large value in each row, and is written once."""
    return pa.table(
        {"payload": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))}
    )


def test_an_honest_file(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"a": [1, 2, 3], "m": pa.array([[("k", "v")]] * 3, pa.map_(pa.string(), pa.string()))}),
        tmp_path / "a",
    )
    assert prove(tmp_path / "a").rows == 3
    assert prove(tmp_path / "a", ["a"]).bytes < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory of a process")
def test_a_bomb_is_refused_by_a_process_of_its_own(tmp_path: Path) -> None:
    pq.write_table(
        one_value(1500, 1_000_000),
        tmp_path / "bomb",
        compression="zstd",
        store_schema=False,
        write_statistics=False,
    )
    assert (tmp_path / "bomb").stat().st_size < 1000, "1.5 GB in a few bytes"
    before = peak()
    with pytest.raises(Undecodable, match="allowed"):
        prove(tmp_path / "bomb")
    assert peak() - before < 50_000_000
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a")
    assert prove(tmp_path / "a").rows == 1, "the next file is read as ever"


def test_values_that_are_named_many_times_are_refused(tmp_path: Path) -> None:
    pq.write_table(one_value(10, 10), tmp_path / "a")
    with pytest.raises(Undecodable, match="column payload is of a type that is never written"):
        prove(tmp_path / "a")


def test_what_is_no_parquet_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(Undecodable):
        prove(tmp_path / "a")


def test_a_file_that_takes_too_long_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "never")
    monkeypatch.setattr(decoding, "SECONDS", 0.2)
    with pytest.raises(Undecodable, match="not decoded after"):
        prove(tmp_path / "never")


def test_what_a_killed_process_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_BORN", 0)
    code = (
        "from tasks_pipeline.storage.scratch import scratch\nwith scratch() as folder:\n"
        "    (folder / 'draft').write_bytes(b'left'); print(folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        with scratch.scratch() as own:
            assert (folder / "draft").exists(), "its process is at work"
            assert own.parent == folder.parent
        process.kill()
        process.wait()
    with scratch.scratch():
        assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_a_scratch_folder_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"tasks-pipeline-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="set TMPDIR"), scratch.scratch():
        pass

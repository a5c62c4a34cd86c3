"""The process that reads uploaded files: what it knows, how it ends, and that names made of anything do no harm."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config.model import MIB
from tasks_pipeline.symbolication.bounded import BoundedWorker, WorkerFailed
from tasks_pipeline.symbolication.js_names import (
    candidates,
    function_name,
    is_file,
    join,
    module_name,
    source_name,
)
from tasks_pipeline.symbolication.requests import File, FindReference, LookupPositions, ReadLines
from tasks_pipeline.symbolication.tables import cut_line, find_reference, lines_around

KILLER = b"(" * 200_000 + b"1" + b")" * 200_000


@pytest.fixture
def worker() -> BoundedWorker:
    return BoundedWorker(MIB, 512 * MIB, 30)


def child(worker: BoundedWorker) -> psutil.Process:
    process = worker._process
    assert process is not None
    return psutil.Process(process.pid)


def test_it_knows_no_secrets(worker: BoundedWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_PIPELINE_DATABASE_URL", "postgresql://user:secret@host/db")
    (tmp_path / "a.js").write_bytes(b"a()")
    with worker:
        worker.ask(FindReference(File(str(tmp_path / "a.js"))))
        assert "TASKS_PIPELINE_DATABASE_URL" not in child(worker).environ()


def test_it_ends_with_its_owner(tmp_path: Path) -> None:
    """Also when that is killed."""
    (tmp_path / "a.js").write_bytes(b"a()")
    code = f"""
from tasks_pipeline.symbolication.bounded import BoundedWorker
from tasks_pipeline.symbolication.requests import File, FindReference
worker = BoundedWorker(1 << 20, 1 << 29, 30)
worker.ask(FindReference(File({str(tmp_path / "a.js")!r})))
print(worker._process.pid, flush=True)
input()
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    found = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    found.wait(120)


def test_after_a_death_the_next_question_is_answered(worker: BoundedWorker, tmp_path: Path) -> None:
    (tmp_path / "bad.js").write_bytes(KILLER)
    (tmp_path / "a.map").write_bytes(b'{"version":3,"sources":["a"],"names":[],"mappings":"AAAA"}')
    bad = LookupPositions(File(str(tmp_path / "bad.js")), File(str(tmp_path / "a.map")), [(1, 1)])
    good = LookupPositions(None, File(str(tmp_path / "a.map")), [(1, 1)])
    with worker:
        with pytest.raises(WorkerFailed, match="ends the process"):
            worker.ask(bad)
        (token,) = worker.ask(good).results
        assert (token.source, token.line, token.column) == ("a", 1, 1)


def test_threads_wait_for_each_other(worker: BoundedWorker, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.js").write_bytes(b"\n".join(b"%d" % number for _ in range(3000)))
    answers: dict[int, set[str]] = {}

    def ask(number: int) -> None:
        request = ReadLines(File(str(tmp_path / f"{number}.js")), [1, 2, 3000])
        answers[number] = {lines.context_line for _ in range(30) for lines in worker.ask(request).results}

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    with worker:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: {str(number)} for number in range(4)}


_ODD = st.text(alphabet="ab/.:~?#-\\@[]%wepack node_modules", max_size=40) | st.text(max_size=20)


@given(_ODD, _ODD)
def test_any_name_has_an_answer(one: str, other: str) -> None:
    is_file(one)
    assert 1 <= len(candidates(one)) <= 4
    assert isinstance(join(one, other), str)
    assert len(source_name(one)) <= len(one)
    assert len(module_name(one) or "") <= 512
    function_name(one, other, one)


@given(st.text(max_size=2000), st.integers(0, 3000))
def test_a_cut_line_shows_its_column(line: str, column: int) -> None:
    cut = cut_line(line, column)
    assert len(cut) <= 256
    plain = line.rstrip("\r\n")
    if len(plain) <= 256:
        assert cut == plain
    elif 1 <= column <= len(plain):
        assert plain[column - 1] in cut


@given(st.lists(st.text(alphabet="ab", max_size=5), max_size=20), st.integers(-3, 25))
def test_lines_around_a_line(source: list[str], line: int) -> None:
    found = lines_around(source, line)
    assert (found is None) == (not 1 <= line <= len(source))
    if found:
        shown = [*found.pre_context, found.context_line, *found.post_context]
        assert shown == source[max(0, line - 6) : line + 5]


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        (b"a()\n//# sourceMappingURL=app.js.map", "app.js.map"),
        (b"a()\n//@ sourceMappingURL=app.js.map\n\n//# debugId=1\n", "app.js.map"),
        (b"//# sourceMappingURL=old.map\na()\n//# sourceMappingURL=new.map\n", "new.map"),
        (b'var s = "//# sourceMappingURL=fake.map";', ""),
        (b"a()\n//# sourceMappingURL=data:application/json;base64,e30=\n", "data:"),
        (b"\xff\xfe\0", ""),
        (b"", ""),
    ],
)
def test_where_a_source_says_its_map_is(source: bytes, reference: str) -> None:
    assert find_reference(source) == reference

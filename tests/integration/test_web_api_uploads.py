"""Uploads as sentry-cli makes them, over real HTTP: what becomes known, what is refused and why, what a kill leaves."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from sqlalchemy import select

import tasks_pipeline.uploads.assembling
import tasks_pipeline.uploads.known
from tasks_pipeline.access.tokens import SCOPES, create_token
from tasks_pipeline.home import Home
from tasks_pipeline.retention.upload_chunks import drop_stale_chunks
from tasks_pipeline.serving import serve
from tasks_pipeline.storage import disk
from tasks_pipeline.storage.blobs import BlobDraft, BlobStore
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import (
    artifact_bundles,
    artifacts,
    debug_files,
    releases,
    symbol_arrivals,
)
from tasks_pipeline.stores import open_stores
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.symbolication.source import SymbolFileMissing
from tasks_pipeline.uploads.assembling import Assembling, BundleUpload, DebugFileUpload
from tasks_pipeline.uploads.chunks import ChunkStore
from tasks_pipeline.uploads.facts import UploadError
from tasks_pipeline.uploads.inspection import Inspector
from tasks_pipeline.uploads.symbol_source import StateSymbolSource
from tasks_pipeline.web.app import create_web
from tasks_pipeline.web_api import uploads as web_uploads
from tests.support import uploads
from tests.support.crash import Moment, at, die, run_in_process
from tests.support.receiver import configure, serving
from tests.support.uploads import (
    CRASHER,
    CRASHER_ID,
    MAPPING,
    MAPPING_ID,
    RECORDED_BUNDLE,
    RECORDED_DIST,
    RECORDED_ID,
    RECORDED_RELEASE,
    Uploader,
    sha1,
    small_bundle,
    symbols,
    symbols_id,
)
from tests.support.waiting import wait_for

CHUNKS = "/api/0/organizations/acme/chunk-upload/"


@dataclass
class Installation:
    """A running receiver, a client of it, and what is in its stores."""

    home: Home
    client: Uploader
    state: StateDatabase
    source: StateSymbolSource

    def rows(self, table: Any) -> list[dict[str, Any]]:
        with self.state.read() as connection:
            return [
                dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]

    def arrived(self) -> set[tuple[int, str]]:
        return {(row["project_id"], row["key"]) for row in self.rows(symbol_arrivals)}


@contextmanager
def running(home: Home, limits: str = "", chunk_bytes: int = 2 * 1024 * 1024) -> Iterator[Installation]:
    configure(home)
    if limits:
        home.config_path.write_text(home.config_path.read_text() + f"uploads: {{{limits}}}\n")
    state = StateDatabase(home)
    _, token = create_token(state, "http://test", "acme", "test", SCOPES)
    source = StateSymbolSource(state, BlobStore(home.blobs_url), home.root / "cache")
    with serving(create_web(home)) as url, httpx.Client(base_url=url, timeout=120) as http:
        yield Installation(home, Uploader(http, token, chunk_bytes), state, source)
    state.close()


@pytest.fixture
def any_installation(any_home: Home) -> Iterator[Installation]:
    with running(any_home) as found:
        yield found


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]
) -> Iterator[Installation]:
    """One installation for all tests in which nothing becomes known, with small limits."""
    home = new_home(tmp_path_factory.mktemp("shared"))
    limits = "max_file_bytes: 5000000, max_unpacked_bytes: 1000000, max_bundle_files: 1000"
    with running(home, limits) as found:
        yield found


def test_a_debug_file_becomes_known_once(any_installation: Installation) -> None:
    client = any_installation.client
    for _ in range(2):
        found = client.debug_file(CRASHER, "crasher.debug")
        assert (found["state"], found["missingChunks"], found["detail"]) == ("ok", [], None)
    assert client.asked == [sha1(CRASHER)], "what is there is not asked for again"
    dif = found["dif"]
    assert (dif["debugId"], dif["cpuName"], dif["objectName"]) == (CRASHER_ID, "x86_64", "crasher.debug")
    assert dif["data"] == {"type": "dbg", "features": ["debug", "symtab"]}
    (row,) = any_installation.rows(debug_files)
    assert (row["project_id"], row["sha1"], row["size"]) == (1, sha1(CRASHER), len(CRASHER))
    (file,) = any_installation.source.debug_files(1, CRASHER_ID)
    assert (file.kind, file.features, file.arch) == ("elf", ("debug", "symtab"), "x86_64")
    assert any_installation.source.fetch(file.digest).read_bytes() == CRASHER
    assert any_installation.arrived() == {(1, debug_id_key(CRASHER_ID))}
    assert any_installation.source.debug_files(2, CRASHER_ID) == [], "another project knows nothing of it"


def test_a_bundle_becomes_known_to_its_projects(any_installation: Installation) -> None:
    client, source = any_installation.client, any_installation.source
    before = source.generation()
    for _ in range(2):
        found = client.bundle(RECORDED_BUNDLE, ("shop", "2"), RECORDED_RELEASE, RECORDED_DIST)
        assert found == {"state": "ok", "missingChunks": [], "detail": None}
    assert [(row["project_id"], row["files"]) for row in any_installation.rows(artifact_bundles)] == [
        (1, 2),
        (2, 2),
    ]
    assert source.generation() > before
    keys = {debug_id_key(RECORDED_ID), release_key(RECORDED_RELEASE, RECORDED_DIST)}
    assert any_installation.arrived() == {(project, key) for project in (1, 2) for key in keys}
    for project in (1, 2):
        script, source_map = source.artifacts_by_debug_id(project, RECORDED_ID)
        assert (script.type, script.source_map) == ("minified_source", "app.min.js.map")
        assert (source_map.type, source_map.url) == ("source_map", "~/assets/app.min.js.map")
        urls = ["~/other.js", "~/assets/app.min.js.map", "~/assets/app.min.js"]
        by_url = source.artifacts_by_url(project, RECORDED_RELEASE, RECORDED_DIST, urls)
        assert [found.url for found in by_url] == urls[1:]
        assert source.artifacts_by_url(project, RECORDED_RELEASE, None, urls) == []
    assert source.fetch(script.digest).read_bytes() == RECORDED_BUNDLE


def test_the_same_bundle_for_another_release_is_not_sent_again(any_installation: Installation) -> None:
    client, data = any_installation.client, small_bundle()
    for release in (None, "1.0", "2.0"):
        assert client.bundle(data, release=release)["state"] == "ok"
    assert client.asked == [sha1(data)]
    assert [row["release"] for row in any_installation.rows(artifact_bundles)] == [None, "1.0", "2.0"]
    assert {row["version"] for row in any_installation.rows(releases)} == {"1.0", "2.0"}, "and makes it"


def test_asking_how_far_a_bundle_is_writes_its_release_once(any_installation: Installation) -> None:
    client, data = any_installation.client, small_bundle()
    with patch.object(web_uploads, "save_release", side_effect=web_uploads.save_release) as saved:
        for _ in range(3):
            client.bundle(data, ("shop", "2"), "1.0")
    assert saved.call_count == 1
    assert {row["project_id"] for row in any_installation.rows(releases)} == {1, 2}


def test_the_newest_upload_comes_first(any_installation: Installation) -> None:
    for number in range(3):
        data = uploads.bundle({"a": bytes([number])}, {"files": {"a": {"url": "~/a", "type": "source"}}})
        any_installation.client.bundle(data, release="1.0")
    found = any_installation.source.artifacts_by_url(1, "1.0", None, ["~/a"])
    bundles = [row["digest"] for row in any_installation.rows(artifact_bundles)]
    assert [artifact.digest for artifact in found] == bundles[::-1]


def test_a_file_in_many_chunks_is_sent_where_it_is_missing(any_home: Home) -> None:
    data = symbols(5, lines=20_000)
    with running(any_home, chunk_bytes=100_000) as installation:
        client = installation.client
        cut = client.cut(data)
        some = dict(list(cut.items())[::2])
        assert client.send(some).status_code == 200
        assert client.debug_file(data)["state"] == "ok"
        assert client.asked == [name for name in cut if name not in some]
        (file,) = installation.source.debug_files(1, symbols_id(5))
        assert installation.source.fetch(file.digest).read_bytes() == data


def test_chunks_may_come_plain(shared: Installation) -> None:
    data = b"plain and simple"
    assert shared.client.send({sha1(data): data}, compress=False).status_code == 200
    assert shared.client.ask_debug_file(data, "a")["missingChunks"] == []


def test_a_fat_file_is_found_by_each_of_its_ids(any_installation: Installation) -> None:
    assert any_installation.client.debug_file(uploads.fat_macho(21, 22))["state"] == "ok"
    found = [any_installation.source.debug_files(1, symbols_id(number))[0] for number in (21, 22)]
    assert [(file.kind, file.arch) for file in found] == [("macho", "x86_64"), ("macho", "arm64")]


def test_mappings_of_both_clients(any_installation: Installation) -> None:
    client = any_installation.client
    found = client.debug_file(MAPPING, f"/proguard/{MAPPING_ID}.txt")
    assert (found["state"], found["dif"]["debugId"]) == ("ok", MAPPING_ID)
    other = symbols_id(77)
    answer = client.http.post(
        "/api/0/projects/acme/shop/files/dsyms/",
        files={"file": ("m.zip", uploads.zipped({f"proguard/{other}.txt": MAPPING}))},
    )
    assert [dif["debugId"] for dif in answer.json()] == [other], "the same mapping under another id"
    again = client.debug_file(MAPPING, f"/proguard/{symbols_id(78)}.txt")
    assert (again["state"], again["dif"]["debugId"]) == ("ok", symbols_id(78))
    for debug_id in (MAPPING_ID, other, symbols_id(78)):
        (file,) = any_installation.source.debug_files(1, debug_id)
        assert (file.kind, file.features) == ("proguard", ("mapping",))
    listed = client.http.get("/api/0/projects/acme/shop/files/dsyms/").json()
    assert [dif["debugId"] for dif in listed] == [symbols_id(78), other, MAPPING_ID]


@pytest.mark.parametrize(
    ("data", "name", "detail"),
    [
        (b"int main() {}", "main.c", "no debug file"),
        (b"\x7fELF", "cut", "no debug file"),
        (b"hello", f"/proguard/{MAPPING_ID}.txt", "no ProGuard mapping"),
        (symbols(0), "nil", "has a debug id"),
    ],
)
def test_a_bad_debug_file_ends_with_its_reason(
    shared: Installation, data: bytes, name: str, detail: str
) -> None:
    for _ in range(2):
        found = shared.client.debug_file(data, name)
        assert found["state"] == "error"
        assert detail in found["detail"]
    assert shared.rows(debug_files) == []


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (uploads.bundle({}, {"files": {}}, magic=b"nope"), "does not begin with SYSB"),
        (uploads.bundle({"a": b""}, None), "no manifest.json"),
        (uploads.bundle({"../a": b""}, {"files": {}}), "leads elsewhere"),
        (RECORDED_BUNDLE[:-30], "broken or cut off"),
        (uploads.bundle({"a": b"\0" * 2_000_000}, {"files": {}}), "allowed are 1000000"),
        (uploads.bundle({str(n): b"" for n in range(2000)}, {"files": {}}), "allowed are 1000"),
    ],
)
def test_a_bad_bundle_ends_with_its_reason(shared: Installation, data: bytes, detail: str) -> None:
    found = shared.client.bundle(data)
    assert found["state"] == "error"
    assert detail in found["detail"]
    assert shared.rows(artifact_bundles) == shared.rows(artifacts) == shared.rows(symbol_arrivals) == []


def test_a_file_that_is_not_what_its_checksum_says(shared: Installation) -> None:
    shared.client.send({sha1(CRASHER): CRASHER})
    wrong = "1" * 40
    found = shared.client.ask_debug_file(CRASHER, "crasher", checksum=wrong)
    assert found["state"] == "error"
    assert found["detail"] == f"the file has the checksum {sha1(CRASHER)}, not {wrong}"


def test_a_file_that_is_too_large_or_empty(shared: Installation) -> None:
    piece = b"x" * 1_000_000
    shared.client.send({sha1(piece): piece})
    for chunks, detail in (([sha1(piece)] * 6, "6000000 bytes, allowed are 5000000"), ([], "empty")):
        answer = shared.client.http.post(
            "/api/0/projects/acme/shop/files/difs/assemble/", json={"2" * 40: {"name": "a", "chunks": chunks}}
        )
        assert detail in answer.json()["2" * 40]["detail"]


@pytest.mark.parametrize(
    ("name", "data", "compress", "detail"),
    [
        ("3" * 40, b"data", True, f"chunk {'3' * 40} has the checksum {sha1(b'data')}"),
        ("../../etc/passwd", b"data", True, "instead of by its SHA-1"),
        (sha1(b"\0" * 3_000_000), b"\0" * 3_000_000, True, "larger than 2097152 bytes"),
        (sha1(b"\0" * 3_000_000), b"\0" * 3_000_000, False, "larger than 2097152 bytes"),
    ],
)
def test_bad_chunks_are_refused(
    shared: Installation, name: str, data: bytes, compress: bool, detail: str
) -> None:
    answer = shared.client.send({name: data}, compress=compress)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"no gzip", "is no gzip data"),
        (gzip.compress(b"cut off", mtime=0)[:-6], "is cut off"),
        (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), "goes on after the end"),
    ],
)
def test_bad_gzip_data_is_refused(shared: Installation, data: bytes, detail: str) -> None:
    answer = shared.client.http.post(CHUNKS, files={"file_gzip": ("4" * 40, data)})
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


def test_what_came_whole_before_a_bad_chunk_is_kept(shared: Installation) -> None:
    good = b"a good chunk"
    assert shared.client.send({sha1(good): good, "5" * 40: b"bad"}).status_code == 400
    assert shared.client.ask_debug_file(good, "a")["missingChunks"] == []


def test_a_request_that_is_too_large_is_refused(shared: Installation) -> None:
    many = {sha1(bytes([n]) * 2_000_000): bytes([n]) * 2_000_000 for n in range(6)}
    answer = shared.client.send(many, compress=False)
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"checksum": "x", "chunks": [], "projects": ["shop"]}',
        b'{"checksum": "%s", "chunks": ["../x"], "projects": ["shop"]}' % (b"6" * 40),
        b'{"checksum": "%s", "chunks": [], "projects": []}' % (b"6" * 40),
        b'{"checksum": "%s", "chunks": [], "projects": "shop"}' % (b"6" * 40),
        b'{"checksum": "%s", "chunks": [], "projects": ["shop"], "version": "%s"}' % (b"6" * 40, b"v" * 201),
        b"[" * 100_000,
    ],
)
def test_bodies_that_are_no_question_are_refused(shared: Installation, body: bytes) -> None:
    answer = shared.client.http.post("/api/0/organizations/acme/artifactbundle/assemble/", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["detail"]


def test_a_zip_that_cannot_be_used_is_refused(shared: Installation) -> None:
    for files in ({"file": b"no zip"}, {"file": uploads.zipped({"../a.txt": b""})}, {"other": b""}):
        answer = shared.client.http.post("/api/0/projects/acme/shop/files/dsyms/", files=files)
        assert answer.status_code == 400
        assert answer.json()["detail"]


def test_nothing_is_left_of_what_was_refused(shared: Installation) -> None:
    shared.client.bundle(b"SYSB")
    for store in (shared.home.blobs_url, shared.home.chunks_url):
        assert list((Path(store) / ".drafts").iterdir()) == []
    assert list(BlobStore(shared.home.blobs_url).digests()) == []


def test_a_full_disk_refuses_chunks(shared: Installation) -> None:
    with patch("tasks_pipeline.web_api.uploads.shutil.disk_usage") as usage:
        usage.return_value.free = 0
        answer = shared.client.send({sha1(b"a"): b"a"})
    assert (answer.status_code, answer.json()) == (507, {"detail": "not enough free disk"})


def filling_up(left: int) -> Callable[[object], SimpleNamespace]:
    """A disk with room for so many looks."""
    free = iter([10**12] * left)
    return lambda _path: SimpleNamespace(free=next(free, 0))


def test_a_disk_that_fills_up_while_a_zip_comes_refuses_it(
    shared: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LOOK_BYTES", 1000)
    data = uploads.zipped({"a.txt": os.urandom(100_000)})
    with patch.object(shutil, "disk_usage", filling_up(2)):  # the look before, and one while it is written
        answer = shared.client.http.post("/api/0/projects/acme/shop/files/dsyms/", files={"file": data})
    assert (answer.status_code, answer.json()) == (507, {"detail": "not enough free disk"})
    for store in (shared.home.blobs_url, shared.home.chunks_url):
        assert list((Path(store) / ".drafts").glob("*")) == []


def test_a_disk_that_fills_up_while_a_file_is_put_together_ends_it_with_the_reason(
    shared: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LOOK_BYTES", 1000)
    shared.client.send({sha1(CRASHER): CRASHER})
    with patch.object(shutil, "disk_usage", filling_up(0)):
        found = shared.client.ask_debug_file(CRASHER, "crasher")
    assert (found["state"], "not enough free disk" in found["detail"]) == ("error", True)
    assert shared.rows(debug_files) == []
    assert shared.client.ask_debug_file(CRASHER, "crasher")["state"] == "ok"


def test_unpacking_leaves_the_disk_what_it_needs(tmp_path: Path) -> None:
    """What a zip unpacks to is larger than what was sent, and written by another process."""
    path = tmp_path / "a.zip"
    path.write_bytes(uploads.zipped({"a.txt": b"x" * 20_000_000}))
    inspector = Inspector()
    (tmp_path / "fine").mkdir()
    assert len(inspector.unzip(path, tmp_path / "fine", 10**9, 0)) == 1
    (tmp_path / "full").mkdir()
    with pytest.raises(UploadError, match="not enough free disk"):
        inspector.unzip(path, tmp_path / "full", 10**9, 1 << 62)


def assembling(home: Home, state: StateDatabase) -> Assembling:
    """Another process's worth of assembling in the same installation."""
    chunks = ChunkStore(state, home.chunks_url)
    return Assembling(state, BlobStore(home.blobs_url), chunks, lambda: home.config().uploads)


BUNDLE = small_bundle()
BUNDLE_UPLOAD = BundleUpload((1, 2), sha1(BUNDLE), (sha1(BUNDLE),), "1.0", None)
FILE_UPLOAD = DebugFileUpload(1, sha1(CRASHER), (sha1(CRASHER),), "crasher.debug")


def test_two_at_once_make_one(any_installation: Installation) -> None:
    """Two receivers, say, that assemble the same files at the same time."""
    client = any_installation.client
    client.send({sha1(data): data for data in (BUNDLE, CRASHER)})
    several = [assembling(any_installation.home, any_installation.state) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: one.progress([BUNDLE_UPLOAD, FILE_UPLOAD], 60), several))
    for one in several:
        one.close()
    assert [[progress.state for progress in each] for each in found] == [["ok", "ok"]] * 3
    assert len(any_installation.rows(artifact_bundles)) == 2
    assert len(any_installation.rows(debug_files)) == 1


MOMENTS = {
    "put together, not looked at": Moment(tasks_pipeline.uploads.assembling, "_copy"),
    "looked at, not stored": Moment(BlobDraft, "keep", after=False),
    "stored, not known": Moment(BlobDraft, "keep"),
    "known, not committed": Moment(tasks_pipeline.uploads.known, "announce"),
    "committed": Moment(tasks_pipeline.uploads.assembling, "add_bundle"),
}


def assemble_and_die(home: Home, moment: str) -> None:
    """Assemble a bundle and die at the moment."""
    with at(MOMENTS[moment], die):
        assembling(home, StateDatabase(home)).progress([BUNDLE_UPLOAD], 60)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_assembling_and_done_again(home: Home, moment: str) -> None:
    with running(home) as installation:
        client = installation.client
        client.send({sha1(BUNDLE): BUNDLE})
        assert run_in_process(assemble_and_die, home, moment) == -signal.SIGKILL
        visible = [len(installation.rows(t)) for t in (artifact_bundles, artifacts, symbol_arrivals)]
        assert visible == ([2, 4, 4] if moment == "committed" else [0, 0, 0])
        assert client.bundle(BUNDLE, ("shop", "other"), "1.0")["state"] == "ok"
        assert client.asked == [], "its chunk is still there"
        assert [len(installation.rows(t)) for t in (artifact_bundles, artifacts, symbol_arrivals)] == [
            2,
            4,
            4,
        ]


def receive_and_die(home: Home, url_file: str) -> None:
    """Receive, and die when a chunk is on disk but not known."""

    def on_ready(url: str) -> None:
        Path(url_file).write_text(url)

    with at(Moment(ChunkStore, "add", after=False), die):
        serve(create_web(home), "127.0.0.1", 0, on_ready)


def test_killed_while_receiving_and_sent_again(home: Home, tmp_path: Path) -> None:
    with running(home) as installation:
        url_file = tmp_path / "url"
        with ThreadPoolExecutor(1) as pool:
            died = pool.submit(run_in_process, receive_and_die, home, str(url_file))
            wait_for("the receiver is there", lambda: url_file.exists() and url_file.read_text())
            token = installation.client.http.headers["authorization"].removeprefix("Bearer ")
            with (
                httpx.Client(base_url=url_file.read_text(), timeout=120) as http,
                pytest.raises(httpx.TransportError),
            ):
                Uploader(http, token).send({sha1(CRASHER): CRASHER})
            assert died.result() == -signal.SIGKILL
        assert installation.client.debug_file(CRASHER)["state"] == "ok"
        assert installation.client.asked == [sha1(CRASHER)]


def test_stale_chunks_go_and_can_come_again(any_home: Home) -> None:
    old, new = b"an old chunk", b"a new chunk"
    with running(any_home) as installation, open_stores(any_home) as stores:
        client = installation.client
        client.send({sha1(old): old})
        leftover = Path(any_home.chunks_url) / ".drafts" / "blob-left"
        leftover.write_bytes(b"of a killed process")
        moment = datetime.now(UTC)
        os.utime(leftover, (0, 0))
        client.send({sha1(new): new})
        assert drop_stale_chunks(stores, moment) == 1
        assert not leftover.exists()
        assert len(list(BlobStore(any_home.chunks_url).digests())) == 1
        assert client.ask_debug_file(old, "a")["missingChunks"] == [sha1(old)]
        assert client.ask_debug_file(new, "a")["missingChunks"] == []
        assert drop_stale_chunks(stores, datetime.now(UTC) + timedelta(hours=1)) == 1
        assert list(BlobStore(any_home.chunks_url).digests()) == []


def test_a_chunk_whose_bytes_are_gone_is_asked_for_again(any_installation: Installation) -> None:
    client = any_installation.client
    client.send({sha1(CRASHER): CRASHER})
    chunks = BlobStore(any_installation.home.chunks_url)
    for digest in chunks.digests():
        chunks.delete(digest)
    assert client.debug_file(CRASHER)["state"] == "ok"
    assert client.asked == [sha1(CRASHER)]


def test_blobs_in_object_storage_are_fetched_into_a_bounded_cache(home: Home) -> None:
    moved = replace(home, data_url=f"memory://{home.root.name}-{os.getpid()}")
    with running(moved) as installation:
        for number in (1, 2, 3):
            assert installation.client.debug_file(symbols(number, lines=100))["state"] == "ok"
        cache = home.root / "cache"
        size = len(symbols(1, lines=100))
        source = StateSymbolSource(installation.state, BlobStore(moved.blobs_url), cache, size * 2)
        (first,) = source.debug_files(1, symbols_id(1))
        path = source.fetch(first.digest)
        assert path.read_bytes() == symbols(1, lines=100)
        os.utime(path, (0, 0))
        other = StateSymbolSource(installation.state, BlobStore(moved.blobs_url), cache, size * 2)
        for number in (2, 3):
            (file,) = other.debug_files(1, symbols_id(number))
            assert other.fetch(file.digest).read_bytes() == symbols(number, lines=100)
        assert not path.exists(), "the one longest untouched has gone"
        with pytest.raises(SymbolFileMissing):
            source.fetch("0" * 64)

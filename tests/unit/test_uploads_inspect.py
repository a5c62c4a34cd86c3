"""What is found in uploaded files, and that hostile ones end with a reason: the reader without its process."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.uploads.facts import Bundle, BundleFile, UploadError
from tasks_pipeline.uploads.inspect import MAX_ZIPPED_FILES, bundle, debug_file, proguard_id, unzip
from tests.support import uploads
from tests.support.uploads import CRASHER_ID, DATA, MAP_ID, MAPPING_ID, RECORDED_ID, symbols_id

LIMITS = ("50000", "1000000")


def written(path: Path, data: bytes) -> Path:
    file = path / "uploaded"
    file.write_bytes(data)
    return file


def read_bundle(path: Path, data: bytes, files: str = LIMITS[0], size: str = LIMITS[1]) -> Bundle:
    found = bundle(written(path, data), files, size).bundle
    assert found is not None
    return found


def test_an_elf_file() -> None:
    (found,) = debug_file(DATA / "crasher.debug", "crasher.debug").objects
    assert (found.debug_id, found.kind, found.object_kind, found.arch) == (CRASHER_ID, "elf", "dbg", "x86_64")
    assert found.code_id == "e9a0a2304917d32506c0d4244f61b852654c05a0"
    assert found.features == ("debug", "symtab")


def test_a_fat_file_has_an_object_for_each_architecture(tmp_path: Path) -> None:
    found = debug_file(written(tmp_path, uploads.fat_macho(1, 2)), "Shop").objects
    assert [(o.debug_id, o.kind, o.arch) for o in found] == [
        (symbols_id(1), "macho", "x86_64"),
        (symbols_id(2), "macho", "arm64"),
    ]


def test_a_mapping_has_the_id_in_its_name() -> None:
    (found,) = debug_file(DATA / "mapping.txt", f"/proguard/{MAPPING_ID}.txt").objects
    assert (found.debug_id, found.kind, found.features) == (MAPPING_ID, "proguard", ("mapping",))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"/proguard/{MAPPING_ID}.txt", MAPPING_ID),
        (f"proguard/{MAPPING_ID.upper()}.txt", MAPPING_ID),
        (f"{MAPPING_ID.replace('-', '')}.txt", MAPPING_ID),
        ("/proguard/mapping.txt", None),
        ("crasher.debug", None),
        ("", None),
    ],
)
def test_names_of_mappings(name: str, expected: str | None) -> None:
    assert proguard_id(name) == expected


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"int main() {}", "main.c", "no debug file"),
        (b"\x7fELF" + b"\0" * 60, "cut", "no debug file|no object"),
        (b"\x7fELF", "cut", "no debug file"),
        (b"MDMP" + b"\0" * 100, "mini.dmp", "no debug file"),
        (b"\x7fELF\0\0", f"/proguard/{MAPPING_ID}.txt", "no ProGuard mapping"),
        (b"hello\n", f"/proguard/{MAPPING_ID}.txt", "no ProGuard mapping"),
        (uploads.symbols(0), "nil", "no object in the file has a debug id"),
    ],
)
def test_what_is_no_debug_file_says_so(tmp_path: Path, data: bytes, name: str, reason: str) -> None:
    with pytest.raises(UploadError, match=reason):
        debug_file(written(tmp_path, data), name)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(uploads.CRASHER)
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file = written(tmp_path, bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    for look in (lambda: debug_file(file, "a"), lambda: bundle(file, *LIMITS)):
        with suppress(UploadError):  # and nothing else
            assert look() is not None


def test_a_recorded_bundle() -> None:
    found = bundle(DATA / "artifact-bundle.sysb", *LIMITS).bundle
    assert found is not None
    assert {(f.type, f.url, f.debug_id, f.source_map) for f in found.files} == {
        ("minified_source", "~/assets/app.min.js", RECORDED_ID, "app.min.js.map"),
        ("source_map", "~/assets/app.min.js.map", RECORDED_ID, None),
    }
    with zipfile.ZipFile(DATA / "artifact-bundle.sysb") as zipped:
        assert {f.path for f in found.files} < set(zipped.namelist())


def test_headers_in_any_case_and_ids_in_any_form(tmp_path: Path) -> None:
    found = read_bundle(tmp_path, uploads.small_bundle(MAP_ID.replace("-", "")))
    assert found.files[0] == BundleFile("files/a.js", "minified_source", "~/a.js", MAP_ID, "a.js.map")


def test_what_is_of_the_wrong_type_in_a_manifest_is_absent(tmp_path: Path) -> None:
    stated = {
        "release": 7,
        "dist": "x" * 65,
        "files": {"a": None, "b": {"type": 1, "url": [], "headers": {"debug-id": "no id", "sourcemap": {}}}},
    }
    found = read_bundle(tmp_path, uploads.bundle({"a": b"", "b": b""}, stated))
    assert found == Bundle(None, None, tuple(BundleFile(p, "", None, None, None) for p in ("a", "b")))


MANIFEST = {"files": {}}
BOMB = uploads.bundle({"a": b"\0" * 2_000_000}, MANIFEST)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (uploads.bundle({}, MANIFEST, magic=b"SYSX"), "does not begin with SYSB"),
        (b"", "does not begin with SYSB"),
        (uploads.bundle({}, MANIFEST, version=99), "version 99"),
        (uploads.bundle({"a": b""}, None), "no manifest.json"),
        (uploads.bundle({}, {"files": []}), "no `files`"),
        (uploads.bundle({}, []), "no JSON object"),
        (uploads.bundle({"manifest.json": b"{"}, None), "manifest.json cannot be read"),
        (uploads.bundle({"manifest.json": b'{"a":' * 500}, None), "manifest.json cannot be read"),
        (uploads.bundle({}, {"files": {"gone": {}}}), "not in the bundle: 'gone'"),
        (uploads.bundle({"../../etc/passwd": b""}, MANIFEST), "leads elsewhere"),
        (uploads.bundle({"a/../../b": b""}, MANIFEST), "leads elsewhere"),
        (uploads.bundle({"/etc/passwd": b""}, MANIFEST), "leads elsewhere"),
        (uploads.bundle({"..\\b": b""}, MANIFEST), "leads elsewhere"),
        (uploads.bundle({"a\x1b[2J": b""}, MANIFEST), "cannot be used"),
        (uploads.bundle({"a" * 1001: b""}, MANIFEST), "longer than 1000 bytes"),
        (uploads.RECORDED_BUNDLE[:-30], "broken or cut off"),
        (b"SYSB\x02\0\0\0PK", "broken or cut off"),
        (BOMB, "2000013 bytes, allowed are 1000000"),
    ],
)
def test_bundles_that_cannot_be_used(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(UploadError, match=reason):
        read_bundle(tmp_path, data)


def test_a_manifest_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(uploads.bundle({}, {"files": {}, "padding": "x" * 10_000}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")  # uncompressed size in the directory
    with pytest.raises(UploadError, match="broken"):
        read_bundle(tmp_path, bytes(data))


def test_too_many_files(tmp_path: Path) -> None:
    many = {f"f/{n}": b"" for n in range(100_000)}
    with pytest.raises(UploadError, match="100001 files, allowed are 50000"):
        read_bundle(tmp_path, uploads.bundle(many, MANIFEST))


def test_a_zip_is_unpacked_under_numbers(tmp_path: Path) -> None:
    file = written(tmp_path, uploads.zipped({"proguard/a.txt": b"one", "b/": b"", "c": b"two"}))
    found = unzip(file, str(tmp_path), "100").unpacked
    assert [(f.name, (tmp_path / f.unpacked).read_bytes()) for f in found] == [
        ("proguard/a.txt", b"one"),
        ("c", b"two"),
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK", "broken or cut off"),
        (uploads.zipped({"../a": b""}), "leads elsewhere"),
        (uploads.zipped({"a": b"\0" * 1000}), "1000 bytes, allowed are 100"),
        (uploads.zipped({str(n): b"" for n in range(MAX_ZIPPED_FILES + 1)}), "1001 files"),
    ],
)
def test_zips_that_are_not_unpacked(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(UploadError, match=reason):
        unzip(written(tmp_path, data), str(tmp_path), "100")
    assert [path.name for path in tmp_path.iterdir()] == ["uploaded"]

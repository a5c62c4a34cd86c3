"""The process that looks into one uploaded file, within bounds of memory and time, and prints its Findings as JSON.

Uploads are hostile until proven otherwise. Whatever a file does to its reader ends here: `inspection.py` starts this
as a process of its own and ends it when it takes too long.
"""

from __future__ import annotations

import re
import resource
import sys
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.storage.disk import DiskFull, Room
from tasks_pipeline.uploads.facts import Bundle, BundleFile, DebugObject, Findings, UploadError, ZippedFile

MEMORY_BYTES = 1024**3
CPU_SECONDS = 120
MAX_OBJECTS = 256
MAX_MANIFEST_BYTES = 64 * 1024**2
MAX_PATH_BYTES = 1000
"""Paths are part of a key in the database, which bounds the length of keys."""
MAX_RELEASE = 200
MAX_DIST = 64
MAX_URL = 4096
MAX_ZIPPED_FILES = 1000
PIECE = 1024**2

BUNDLE_MAGIC = b"SYSB"
BUNDLE_VERSIONS = (2, 3)
_NIL = "00000000-0000-0000-0000-000000000000"
_PROGUARD_NAME = re.compile(
    r"(?:^|.*/)([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})\.txt", re.I
)
_PROGUARD_CLASS = re.compile(rb"\S+ -> \S+:\s*(#.*)?")
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What reading a broken, cut off, encrypted or exotic zip raises."""


def main(arguments: list[str]) -> None:
    """`debug_file PATH NAME`, `bundle PATH MAX_FILES MAX_BYTES` or `unzip PATH FOLDER MAX_BYTES [LEAST_FREE]`."""
    kind, path, *rest = arguments
    _bound_this_process(writes=kind == "unzip")
    try:
        findings = KINDS[kind](Path(path), *rest)
    except UploadError as error:
        findings = Findings(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(findings))


def proguard_id(name: str) -> str | None:
    """The id in the name of a ProGuard mapping (`/proguard/<uuid>.txt`); None when it is not the name of one."""
    match = _PROGUARD_NAME.fullmatch(name)
    return str(uuid.UUID(match[1])) if match else None


def debug_file(path: Path, name: str) -> Findings:
    """The objects in a debug file: several in a fat Mach-O, one elsewhere. Raises UploadError."""
    debug_id = proguard_id(name)
    if debug_id is not None:
        return Findings(objects=(_proguard(path, debug_id),))
    return Findings(objects=tuple(_objects(path)))


def _proguard(path: Path, debug_id: str) -> DebugObject:
    with path.open("rb") as file:
        if not _is_proguard(file):
            raise UploadError("this is no ProGuard mapping: no line of the form `original.Class -> a.b:`")
    return DebugObject(debug_id, None, "proguard", "proguard", "any", ("mapping",))


def _is_proguard(file: IO[bytes]) -> bool:
    """Whether the first line that is no comment names a class; a mapping of nothing is one, too."""
    while line := file.readline(PIECE):
        line = line.strip()
        if line and not line.startswith(b"#"):
            return _PROGUARD_CLASS.fullmatch(line) is not None
    return True


def _objects(path: Path) -> Iterator[DebugObject]:
    from symbolic.debuginfo import Archive
    from symbolic.exceptions import SymbolicError

    try:
        archive = Archive.open(str(path))
        count = archive.object_count
        if count > MAX_OBJECTS:
            raise UploadError(f"the file holds {count} objects, allowed are {MAX_OBJECTS}")
        objects = [_object(found) for found in archive.iter_objects()]
    except SymbolicError as error:
        raise UploadError(f"this is no debug file that can be read: {_line(str(error))}") from error
    usable = [found for found in objects if found.debug_id != _NIL]
    if not usable:
        raise UploadError("no object in the file has a debug id; link it with a build id")
    yield from usable


def _object(found: Any) -> DebugObject:
    return DebugObject(
        debug_id=found.debug_id,
        code_id=(found.code_id or "")[:64] or None,
        kind=found.file_format[:16],
        object_kind=found.kind[:16],
        arch=found.arch[:32],
        features=tuple(sorted(found.features)),
    )


def bundle(path: Path, max_files: str, max_bytes: str) -> Findings:
    """What the manifest of an artifact bundle says (`SYSB`, version, then a zip). Raises UploadError."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] != BUNDLE_MAGIC:
            raise UploadError("this is no artifact bundle: it does not begin with SYSB")
        version = int.from_bytes(head[4:8], "little")
        if version not in BUNDLE_VERSIONS:
            raise UploadError(f"the bundle has version {version}, known are 2 and 3")
        with _open_zip(file) as zipped:
            names = _checked_names(zipped, int(max_files), int(max_bytes))
            manifest = _manifest(zipped)
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise UploadError("manifest.json of the bundle has no `files`")
    return Findings(
        bundle=Bundle(
            release=_text(manifest.get("release"), MAX_RELEASE),
            dist=_text(manifest.get("dist"), MAX_DIST),
            files=tuple(_bundle_file(name, about, names) for name, about in files.items()),
        )
    )


def _manifest(zipped: zipfile.ZipFile) -> Mapping[str, Any]:
    try:
        info = zipped.getinfo("manifest.json")
    except KeyError:
        raise UploadError("the bundle has no manifest.json") from None
    if info.file_size > MAX_MANIFEST_BYTES:
        raise UploadError(f"manifest.json is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        value = decode_json(b"".join(_read(zipped, info)))
    except PayloadError as error:
        raise UploadError(f"manifest.json cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UploadError("manifest.json is no JSON object")
    return value


def _bundle_file(name: str, about: object, names: set[str]) -> BundleFile:
    from symbolic.debuginfo import normalize_debug_id
    from symbolic.exceptions import SymbolicError

    if name not in names:
        raise UploadError(f"manifest.json names a file that is not in the bundle: {name[:200]!r}")
    about = about if isinstance(about, dict) else {}
    stated = about.get("headers")
    headers = {k.lower(): v for k, v in stated.items()} if isinstance(stated, dict) else {}
    debug_id = _text(headers.get("debug-id"), MAX_DIST)
    if debug_id is not None:
        try:
            debug_id = normalize_debug_id(debug_id)
        except SymbolicError:
            debug_id = None  # the file can still be found by its URL
    return BundleFile(
        path=name,
        type=_text(about.get("type"), 32) or "",
        url=_url(about.get("url")),
        debug_id=debug_id,
        source_map=_text(headers.get("sourcemap") or headers.get("x-sourcemap"), MAX_URL),
    )


def _url(given: object) -> str | None:
    """The URL of a file as it is looked up: see `plain_url`."""
    from tasks_pipeline.symbolication.js_names import plain_url

    url = _text(given, MAX_URL)
    return url and (_text(plain_url(url), MAX_URL) or url)


def unzip(path: Path, folder: str, max_bytes: str, least_free: str = "0") -> Findings:
    """Unpack the files of a zip into a folder, under numbers instead of their names. Raises UploadError."""
    unpacked = []
    room = Room(Path(folder), lambda: int(least_free))
    with path.open("rb") as file, _open_zip(file) as zipped:
        _checked_names(zipped, MAX_ZIPPED_FILES, int(max_bytes))
        for number, info in enumerate(info for info in zipped.infolist() if not info.is_dir()):
            with (Path(folder) / str(number)).open("xb") as target:
                for piece in _read(zipped, info):
                    _take(room, len(piece))
                    target.write(piece)
            unpacked.append(ZippedFile(info.filename, str(number)))
    return Findings(unpacked=tuple(unpacked))


def _take(room: Room, size: int) -> None:
    try:
        room.take(size)
    except DiskFull as error:
        raise UploadError("not enough free disk") from error


def _open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _BROKEN_ZIP as error:
        raise UploadError(f"the zip is broken or cut off: {_line(str(error))}") from error


def _read(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """An entry in pieces; never more than the size it states, and an error when that was a lie."""
    try:
        with zipped.open(info) as entry:
            while piece := entry.read(PIECE):
                yield piece
    except _BROKEN_ZIP as error:
        raise UploadError(f"{info.filename[:200]!r} in the zip is broken: {_line(str(error))}") from error


def _checked_names(zipped: zipfile.ZipFile, max_files: int, max_bytes: int) -> set[str]:
    """The names in a zip. Raises UploadError when there are too many, too large a sum, or one that leads elsewhere."""
    entries = zipped.infolist()
    if len(entries) > max_files:
        raise UploadError(f"the zip holds {len(entries)} files, allowed are {max_files}")
    size = sum(info.file_size for info in entries)
    if size > max_bytes:
        raise UploadError(f"the files in the zip have {size} bytes, allowed are {max_bytes}")
    for info in entries:
        _check_name(info.filename)
    return {info.filename for info in entries if not info.is_dir()}


def _check_name(name: str) -> None:
    if len(name.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        raise UploadError(f"the name of a file in the zip is longer than {MAX_PATH_BYTES} bytes")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise UploadError(f"the name of a file in the zip leads elsewhere or cannot be used: {name[:200]!r}")


def _text(value: object, longest: int) -> str | None:
    """A text that fits; anything else is as good as absent."""
    return value if isinstance(value, str) and 0 < len(value) <= longest else None


def _line(text: str) -> str:
    return (text.strip() or "unknown").splitlines()[0][:200]


def _bound_this_process(*, writes: bool) -> None:
    """Limits that the kernel keeps. Mapped files do not count as memory; a process out of bounds dies."""
    bounds = [
        (resource.RLIMIT_DATA, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ]
    if not writes:
        bounds.append((resource.RLIMIT_FSIZE, 0))
    for what, limit in bounds:
        _, hard = resource.getrlimit(what)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


KINDS: dict[str, Callable[..., Findings]] = {"debug_file": debug_file, "bundle": bundle, "unzip": unzip}

if __name__ == "__main__":
    main(sys.argv[1:])

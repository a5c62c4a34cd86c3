"""Lookups in uploaded files by means of symbolic and zipfile. Runs in the worker process alone: see `worker`."""

from __future__ import annotations

import base64
import binascii
import re
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError
from symbolic.proguard import ProguardMapper
from symbolic.sourcemapcache import SourceMapCache
from symbolic.symcache import SymCache

from tasks_pipeline.protocol.bounds import MAX_LINE
from tasks_pipeline.symbolication.cache import read_entry, write_entry
from tasks_pipeline.symbolication.demangle import demangle
from tasks_pipeline.symbolication.r8 import Annotations
from tasks_pipeline.symbolication.recent import Recent
from tasks_pipeline.symbolication.requests import (
    CONTEXT_LINES,
    MAX_LOCATIONS,
    File,
    FindReference,
    JavaFrame,
    JavaLocation,
    Lines,
    Location,
    LookupAddresses,
    LookupJava,
    LookupPositions,
    ReadBundledLines,
    ReadLines,
    Token,
)
from tasks_pipeline.symbolication.source_maps import usable_map

MAX_COLUMN = MAX_LINE_NUMBER = 2**31 - 1
MAX_ADDRESS = 2**64 - 1
MAX_SOURCES = 100_000  # files named by the manifest of a source bundle
NO_START = 2**32 - 1  # what a symbol table says for the address of an inlined function
MANIFEST_BYTES = 64 * 1024 * 1024
_BUNDLE_WEIGHT = 1024 * 1024  # of an open bundle's directory
_LONGEST = 2048  # characters of a name that a file gives; an event keeps less

_REFERENCE = re.compile(rb"//[#@]\s*sourceMappingURL=([^\s'\"]{1,2048})\s*$", re.MULTILINE)
_REFERENCE_TAIL = 65_536  # bytes at the end of a source in which the comment is looked for
_DATA_URL = re.compile(rb"//[#@]\s*sourceMappingURL=data:([^,\s]{0,200}),([^\s'\"]*)")
_TRAILING_JUNK = b")]}'"  # the first line of JSON that must not be run as a script


class Unusable(Exception):
    """A file cannot be used: `status` (malformed, too_large) and the reason."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Tables:
    """Open files and tables, the latest used ones kept. Every lookup raises Unusable or SymbolicError."""

    def __init__(self, max_file_bytes: int, memory_bytes: int) -> None:
        self._max_file_bytes = max_file_bytes
        self._open: Recent[object, Any] = Recent(memory_bytes)
        self.stored = False  # an entry was written since this was last set

    def positions(self, request: LookupPositions) -> list[Token | None]:
        """Original positions in a source map."""
        cache = self._kept((request.source, request.source_map), lambda: self._source_map(request))
        return [_token(cache, line, column) for line, column in request.positions]

    def reference(self, request: FindReference) -> list[str]:
        """Where the source says that its map is."""
        return [find_reference(self._read(request.source))]

    def addresses(self, request: LookupAddresses) -> list[list[Location]]:
        """Functions and lines at addresses, innermost first."""
        table = self._kept(request.table, lambda: self._symbol_table(request))
        return [_locations(table, address) for address in request.addresses]

    def java(self, request: LookupJava) -> list[JavaFrame]:
        """Original frames, innermost first, and what R8 says of them; a class without its method when no more is known."""
        mapper, annotations = self._kept(request.mapping, lambda: self._mapping(request.mapping))
        return [JavaFrame(_java_frames(mapper, *frame), annotations.of(*frame)) for frame in request.frames]

    def lines(self, request: ReadLines) -> list[Lines | None]:
        """Lines of a source."""
        source = self._kept((request.source, "text"), lambda: self._text(request.source))
        return [lines_around(source, line) for line in request.lines]

    def bundled_lines(self, request: ReadBundledLines) -> list[Lines | None]:
        """Lines of sources in a source bundle; None for those that it does not have."""
        return [self._bundled(request.bundle, path, line) for path, line in request.places]

    def _bundled(self, path: str, source: str, line: int) -> Lines | None:
        bundle: _Bundle = self._kept(path, lambda: (_Bundle(path), _BUNDLE_WEIGHT))
        name = bundle.names.get(source)
        if name is None:
            return None
        try:
            text = self._kept((path, name), lambda: self._bundled_text(bundle, name))
        except Unusable:
            return None  # the bundle's other sources are as good as ever
        return lines_around(text, line)

    def _kept(self, key: object, make: Callable[[], tuple[Any, int]]) -> Any:
        found = self._open.get(key)
        if found is None:
            value, weight = make()
            found = self._open.put(key, value, weight)
        return found

    def _read(self, file: File) -> bytes:
        """The whole file, unpacked into the cache when it lies in a bundle."""
        if file.member is None:
            with open(file.path, "rb") as opened:
                data = opened.read(self._max_file_bytes + 1)
            if len(data) > self._max_file_bytes:
                raise Unusable("too_large", f"larger than {self._max_file_bytes} bytes")
            return data
        kept = read_entry(file.target) if file.target else None
        if kept is not None:
            return kept
        with open_bundle(file.path) as bundle:
            data = read_member(bundle, file.member, self._max_file_bytes)
        if file.target:
            write_entry(file.target, data)
            self.stored = True
        return data

    def _source_map(self, request: LookupPositions) -> tuple[Any, int]:
        source = self._read(request.source) if request.source else b""
        given = self._read(request.source_map) if request.source_map else inline_map(source)
        source_map = plain_map(given)
        # nobody looks at the source but for the scopes of its functions, and what is no text has none
        text = _utf8(source)
        try:
            cache = SourceMapCache.from_bytes(text, source_map)
        except SymbolicError:
            mended = usable_map(source_map)
            if mended is None:
                raise
            cache = SourceMapCache.from_bytes(text, mended)
        return cache, len(source) + len(source_map)

    def _symbol_table(self, request: LookupAddresses) -> tuple[Any, int]:
        kept = read_entry(request.table)
        if kept is not None:
            try:
                return SymCache.from_bytes(kept), len(kept)  # type: ignore[no-untyped-call]
            except SymbolicError:
                pass  # of no use any more: made again
        try:
            object_ = Archive.open(request.path).get_object(debug_id=request.debug_id)
        except LookupError:
            raise Unusable("malformed", f"no object with debug id {request.debug_id} in it") from None
        made = object_.make_symcache()
        with made.open_stream() as stream:  # type: ignore[no-untyped-call]
            data = stream.read()
        write_entry(request.table, data)
        self.stored = True
        return made, len(data)

    def _mapping(self, file: File) -> tuple[tuple[Any, Annotations], int]:
        data = self._read(file)
        mapper = ProguardMapper.open(file.path)
        if b" -> " not in data:
            raise Unusable("malformed", "no mapping of classes in it")
        return (mapper, Annotations(data)), 4 * len(data)

    def _text(self, file: File) -> tuple[list[str], int]:
        data = self._read(file)
        return split_lines(data), 4 * len(data)

    def _bundled_text(self, bundle: _Bundle, name: str) -> tuple[list[str], int]:
        data = read_member(bundle.file, name, self._max_file_bytes)
        return split_lines(data), 4 * len(data)


class _Bundle:
    """An open source bundle; `names` are its members by the paths that the debug file names."""

    def __init__(self, path: str) -> None:
        self.file = open_bundle(path)
        manifest = read_member(self.file, "manifest.json", MANIFEST_BYTES)
        try:
            files = msgspec.json.decode(manifest, type=_Manifest).files
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unusable("malformed", f"manifest.json: {error}") from error
        self.names: dict[str, str] = {}
        for name, facts in list(files.items())[:MAX_SOURCES]:
            for known in (facts.path, facts.url):
                if known:
                    self.names.setdefault(known, name)


class _ManifestFile(msgspec.Struct):
    path: str | None = None
    url: str | None = None


class _Manifest(msgspec.Struct):
    files: dict[str, _ManifestFile]


def open_bundle(path: str) -> zipfile.ZipFile:
    """A bundle: a zip, usually behind eight bytes of its own header. Raises Unusable."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise Unusable("malformed", f"no bundle: {error}") from error


def read_member(bundle: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A file in a bundle, whatever size it claims; at most `limit` bytes are unpacked. Raises Unusable."""
    try:
        with bundle.open(name) as file:
            data = file.read(limit + 1)
    except (
        KeyError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        OSError,
    ) as error:
        raise Unusable("malformed", f"{name[:200]}: {error}") from error
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]
        raise Unusable("malformed", f"{name[:200]}: {error}") from error
    if len(data) > limit:
        raise Unusable("too_large", f"{name[:200]}: larger than {limit} bytes unpacked")
    return data


def find_reference(source: bytes) -> str:
    """The last sourceMappingURL comment: "" for none, "data:" for a map inside."""
    if _DATA_URL.search(source):
        return "data:"
    found = _REFERENCE.findall(source[-_REFERENCE_TAIL:])
    return found[-1].decode("utf-8", "replace") if found else ""


def inline_map(source: bytes) -> bytes:
    """The map inside a source. Raises Unusable."""
    found = _DATA_URL.search(source)
    if found is None:
        raise Unusable("malformed", "no map inside the source")
    kind, data = found.groups()
    try:
        return base64.b64decode(data) if kind.endswith(b";base64") else unquote_to_bytes(data)
    except binascii.Error as error:
        raise Unusable("malformed", f"map inside the source: {error}") from error


def plain_map(source_map: bytes) -> bytes:
    """A source map without what some servers put before JSON."""
    source_map = source_map.removeprefix(b"\xef\xbb\xbf")
    if source_map.startswith(_TRAILING_JUNK):
        return source_map.partition(b"\n")[2]
    return source_map


def _utf8(source: bytes) -> bytes:
    try:
        source.decode()
    except UnicodeDecodeError:
        return b""
    return source


def split_lines(data: bytes) -> list[str]:
    """The lines of a source."""
    return data.decode("utf-8", "replace").splitlines()


def lines_around(source: list[str], line: int, column: int = 0) -> Lines | None:
    """A line (from 1) of a source and its neighbours; None when there is no such line."""
    if not 1 <= line <= len(source):
        return None
    return Lines(
        [cut_line(text) for text in source[max(0, line - 1 - CONTEXT_LINES) : line - 1]],
        cut_line(source[line - 1], column),
        [cut_line(text) for text in source[line : line + CONTEXT_LINES]],
    )


def cut_line(line: str, column: int = 0) -> str:
    """What an event keeps of a source line: of a long one the part around a column (from 1)."""
    line = line.rstrip("\r\n")
    if len(line) <= MAX_LINE:
        return line
    room = MAX_LINE - 12  # for the marks on both sides
    start = max(0, min(column - room // 2, len(line) - room))
    end = start + room
    return f"{'...' if start else ''}{line[start:end]}{'...' if end < len(line) else ''}"


def _token(cache: Any, line: int, column: int) -> Token | None:
    if not (1 <= line <= MAX_COLUMN and 1 <= column <= MAX_COLUMN):
        return None
    found = cache.lookup(line, column, CONTEXT_LINES)
    if found is None or not (1 <= found.line <= MAX_LINE_NUMBER and 1 <= found.col <= MAX_COLUMN):
        return None  # also negative places, which symbolic takes for huge ones
    context = None
    if found.context_line is not None:
        context = Lines(
            [cut_line(text) for text in found.pre_context],
            cut_line(found.context_line, found.col),
            [cut_line(text) for text in found.post_context],
        )
    source, name, function = map(_cut, (found.src, found.name, found.function_name))
    return Token(found.line, found.col, source, name, function, context)


def _cut(name: str | None) -> str | None:
    """A name as it is kept for each position that it stands at: files give some of any length."""
    return name[:_LONGEST] if name else name


def _locations(table: Any, address: int) -> list[Location]:
    if not 0 <= address <= MAX_ADDRESS:
        return []
    return [
        Location(
            function=demangle(found.symbol),
            mangled=found.symbol,
            path=found.full_path,
            line=found.line,
            start=-1 if found.sym_addr == NO_START else found.sym_addr,
        )
        for found in table.lookup(address)[:MAX_LOCATIONS]
        if found.symbol
    ]


def _java_frames(mapper: Any, class_name: str, method: str, line: int) -> list[JavaLocation]:
    if method and 0 < line <= MAX_LINE_NUMBER:
        found = mapper.remap_frame(class_name, method, line)
        if found:
            return [
                JavaLocation(f.class_name[:_LONGEST], f.method[:_LONGEST], _cut(f.file) or None, f.line)
                for f in found[:MAX_LOCATIONS]
            ]
    named = mapper.remap_method(class_name, method) if method else None
    if named:
        return [JavaLocation(named[0][:_LONGEST], named[1][:_LONGEST], None, 0)]
    original = mapper.remap_class(class_name)
    return [JavaLocation(original[:_LONGEST], "", None, 0)] if original else []

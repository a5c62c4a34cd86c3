"""Multipart forms read as they come in: each part goes to a sink, and memory stays flat. What a part means: uploads.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from tasks_pipeline.web_api.calls import ApiError

PIECE = 1024 * 1024
"""Bytes handed to a thread at once: a thread's turn costs more than a small piece is worth."""
MAX_NAME = 1000
MAX_BOUNDARY = 70
"""As RFC 2046 has it."""


class Part(Protocol):
    """Where the bytes of a part go. Both methods may raise ApiError."""

    def write(self, data: bytes) -> None:
        """Take bytes."""

    def finish(self) -> None:
        """There are no more."""


OpenPart = Callable[[str, str], Part]
"""A part's sink by the name of its field and of its file (empty when it has none). May raise ApiError."""


async def read_form(request: Request, open_part: OpenPart, *, max_bytes: int, max_parts: int) -> None:
    """Read a form to its end. Raises ApiError: 413 when it is too large, 400 when it is broken or cut off."""
    reader = _FormReader(request.headers.get("content-type", ""), open_part, max_parts)
    size, buffer = 0, bytearray()
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise ApiError(413, f"the request is larger than {max_bytes} bytes")
        buffer += piece
        if len(buffer) >= PIECE:
            await run_in_threadpool(reader.write, bytes(buffer))
            buffer.clear()
    await run_in_threadpool(reader.write, bytes(buffer))
    reader.check_end()


class _FormReader:
    def __init__(self, content_type: str, open_part: OpenPart, max_parts: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary or len(boundary) > MAX_BOUNDARY:
            raise ApiError(400, "the content type is not multipart/form-data with a boundary")
        self._open_part = open_part
        self._max_parts = max_parts
        self._parts = 0
        self._part: Part | None = None
        self._disposition = b""
        self._header = b""
        self._value = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._form_end,
            },
        )

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise ApiError(400, f"the form cannot be read: {error}") from error

    def check_end(self) -> None:
        if not self._ended:
            raise ApiError(400, "the form is cut off")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_parts:
            raise ApiError(400, f"the form has more than {self._max_parts} parts")
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        names = (options.get(name, b"").decode("utf-8", "replace") for name in (b"name", b"filename"))
        self._part = self._open_part(*(name[:MAX_NAME] for name in names))

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None
        self._part.write(data[start:end])

    def _end(self) -> None:
        assert self._part is not None
        self._part.finish()

    def _form_end(self) -> None:
        self._ended = True

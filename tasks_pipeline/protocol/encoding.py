"""Content encodings of request bodies, undone within a limit whatever the bytes are."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol, cast

import brotli
import deflate
import zstandard
from isal import isal_zlib

ENCODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})

_GZIP, _ZLIB, _RAW = 31, 15, -15  # wbits
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)  # its stubs declare an instance
_ZSTD_WINDOW = 8 * 1024 * 1024
_CHUNK = 128 * 1024


class EncodingError(ValueError):
    """The body is not what its encoding says: corrupt, cut off, followed by more, or of an unknown encoding."""


class TooLarge(EncodingError):
    """The plain body is larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"larger than {limit} bytes after decompression")


class _Inflate(Protocol):
    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The plain bytes of a body of at most `limit` plain bytes.

    `encoding` is "", identity, gzip, deflate (with or without zlib wrapper), br or zstd, in lower case. Raises
    TooLarge, or EncodingError for everything else. Never holds much more than `limit` bytes of output.
    """
    if encoding in ("", "identity"):
        plain = body
    elif encoding == "gzip":
        plain = _gunzip(body, limit)
    elif encoding == "deflate":
        try:
            plain = _inflate(body, _ZLIB, limit)
        except TooLarge:
            raise
        except EncodingError:
            plain = _inflate(body, _RAW, limit)
    elif encoding == "br":
        plain = _brotli(body, limit)
    elif encoding == "zstd":
        plain = _zstd(body, limit)
    else:
        raise EncodingError("unknown content encoding")
    if len(plain) > limit:
        raise TooLarge(limit)
    return plain


def _gunzip(body: bytes, limit: int) -> bytes:
    """At once, when the size at the end is right, which is the rule; else step by step."""
    size = int.from_bytes(body[-4:], "little")
    if 0 < size <= limit:
        with suppress(deflate.DeflateError):
            plain = bytes(deflate.gzip_decompress(body, size))
            # Sum and size were compared. What follows the end goes unnoticed if it ends in the same size: it is left out.
            return plain
    return _inflate(body, _GZIP, limit)


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    inflate = cast(_Inflate, isal_zlib.decompressobj(wbits))
    try:
        plain = inflate.decompress(body, limit + 1)
    except _ISAL_ERROR as error:
        raise EncodingError("corrupt deflate data") from error
    if len(plain) > limit:
        raise TooLarge(limit)
    _check_end(inflate.eof, not inflate.unused_data)
    return plain


def _brotli(body: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    try:
        plain = cast(bytes, decoder.process(body, output_buffer_limit=limit + 1))
    except brotli.error as error:
        raise EncodingError("corrupt brotli data, or more data after its end") from error
    if len(plain) > limit:
        raise TooLarge(limit)
    _check_end(decoder.is_finished(), True)
    return plain


def _zstd(body: bytes, limit: int) -> bytes:
    """Measured first, since the library has no one call that bounds its output and notices a missing end."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    size = 0
    try:
        with decoder.stream_reader(body) as reader:
            while chunk := reader.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise TooLarge(limit)
        frame = decoder.decompressobj()
        plain = frame.decompress(body)
    except zstandard.ZstdError as error:
        raise EncodingError("corrupt zstd data") from error
    _check_end(frame.eof, not frame.unused_data)
    return plain


def _check_end(complete: bool, alone: bool) -> None:
    if not complete:
        raise EncodingError("compressed data ends early")
    if not alone:
        raise EncodingError("more data after the end of the compressed data")

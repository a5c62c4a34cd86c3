"""Content encodings: what real clients send is undone, everything else is refused within bounds."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.encoding import ENCODINGS, EncodingError, TooLarge, decompress

MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def unsized_zstd(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


COMPRESSORS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", partial(brotli.compress, quality=1)),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", unsized_zstd),
]
every_compressor = pytest.mark.parametrize(("encoding", "compress"), COMPRESSORS)


@every_compressor
@given(data=st.binary(max_size=3000))
def test_round_trip_at_the_limit_and_one_byte_over(
    encoding: str, compress: Callable[[bytes], bytes], data: bytes
) -> None:
    body = compress(data)
    assert decompress(body, encoding, len(data)) == data
    if data:
        with pytest.raises(TooLarge):
            decompress(body, encoding, len(data) - 1)


@every_compressor
def test_cut_off_or_followed_by_more(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    body = compress(b"some event " * 500)
    for broken in (b"", body[:-1], body[: len(body) // 2], body + b"x", body + b"\0" * 1000):
        with pytest.raises(EncodingError) as refused:
            decompress(broken, encoding, MIB)
        assert not isinstance(refused.value, TooLarge)


@every_compressor
def test_a_bomb_costs_no_more_memory_than_the_limit(
    encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    bomb = compress(b"\0" * (200 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompress(bomb, encoding, 4 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB


@pytest.mark.parametrize("claimed", [0, 1, 5499, 5501, MIB, MIB + 1, 2**32 - 1])
def test_a_gzip_that_lies_about_its_size_is_refused(claimed: int) -> None:
    body = gzip.compress(b"some event " * 500)
    assert decompress(body, "gzip", MIB) == b"some event " * 500
    with pytest.raises(EncodingError):
        decompress(body[:-4] + claimed.to_bytes(4, "little"), "gzip", MIB)


def test_a_frame_that_lies_about_its_size_is_refused() -> None:
    huge = b"\x28\xb5\x2f\xfd\xe0" + (2**50).to_bytes(8, "little") + b"\x01\x00\x00"
    with pytest.raises(EncodingError):
        decompress(huge, "zstd", MIB)


@given(st.binary(max_size=500), st.sampled_from(sorted(ENCODINGS)), st.integers(0, 300))
def test_any_bytes_give_bytes_within_the_limit_or_an_encoding_error(
    data: bytes, encoding: str, limit: int
) -> None:
    with suppress(EncodingError):
        assert len(decompress(data, encoding, limit)) <= limit


def test_unknown_encoding() -> None:
    with pytest.raises(EncodingError, match="unknown"):
        decompress(b"abc", "compress", MIB)

"""Forms arrive whole however they are cut on their way, and broken ones are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from tasks_pipeline.web_api.calls import ApiError
from tasks_pipeline.web_api.multipart import Part, read_form

Sent = list[tuple[str, tuple[str, bytes]]]


class Kept:
    """A part that is kept; finished ones have their name in front."""

    def __init__(self, field: str, name: str, into: Sent) -> None:
        self.field, self.name, self.into, self.data = field, name, into, b""

    def write(self, data: bytes) -> None:
        self.data += data

    def finish(self) -> None:
        self.into.append((self.field, (self.name, self.data)))


def received(pieces: Sequence[bytes], content_type: str, max_bytes: int = 10**6, max_parts: int = 64) -> Sent:
    """What a form in these pieces holds."""
    left = list(pieces)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": left.pop(0) if left else b"", "more_body": bool(left)}

    found: Sent = []

    def open_part(field: str, name: str) -> Part:
        return Kept(field, name, found)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    request = Request(scope, receive)
    asyncio.run(read_form(request, open_part, max_bytes=max_bytes, max_parts=max_parts))
    return found


def form(parts: Sent) -> tuple[bytes, str]:
    headers = {"content-type": "multipart/form-data; boundary=0123456789abcdef"}
    request = httpx.Request("POST", "http://test/", files=parts, headers=headers)
    return request.read(), request.headers["content-type"]


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["file", "file_gzip"]), st.tuples(st.from_regex("[0-9a-f]{8}", fullmatch=True), st.binary())
        ),
        min_size=1,
        max_size=4,
    ),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)  # fmt: skip
def test_a_form_is_the_same_however_it_is_cut(parts: Sent, cuts: list[int]) -> None:
    body, content_type = form(parts)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert received([body[a:b] for a, b in pairwise(edges)], content_type) == parts


BODY, TYPE = form([("file", ("a", b"data"))])


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (BODY[:-10], TYPE, 400, "cut off"),
        (b"", TYPE, 400, "cut off"),
        (b"no form", TYPE, 400, "cannot be read"),
        (BODY, "application/json", 400, "not multipart/form-data"),
        (BODY, "multipart/form-data", 400, "with a boundary"),
        (BODY, f"multipart/form-data; boundary={'a' * 300}", 400, "with a boundary"),
        (BODY, "", 400, "not multipart/form-data"),
        (BODY + b"x" * 2000, TYPE, 413, "larger than 1000 bytes"),
    ],
)
def test_broken_forms_are_refused(body: bytes, content_type: str, status: int, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as caught:
        received([body], content_type, max_bytes=1000)
    assert caught.value.status == status


def test_too_many_parts_are_refused() -> None:
    body, content_type = form([("file", ("a", b""))] * 3)
    with pytest.raises(ApiError, match="more than 2 parts"):
        received([body], content_type, max_parts=2)

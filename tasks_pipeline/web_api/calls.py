"""What every endpoint of the Web API shares: the call it is handed, how it answers and refuses, pages of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response

from tasks_pipeline.access.tokens import Token
from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.config import Config, Project
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.disk import Room
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.uploads.assembling import Assembling
from tasks_pipeline.uploads.chunks import ChunkStore

PER_PAGE = 100
"""Entries of a page, where no fewer are asked for."""

_FIELD = re.compile(r"at `\$\.(\w+)")
"""Where msgspec says what is wrong."""

T = TypeVar("T")


class ApiError(Exception):
    """The call is refused; the message is the `detail` that sentry-cli shows."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers

    def answer(self) -> Response:
        """`{"detail": …}`."""
        return answer({"detail": str(self)}, self.status, self.headers)


class FieldError(ApiError):
    """The call is refused for a field of its body; named for programs too."""

    def __init__(self, field: str, reason: str, status: int = 400) -> None:
        super().__init__(status, f"{field}: {reason}")
        self.field, self.reason = field, reason

    def answer(self) -> Response:
        """`{"detail": "field: …", "field": ["…"]}`."""
        return answer({"detail": str(self), self.field: [self.reason]}, self.status)


@dataclass(frozen=True, slots=True)
class Services:
    """Open stores, and the work that goes on in the background."""

    reading: Reading
    home: Home
    state: StateDatabase
    blobs: BlobStore
    chunks: ChunkStore
    assembling: Assembling
    room: Callable[[], Room | None]
    """The free disk to look at while a file is written; None where that is not ours to see."""


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated call. `params` come from the path, decoded; `body` is empty for streams, see `request`. Of the configuration's
    projects those alone are there that the token's holder may see."""

    services: Services
    config: Config
    token: Token
    asked: Asked
    params: Mapping[str, str]
    request: Request
    body: bytes = b""

    @property
    def viewer(self) -> Viewer:
        """Who calls."""
        return self.token.viewer

    @property
    def lake(self) -> LakeReader:
        """The lake."""
        return self.services.reading.lake

    @property
    def query(self) -> QueryParams:
        """The fields of the query."""
        return self.request.query_params

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        return self.request.headers

    def check_organisation(self) -> None:
        """Refuse calls for another organisation. Raises ApiError (404)."""
        org = self.params.get("org", self.config.organisation.slug)
        if org != self.config.organisation.slug:
            raise ApiError(404, f"there is no organization {org!r} here")

    def project(self) -> Project:
        """The project in the path. Raises ApiError (404)."""
        return find_project(self.config, self.params["project"])

    def parse(self, kind: type[T]) -> T:
        """The body as this type; keys that it does not know are passed over. Raises ApiError (400)."""
        try:
            return msgspec.convert(decode_json(self.body), kind)
        except PayloadError as error:
            raise ApiError(400, f"the body is no JSON: {error}") from error
        except msgspec.ValidationError as error:
            said = f"the body is not as expected: {error}"
            field = _FIELD.search(said)
            raise FieldError(field[1], said) if field else ApiError(400, said) from error


def find_project(config: Config, named: str | int) -> Project:
    """The project with this slug or number. Raises ApiError (404)."""
    for project in config.projects:
        if str(named) in (project.slug, str(project.id)):
            return project
    raise ApiError(404, f"there is no project {str(named)[:100]!r} here")


_PRIVATE = {"cache-control": "private, no-cache", "x-content-type-options": "nosniff"}
"""Of every answer: whoever keeps one asks whether it is still so, and takes it for nothing else."""


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON; clients refuse any other content type."""
    return Response(msgspec.json.encode(value), status, {**_PRIVATE, **(headers or {})}, "application/json")

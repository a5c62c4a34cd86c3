"""What every section of the configuration shares: the base model, and types used in several sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from tasks_pipeline.config.written import UNSET


@dataclass(frozen=True, slots=True)
class About:
    """What a type says to those who make a mistake; pydantic ignores it, and keeps one of each field only."""

    allowed: str = ""
    """In words, where a pattern says it to few."""
    private: bool = False
    """What is written there may be a secret, and is repeated in no message."""
    masked: bool = False
    """Of an address: all but its host is left out wherever the configuration is shown."""
    referred: bool = False
    """A secret that the file may only refer to, as ${env:NAME}."""


Slug = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$"),
    About("1 to 50 small letters, digits, - and _, the first a letter or digit"),
]
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$"), About("4 to 64 letters, digits, - and _")]


def _place(value: str) -> str:
    """Each process has to find the same one, wherever it was started."""
    scheme, is_url, rest = value.partition("://")
    if is_url:
        from fsspec import available_protocols

        if scheme.rpartition("::")[2] not in available_protocols():
            raise ValueError(
                "a URL of no known kind; allowed is one of object storage (s3, gs, …), or a whole path such as /mnt/disk"
            )
        if "@" in rest.partition("/")[0] and ":" in rest.partition("@")[0]:
            raise ValueError(
                "a URL with a password, which would be written down; allowed is one without: credentials belong into the variables of the object storage"
            )
    elif not value.startswith(("/", "~", UNSET)):  # those who only look need no variables
        raise ValueError(
            "another folder for each process, by where it was started; allowed is a whole path such as /mnt/disk, or a URL"
        )
    return value


PlaceUrl = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(_place),
    About("a whole path such as /mnt/disk, or a URL such as s3://bucket/prefix", private=True),
]
"""A folder by its whole path, or an fsspec URL."""

MIB = 1024 * 1024


class Model(BaseModel):
    """Base of every section: unknown fields are mistakes, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


REFUSED = "refused"
"""Type of the errors that `refuse` makes."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong with a value, which lies at `path` below the model that looks at it."""

    path: tuple[str | int, ...]
    said: str


def repeated(what: str, values: Iterable[tuple[tuple[str | int, ...], str]]) -> list[Wrong]:
    """Those of the values, each with its place, that stood at an earlier place already."""
    seen: set[str] = set()
    wrong = []
    for path, value in values:
        if value in seen:
            wrong.append(Wrong(path, f"{what} used twice: {value}"))
        seen.add(value)
    return wrong


def unknown(path: tuple[str | int, ...], name: str | None, allowed: Sequence[str]) -> Iterator[Wrong]:
    """That a name is none of those that are configured."""
    if name is not None and name not in allowed:
        yield Wrong(path, f"{name} is not configured; allowed: {', '.join(allowed) or 'none'}")


def refuse(wrong: Sequence[Wrong]) -> None:
    """For validators that compare several values: raise all that is wrong at once, each with its own place."""
    if wrong:
        raise ValidationError.from_exception_data(
            "configuration",
            [
                InitErrorDetails(
                    type=PydanticCustomError(REFUSED, "{said}", {"said": each.said}),
                    loc=each.path,
                    input=None,
                )
                for each in wrong
            ],
        )

"""Section `scrubbing` of a project: what is taken out of its events before they are stored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tasks_pipeline.config.model import Model
from tasks_pipeline.scrubbing.engine import check_pattern
from tasks_pipeline.scrubbing.names import words


def _name(given: str) -> str:
    if not 1 <= len(words(given)) <= 3:
        raise ValueError("a name of one to three words is allowed, such as customer_number")
    return given


def _pattern(given: str) -> str:
    try:
        check_pattern(given)
    except ValueError as error:
        raise ValueError(f"not a usable regular expression: {error}") from error
    return given


Name = Annotated[str, Field(min_length=2, max_length=100), AfterValidator(_name)]
Pattern = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]


class Scrubbing(Model):
    """What is taken out of the events of a project."""

    enabled: bool = Field(True, description="Off: everything is stored as it was sent.")
    defaults: bool = Field(
        True, description="Use the built-in names and forms: passwords, tokens, cookies, cards, ids."
    )
    fields: tuple[Name, ...] = Field(
        (), max_length=200, description="Further names whose values are secret, such as customer_number."
    )
    safe_fields: tuple[Name, ...] = Field(
        (), max_length=200, description="Names whose values are kept, whatever they look like."
    )
    patterns: tuple[Pattern, ...] = Field(
        (), max_length=20, description="Regular expressions; what matches is taken out of every text."
    )
    ip_addresses: Literal["keep", "truncate", "remove"] = Field(
        "keep", description="IP addresses: as sent, only their network (/24, IPv6 /48), or not at all."
    )
    email_addresses: Literal["keep", "remove"] = Field("keep", description="E-mail addresses.")

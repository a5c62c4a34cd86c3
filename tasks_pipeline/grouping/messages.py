"""Message texts as they count for grouping: their first lines with the variable parts replaced."""

from __future__ import annotations

from itertools import islice

from tasks_pipeline.grouping.components import Component, leaf
from tasks_pipeline.grouping.parameterize import parameterize

_LINES = 2


def message_component(id: str, message: str, *, former: bool = False) -> Component:
    """A leaf with the message as it counts; the reason tells when that is not the text itself."""
    normalised = normalise_message(message, former=former)
    return leaf(id, normalised, "first lines, parameterized" if normalised != message else None)


def normalise_message(message: str, *, former: bool = False) -> str:
    """The first two lines that are not blank (and `...` if there was more), parameterized. `former`: as the former
    algorithm does it."""
    whole = message.strip()
    head = "\n".join(islice((line for line in whole.splitlines() if line.strip()), _LINES))
    return parameterize(head if head == whole else head + "...", former=former)

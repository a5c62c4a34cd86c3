"""Markup: texts of strangers made harmless for the way a tracker writes its texts. Nobody is mentioned, nothing is referred to."""

from __future__ import annotations

import re

from tasks_pipeline.texts import clean

ZERO_WIDTH = "\u200b"


def neutral(text: str, markup: str) -> str:
    """A text that may be put into an issue or comment: shown as it is written, without effect. `markup`: `Provider.markup`."""
    return re.sub(r"[@#]", lambda found: found[0] + ZERO_WIDTH, clean(text, 1_000_000, lines=True))


def neutral_title(text: str, markup: str) -> str:
    """The same for a title, which is one line without mark-up."""
    return neutral(" ".join(text.split()), markup)

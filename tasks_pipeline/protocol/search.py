"""Whether an expression matches anywhere in a text, in linear time whatever the text: the Rust `regex` crate, which pydantic brings
with it. It answers yes or no in about two nanoseconds a byte, however many alternatives there are, and knows no look-around and
no back-references; texts that have to be in a match are found several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

Matcher = Callable[[str | bytes], bool]
"""Says whether an expression matches anywhere in a text, given as such or as its UTF-8; in what is no UTF-8 nothing matches."""

_KEPT = 64


@lru_cache(maxsize=_KEPT)
def matcher(expression: str) -> Matcher:
    """The matcher of an expression; made once, for compiling our own takes a quarter of a second. Raises ValueError with the reason
    when it is not one."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=expression)).isinstance_python
    except SchemaError as error:
        raise ValueError(str(error).strip().splitlines()[-1].strip().removeprefix("error: ")) from error

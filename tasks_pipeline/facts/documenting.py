"""What the code says of each type of facts, for documents and the terminal.

`python -m tasks_pipeline.facts.documenting` prints the part of docs/analytics.md that is made from it, `--write` puts it there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from tasks_pipeline.documents import print_or_write, renewed
from tasks_pipeline.facts.types import AT, TYPES, Fact

BEGIN = "<!-- types of facts: made by `python -m tasks_pipeline.facts.documenting --write` -->"
END = "<!-- end of types of facts -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "analytics.md"
_SIMPLE = {msgspec.inspect.StrType: "text", msgspec.inspect.BoolType: "boolean"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute, with its type in words."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Described:
    """A type of facts; `key` names what makes it the same fact again, beside type and project."""

    name: str
    version: int
    description: str
    key: tuple[str, ...]
    attributes: tuple[Attribute, ...]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


class Undocumented(LookupError):
    """A type or an attribute that nothing is said of."""


def described() -> Iterator[Described]:
    """Every type, in the order of the module. Raises Undocumented."""
    for name, kind in TYPES.items():
        text = kind.__dict__.get("__doc__")
        if not text:
            raise Undocumented(name)
        attributes = tuple(_attribute(name, field) for field in _fields(kind))
        key = tuple("moment" if part == AT else part for part in kind.KEY)
        yield Described(name, kind.VERSION, inspect.cleandoc(text), key, attributes)


def _fields(kind: type[Fact]) -> tuple[msgspec.inspect.Field, ...]:
    found = msgspec.inspect.type_info(kind)
    assert isinstance(found, msgspec.inspect.StructType)
    return found.fields


def _attribute(of: str, field: msgspec.inspect.Field) -> Attribute:
    found, said = field.type, ""
    if isinstance(found, msgspec.inspect.Metadata):
        said = (found.extra_json_schema or {}).get("description", "")
        found = found.type
    if not said:
        raise Undocumented(f"{of}: {field.name}")
    return Attribute(field.name, _type(found), said)


def _type(found: msgspec.inspect.Type) -> str:
    match found:
        case msgspec.inspect.Metadata(type=inner):
            return _type(inner)
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(map(str, values))
        case msgspec.inspect.UnionType(types=types):
            return ", ".join(
                "or null" if isinstance(t, msgspec.inspect.NoneType) else _type(t) for t in types
            )
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            return "number"
    return _SIMPLE[type(found)]


def table() -> str:
    """All types as Markdown."""
    lines = []
    for one in described():
        version = f" (version {one.version})" if one.version > 1 else ""
        lines += [
            f"#### `{one.name}`{version}",
            "",
            f"{one.description} Once for each: {', '.join(one.key)}.",
            "",
        ]
        lines += ["| attribute | type | |", "|---|---|---|"]
        lines += [f"| `{a.name}` | {a.type} | {a.description} |" for a in one.attributes]
        lines.append("")
    return "\n".join(lines)


def written(document: str) -> str:
    """A document with the part between the marks made anew."""
    return renewed(document, BEGIN, END, table())


if __name__ == "__main__":
    print_or_write(DOCUMENT, BEGIN, END, table())

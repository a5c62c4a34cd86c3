"""Types of facts: each is documented, holds nothing private whatever it is given, and is itself however often it is recorded."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.commands.common.used import CHANGING
from tasks_pipeline.facts import documenting
from tasks_pipeline.facts.documenting import DOCUMENT, Undocumented, described, written
from tasks_pipeline.facts.record import BrokenFact, checked_values, fact_id
from tasks_pipeline.facts.types import (
    LONGEST,
    TYPES,
    Custom,
    Fact,
    GroupCreated,
    ProjectFirst,
    ReleaseDeployed,
)
from tests.unit.test_cli_frame import every_command

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ADDRESS = re.compile(r"[\w.]+@[\w.]+\.[a-z]{2,}")


def test_the_document_says_what_the_code_says() -> None:
    """`python -m tasks_pipeline.facts.documenting --write` makes it so."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert written(text) == text
    assert len(list(described())) == len(TYPES) > 40


def test_a_type_of_which_nothing_is_said_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: dict[str, Any] = {"__annotations__": {"how": int}, "__module__": __name__}
    kind = type(Fact)("Silent", (Fact,), silent, tag="silent.fact", kw_only=True, frozen=True)
    for docs in ({}, {"__doc__": "Said of the type, and not of its attribute."}):
        for name, text in docs.items():
            setattr(kind, name, text)
        monkeypatch.setattr(documenting, "TYPES", {"silent.fact": kind})
        with pytest.raises(Undocumented):
            list(described())


@st.composite
def values_of(draw: st.DrawFn, kind: type[Fact]) -> dict[str, Any]:
    """What might be said, with addresses wherever a text fits."""
    texts = st.one_of(
        st.text(max_size=2 * LONGEST),
        st.builds("{}anna.meyer@acme.example{}".format, st.text(max_size=9), st.text(max_size=9)),
    )
    found = {}
    for field in kind.__struct_fields__:
        found[field] = draw(_value(field, _type_of(kind, field), texts))
    return found


def _type_of(kind: type[Fact], name: str) -> Any:
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    (found,) = [field.type for field in info.fields if field.name == name]
    while isinstance(found, msgspec.inspect.Metadata):
        found = found.type
    return found


def _value(field: str, found: Any, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    i = msgspec.inspect
    match found:
        case i.LiteralType(values=values):
            return st.sampled_from(values)
        case i.UnionType(types=types):
            return st.one_of(
                *(_value(field, t.type if isinstance(t, i.Metadata) else t, texts) for t in types)
            )
        case i.IntType():
            return st.integers(-1, 2**70)
        case i.FloatType():
            return st.floats()
        case i.BoolType():
            return st.booleans()
        case i.NoneType():
            return st.none()
    if field in ("day", "key"):
        return st.dates().map(str)
    return texts


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
@given(data=st.data())
def test_no_fact_holds_an_address_or_more_than_a_line(kind: type[Fact], data: st.DataObject) -> None:
    try:
        values = checked_values(kind(**data.draw(values_of(kind))))
    except (msgspec.ValidationError, BrokenFact):
        return  # it is not recorded at all
    for name, value in values.items():
        assert isinstance(value, str | int | float | bool | None)
        if isinstance(value, str):
            assert len(value) <= LONGEST
            value.encode()
            assert "\0" not in value
            assert not ADDRESS.search(value), name
    json.loads(json.dumps(values, allow_nan=False))


def test_a_fact_is_itself_by_its_key_alone() -> None:
    one, later = GroupCreated(group=7, level="error"), NOW + timedelta(days=1)
    assert fact_id(one, 1, NOW) == fact_id(GroupCreated(group=7, level="fatal"), 1, later)
    others = [
        fact_id(GroupCreated(group=8), 1, NOW),
        fact_id(one, 2, NOW),
        fact_id(ProjectFirst(what="event"), 1, NOW),
        fact_id(ProjectFirst(what="user"), 1, NOW),
    ]
    assert len({fact_id(one, 1, NOW), *others}) == 5
    deploys = [ReleaseDeployed(version="1", deploy=n, environment="production") for n in (1, 2)]
    assert fact_id(deploys[0], 1, NOW) != fact_id(deploys[1], 1, NOW)


@given(
    name=st.text(max_size=70),
    attributes=st.dictionaries(st.text(max_size=70), st.one_of(st.text(), st.floats(), st.none())),
)
def test_facts_of_ones_own_stay_within_their_bounds(name: str, attributes: dict[str, Any]) -> None:
    for given_name in (name, f"custom.{name}"):
        try:
            values = checked_values(Custom.made(given_name, attributes, "once"))
        except (msgspec.ValidationError, BrokenFact):
            continue
        assert re.fullmatch(r"custom\.[a-z0-9_.]+", given_name)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in values)
        assert len(values) <= 20


def test_commands_that_are_recorded_are_there() -> None:
    assert {" ".join(words) for words in every_command()} >= CHANGING

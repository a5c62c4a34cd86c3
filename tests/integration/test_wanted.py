"""Keys that are looked for as a table: the same rows come back as were asked for, on both databases."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, String, select

from tasks_pipeline.groups.counting import _known_users
from tasks_pipeline.storage.state.tables import group_values
from tasks_pipeline.storage.state.wanted import wanted
from tasks_pipeline.stores import Stores
from tests.support.day import Day
from tests.support.events import event

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NUMBERS = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(NUMBERS, TEXTS, TEXTS), max_size=20))
def test_what_is_wanted_is_what_was_given(stores: Stores, rows: list[tuple[int, str, str]]) -> None:
    """Quotes, colons, brackets, line ends and characters of every plane are text like other text."""
    with stores.state.read() as connection:
        table = wanted(connection, rows, number=BigInteger(), first=String(), second=String())
        found = [
            tuple(row) for row in connection.execute(select(table.c.number, table.c.first, table.c.second))
        ]
    assert sorted(found) == sorted(rows)


def test_users_are_known_by_their_whole_name_and_their_group(day: Day) -> None:
    """Of another group, of another kind, or with another case they are others."""
    names = ["a", "A", "it's", 'say "x"', "\U0001f469", "100%", "a b", "{}"]
    day.send(
        *(event("Here", user={"id": name}) for name in names),
        event("There", user={"id": "b"}, release="id:c"),
    )
    day.drain()
    here, there = (group["id"] for group in sorted(day.groups(), key=lambda g: str(g["title"])))
    with day.stores.state.read() as connection:
        known = list(
            connection.execute(
                select(group_values.c.value).where(
                    group_values.c.group_id == here, group_values.c.kind == "user"
                )
            ).scalars()
        )
        assert sorted(known) == sorted(f"id:{name}" for name in names)
        asked = [(here, value) for value in known] + [
            (here, "id:b"),
            (here, "id:z"),
            (there, "id:b"),
            (there, "id:c"),
        ]
        assert _known_users(connection, asked) == {here: len(names), there: 1}
        assert _known_users(connection, []) == {}

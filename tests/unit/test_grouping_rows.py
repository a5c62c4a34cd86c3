"""Messages of databases that refused a row: a group for each constraint, not for each row."""

from __future__ import annotations

import time

import pytest

from tasks_pipeline.grouping import parameterize
from tasks_pipeline.grouping.messages import normalise_message
from tasks_pipeline.grouping.parameterize import LONGEST

_UNIQUE = 'duplicate key value violates unique constraint "cart_uniq"\nDETAIL:  Key '


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (
            f"{_UNIQUE}(cart, sku, note)=(3, mug-blue, Other) already exists.",
            f"{_UNIQUE}(cart, sku, note)=(99, cup (tall), ) already exists.",
            f"{_UNIQUE}(code)=(SPRING) already exists.",
        ),
        (
            'update or delete on table "cart" violates …\nDETAIL:  Key (id)=(a b) is still referenced from table "line".',
            'update or delete on table "cart" violates …\nDETAIL:  Key (id)=(c) is still referenced from table "line".',
            'update or delete on table "cart" violates …\nDETAIL:  Key (id)=(c) is still referenced from table "note".',
        ),
        (
            "Key (room, during)=(x, [1,2)) conflicts with existing key (room, during)=(y, [1,2)).",
            "Key (room, during)=(a (b), [1,2)) conflicts with existing key (room, during)=(c, [3,4)).",
            "Key (seat, during)=(x, [1,2)) conflicts with existing key (seat, during)=(y, [1,2)).",
        ),
        ("Schlüssel »(sku)=(x)« existiert bereits.", "Schlüssel »(sku)=(y (z))« existiert bereits.", "Schlüssel »(id)=(x)« existiert bereits."),
        ("Failing row contains (1, mug, null).", "Failing row contains (2, cup (x), f).", "Failing column contains (1)."),
        ('invalid input syntax for type integer: "abc"', 'invalid input syntax for type integer: "x y"', 'invalid input syntax for type uuid: "abc"'),
        ("Duplicate entry 'bob' for key 'users.email'", "Duplicate entry 'O'Neil-2' for key 'users.email'", "Duplicate entry 'bob' for key 'users.name'"),
        ("Incorrect integer value: 'abc' for column 'c' at row 1", "Incorrect integer value: 'it's' for column 'c' at row 2", "Incorrect integer value: 'abc' for column 'd' at row 1"),
        (
            "Violation of UNIQUE KEY constraint 'UQ'. The duplicate key value is (mug, 1).",
            "Violation of UNIQUE KEY constraint 'UQ'. The duplicate key value is (<NULL>, x (y)).",
            "Violation of UNIQUE KEY constraint 'UR'. The duplicate key value is (mug, 1).",
        ),
        (
            "Conversion failed when converting the varchar value 'abc' to data type int.",
            "Conversion failed when converting the varchar value 'x'y' to data type int.",
            "Conversion failed when converting the varchar value 'abc' to data type bit.",
        ),
        (
            "row with column values (A:1, B:'x') already exists",
            "row with column values (A:2, B:'y z') already exists",
            "row with columns (A, B) already exists",
        ),
        (
            'E11000 duplicate key error collection: shop.carts index: sku_1 dup key: { sku: "mug" }',
            "E11000 duplicate key error collection: shop.carts index: sku_1 dup key: { sku: null }",
            'E11000 duplicate key error collection: shop.carts index: ref_1 dup key: { sku: "mug" }',
        ),
        ("[cart][mug]: version conflict, document already exists", "[cart][cup 2]: version conflict, document already exists", "[mug]: gone"),
        ("Row [mug,1] in table Cart already exists", "Row [a cup,2] in table Cart already exists", "Row [mug,1] in table Shop already exists"),
        (
            "Unique index or primary key violation: \"UQ ON CART(SKU) VALUES ( /* 1 */ 'mug' )\"",
            "Unique index or primary key violation: \"UQ ON CART(SKU) VALUES ( /* 22 */ 'a cup' )\"",
            "Unique index or primary key violation: \"UQ ON CART(REF) VALUES ( /* 1 */ 'mug' )\"",
        ),
    ],
)  # fmt: skip
def test_a_group_for_each_constraint(one: str, same: str, other: str) -> None:
    assert normalise_message(one) == normalise_message(same)
    assert normalise_message(one) != normalise_message(other)


@pytest.mark.parametrize("text", ["Key (code)=(SPRI...", "Duplicate entry 'SPRI", "dup key: { sku: "])
def test_messages_that_were_cut(text: str) -> None:
    assert "SPRI" not in parameterize(text)
    assert "<values>" in parameterize(text)


@pytest.mark.parametrize(
    "text",
    ["f (x) is no key", "no Duplicate entry is there", "the column values are wrong", "VALUES of the house"],
)
def test_other_messages_stay(text: str) -> None:
    assert parameterize(text) == text


@pytest.mark.parametrize(
    "unit", [")=(", "Duplicate entry '", "dup key: {", "Failing row contains (", "VALUES (", 'invalid input syntax for x: "']
)  # fmt: skip
def test_hostile_messages_end_soon(unit: str) -> None:
    started = time.process_time()
    parameterize((unit * LONGEST)[:LONGEST])
    assert time.process_time() - started < 2

"""What becomes of each table and folder when rows are erased: a row for everything there is, and docs/privacy.md says the same."""

from __future__ import annotations

from collections import Counter

import pytest

from tasks_pipeline.erasure.documenting import DOCUMENT, written
from tasks_pipeline.erasure.policy import LAKE, STATE
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import metadata


def test_every_table_stands_in_one_row() -> None:
    assert Counter(each.name for each in LAKE) == Counter(LAKE_TABLES.keys())
    assert Counter(each.name for each in STATE) == Counter(metadata.tables.keys())
    for each in STATE:
        columns = metadata.tables[each.name].columns
        assert [name for name in each.columns if name not in columns or columns[name].primary_key] == []


def test_the_document_says_what_the_policy_says() -> None:
    """`python -m tasks_pipeline.erasure.documenting --write` makes it so."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == written(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("to ann@b.org.", True), ("<ANN@B.ORG>", True), (r"in\nann@b.org", True), ("?m=ann%40b.org&x", True), (r'{\"m\": \"ann@b.org\"}', True),
        ("joann@b.org", False), ("x-ann@b.org", False), ("ann@b.org.uk", False), ("ann@b.organ", False),
        ("at 10.0.0.1:80", True), ("10.0.0.1.", True), ("110.0.0.1", False), ("10.0.0.12", False), ("9.10.0.0.1", False), ("10.0.0.1.5", False),
    ],
)  # fmt: skip
def test_a_text_is_found_as_a_word_of_its_own(text: str, holds: bool) -> None:
    texts = Texts.of(["ann@b.org", "10.0.0.1"])
    assert texts.are_in(text) is holds
    assert bool(texts.spans_in(text.encode())) is holds
    assert (texts.removed_from(text) != text) is holds

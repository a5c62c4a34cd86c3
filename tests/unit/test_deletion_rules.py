"""Rules of deletion: every table and folder stands in them once, for groups, releases and projects."""

from __future__ import annotations

from collections import Counter

import pytest

from tasks_pipeline.deletion.chosen import KINDS, Chosen, Kind
from tasks_pipeline.deletion.rules import APART, FOLDERS, LAKE, LAKE_STAYS, STATE, STAYS
from tasks_pipeline.retention.policy import POLICY
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import metadata


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_has_one_rule(kind: Kind) -> None:
    goes = {each.table.name for each in STATE[kind]}
    apart, stays = APART[kind].keys(), STAYS[kind].keys()
    assert metadata.tables.keys() - goes - apart - stays == set(), "what becomes of these?"
    assert (goes | apart) & stays == set(), "it goes, or it stays"
    assert (goes | apart | stays) - metadata.tables.keys() == set()
    lake = Counter([*LAKE[kind], *LAKE_STAYS[kind]])
    assert set(lake) == set(LAKE_TABLES)
    assert set(lake.values()) == {1}


def test_what_belongs_to_a_project_goes_with_it() -> None:
    named = {name for name, table in metadata.tables.items() if "project_id" in table.c}
    assert named & STAYS["project"].keys() == {
        "regroupings",
        "retention_removals",
    }
    of_project = {
        name for name, table in LAKE_TABLES.items() if "project_id" in {c.name for c in table.columns}
    }
    assert of_project <= set(LAKE["project"])


def test_every_folder_has_a_rule() -> None:
    assert {name for category in POLICY for name in category.folders} == FOLDERS.keys()


def test_names_are_found_as_words() -> None:
    groups = Chosen("groups", (1,), (17, 18), ("SHOP-1", "SHOP-2"))
    assert [bool(groups.named_in().search(text)) for text in ("see SHOP-1.", "SHOP-11", "MYSHOP-1")] == [
        True,
        False,
        False,
    ]
    project = Chosen("project", (1,), names=("my.shop",))
    assert [bool(project.named_in().search(text)) for text in ("MY.SHOP-3F", "MYXSHOP-3F")] == [True, False]
    assert Chosen.of(groups.as_dict()) == groups
    assert Chosen("groups", (1,)).named_in().search("") is None

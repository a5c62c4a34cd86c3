"""What issues say: filled in from the configuration, harmless in the mark-up of the tracker, cut to what fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config.integrations import PLACEHOLDERS, Tracker
from tasks_pipeline.integrations.creating import partial, without
from tasks_pipeline.links.wording import Told, _cut, draft_of, filled, storm_draft
from tasks_pipeline.notifications.message import Frame
from tasks_pipeline.trackers.issue import Draft, Issue, IssueState


@dataclass
class Form:
    title_length: int = 256
    body_length: int = 65_536
    markup: str = "github"


TRACKER = Tracker(name="shop-issues", integration="hub", repository="acme/shop")
TOLD = Told(
    group_id=1,
    short_id="SHOP-3F",
    project="shop",
    title="Boom: @anna broke #12",
    culprit="cart.total",
    level="error",
    environment="production",
    release="shop@1.2",
    tags={"team": "cart", "odd": "{title}"},
    facts=(("Seen", "3 times"),),
    frames=(Frame("cart.py", 12, "total", ((12, "raise Boom('@ben')", True),)),),
    commands=("tasks-pipeline groups show SHOP-3F",),
)


def test_what_stands_in_braces_is_filled_in_once() -> None:
    """A value that holds braces itself stands for nothing."""
    assert filled("{tag:odd}/{short_id} {tag:none}{level}", TOLD) == "{title}/SHOP-3F error"
    assert filled("{nothing} stays", TOLD) == " stays"
    assert [filled(f"{{{name}}}", TOLD) != "" for name in PLACEHOLDERS] == [True] * len(PLACEHOLDERS)


def test_title_labels_and_fields_follow_the_configuration() -> None:
    tracker = TRACKER.model_copy(
        update={
            "title": "[{project}] {title}",
            "labels": ("error", "{level}", "team: {tag:team}", "{tag:none}", "a,b"),
            "fields": {"priority": {"id": "2"}},
        }
    )
    draft = draft_of(TOLD, tracker, Form(), marker="K1")
    assert draft.title.replace("\u200b", "") == "[shop] Boom: @anna broke #12"
    assert draft.labels == ("error", "team: cart", "a b")
    assert (draft.fields, draft.marker) == ({"priority": {"id": "2"}}, "K1")


def test_nobody_is_mentioned_and_nothing_referred_to() -> None:
    draft = draft_of(TOLD, TRACKER, Form())
    for text in (draft.title, draft.body, storm_draft([TOLD], "@all #1", TRACKER, Form()).body):
        assert "@anna" not in text
        assert "@ben" not in text
        assert "#12" not in text
        assert "#1" not in text
    assert "    cart.py:12 in total" in draft.body
    assert "    tasks-pipeline groups show SHOP-3F" in draft.body


@given(st.text(max_size=2000), st.integers(40, 300))
def test_whatever_a_title_is_it_fits_and_is_one_line(title: str, length: int) -> None:
    told = Told(1, "SHOP-1", "shop", title, "", "error")
    draft = draft_of(told, TRACKER, Form(title_length=length))
    assert 0 < len(draft.title) <= length
    assert "\n" not in draft.title


def test_a_long_body_is_cut_within_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("{{ issue.title }} {{ 'ü' * 100000 }}")
    tracker = TRACKER.model_copy(update={"body": "long.txt"})
    draft = draft_of(TOLD, tracker, Form(), templates_dir=tmp_path)
    assert draft.body.replace("\u200b", "").startswith("Boom: @anna broke #12 üü")
    assert len(draft.body.encode()) <= 65_536 - 400


@pytest.mark.parametrize(
    "text", ["{{ issue.nothing }}", "{% for %}", "{{ ''.__class__.__mro__ }}", "{{ 1/0 }}"]
)
def test_a_template_that_cannot_be_used_costs_itself(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.txt").write_text(text)
    tracker = TRACKER.model_copy(update={"body": "mine.txt"})
    assert (
        draft_of(TOLD, tracker, Form(), templates_dir=tmp_path).body == draft_of(TOLD, TRACKER, Form()).body
    )
    assert "mine.txt cannot be used" in caplog.text


def test_a_storm_lists_its_groups_and_says_how_many_more() -> None:
    told = [Told(n, f"SHOP-{n}", "shop", f"Error {n}", "", "error", times_seen=n) for n in range(1, 131)]
    draft = storm_draft(told, "file it", TRACKER, Form())
    assert draft.title == "130 groups at once: file it"
    assert draft.body.count("\n* ") == 100
    assert draft.body.endswith("and 30 more")


def test_what_was_refused_is_left_out_and_what_was_dropped_is_noted() -> None:
    draft = Draft("t", "b", "K", ("error",), {"Priority": 2, "kind": 1}, "ann")
    assert without(draft, ["labels", "priority", "assignees"]) == Draft("t", "b", "K", (), {"kind": 1}, None)
    issue = Issue("1", "1", "", "t", IssueState.OPEN, labels=("Error",))
    assert partial(draft, issue) == "partial: assignee"
    assert partial(without(draft, ["assignee"]), issue) == ""


def test_a_long_body_is_cut_between_lines_and_fits() -> None:
    """Within a line a cut could take the end of a code span, and the address in it would be a reference."""
    form = SimpleNamespace(title_length=255, body_length=2000, markup="github")
    line = "* `https://hub.example/a/b/issues/1` é"
    kept = _cut("\n".join([line] * 100), form).split("\n")
    assert (set(kept[:-1]), kept[-1]) == ({line}, "…")
    assert len(_cut("é" * 3000, form).encode()) <= 1500

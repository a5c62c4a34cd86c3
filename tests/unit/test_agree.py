"""decide: cases with right answers, and what holds for any changes on both sides and any order of passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.config.integrations import Closed, Tracker
from tasks_pipeline.links.agree import CLOSED, OPEN, OURS, Decision, Ours, Theirs, decide, projection
from tests.support.integration_cases import cases

GIVEN = {
    "id", "ours", "theirs", "agreed", "settings", "wanted", "reason", "moved_to", "other_links", "other_groups", "link", "take",
    "changes_in_the_hour", "events_since_closed",
}  # fmt: skip
DEFAULTS = Tracker(name="shop", integration="hub")


@cases("decisions")
def test_a_case_with_its_right_answer(case: dict[str, Any]) -> None:
    assert set(case) <= GIVEN, "it says something that no test knows"
    tracker = Tracker.model_validate({"name": "shop", "integration": "hub", **case["settings"]})
    ours = Ours(
        case["ours"],
        other_groups=case.get("other_groups", ()),
        events_since_closed=case.get("events_since_closed", 0),
    )
    theirs = Theirs(
        case["theirs"],
        case.get("reason", ""),
        str(case.get("moved_to", "")),
        case.get("other_links", ()),
    )
    found = decide(
        ours,
        theirs,
        case["agreed"],
        tracker,
        link=case.get("link", "linked"),
        take=case.get("take"),
        turns=case.get("changes_in_the_hour", 0),
    )
    assert {name: str(getattr(found, name)) for name in case["wanted"]} == {
        name: str(value) for name, value in case["wanted"].items()
    }


@dataclass
class Link:
    """A link as a pass knows it."""

    group: int
    issue: int
    agreed: str | None = OPEN
    settled: str = ""


@dataclass
class World:
    """Groups, issues (state and reason) and links, and a pass as the pipeline makes it: what it decides is done at once."""

    trackers: list[Tracker]
    groups: list[str]
    issues: list[tuple[str, str]]
    links: list[Link]
    done: list[tuple[int, Decision]] = field(default_factory=list)

    def look(self, number: int) -> Decision:
        link = self.links[number]
        others = [each for each in self.links if each is not link]
        ours = Ours(
            self.groups[link.group],
            link.settled,
            [
                self.groups[each.group]
                for each in others
                if each.issue == link.issue and each.group != link.group
            ],
        )
        state, reason = self.issues[link.issue]
        pulled = [
            self.issues[each.issue][0]
            for each in others
            if each.group == link.group and self.trackers[each.issue].sync.status in ("both", "pull")
        ]
        found = decide(
            ours, Theirs(state, reason, other_links=pulled), link.agreed, self.trackers[link.issue]
        )
        if found.do == "push":
            self.issues[link.issue] = (found.to, found.reason)
            for each in self.links:  # what was written is nobody's change there
                if each.issue == link.issue:
                    each.agreed = found.to
        if found.do == "pull":
            self.groups[link.group] = found.to
        link.agreed = link.agreed if found.agreed is None else found.agreed
        link.settled = link.settled if found.settled is None else found.settled
        if found.do != "nothing":
            self.done.append((number, found))
        return found

    def settle(self, order: Sequence[int]) -> int:
        """Passes over all links in an order, again and again until none does anything; gives how many of them did."""
        rounds = 0
        while True:
            before = len(self.done)
            for number in order:
                self.look(number)
            if len(self.done) == before:
                return rounds
            rounds += 1
            assert rounds < 6, f"it goes on for ever: {self.done[-6:]}"


WAYS = st.sampled_from(["both", "both", "both", "push", "pull", "off"])
CLOSE = st.sampled_from(["close", "keep", "close_not_planned"])
trackers = st.builds(
    lambda way, closed, on_close, on_not_planned, on_reopen, on_regression: Tracker.model_validate(
        {
            "name": "shop", "integration": "hub", "sync": {"status": way}, "closed": closed, "on_close": on_close,
            "on_not_planned": on_not_planned, "on_reopen": on_reopen, "on_regression": on_regression,
        }
    ),
    WAYS,
    st.fixed_dictionaries(
        {"when_resolved": CLOSE, "when_resolved_in_next_release": CLOSE, "when_ignored": CLOSE}
    ),
    st.sampled_from(["resolve", "resolve_in_next_release", "nothing"]),
    st.sampled_from(["resolve", "ignore", "nothing"]),
    st.sampled_from(["unresolve", "nothing"]),
    st.sampled_from(["reopen", "comment", "new_issue", "nothing"]),
)  # fmt: skip
ISSUE = st.sampled_from([(OPEN, ""), (CLOSED, "completed"), (CLOSED, "not_planned"), (CLOSED, "duplicate")])
STATUS = st.sampled_from([word for word in OURS if word != "discarded"])
DECIDED = ("unresolved", "resolved", "resolved_in_next_release", "ignored")


def _change(status: str, wanted: str) -> str:
    """What a group becomes: only one that is resolved comes back."""
    return status if wanted == "regressed" and not status.startswith("resolved") else wanted


@st.composite
def worlds(draw: st.DrawFn, *, single: bool = False) -> World:
    count = 1 if single else draw(st.integers(1, 3))
    issues = draw(st.lists(ISSUE, min_size=count, max_size=count))
    groups = draw(st.lists(STATUS, min_size=count, max_size=count))
    every = list(itertools.product(range(count), range(count)))
    chosen = every if single else draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    agreed = st.sampled_from([OPEN, CLOSED, None])
    return World(
        [draw(trackers) for _ in issues], groups, issues, [Link(g, i, draw(agreed)) for g, i in chosen]
    )


STEPS = st.lists(
    st.tuples(st.sampled_from(["ours", "theirs", "pass"]), st.integers(0, 2), STATUS, ISSUE), max_size=12
)


@given(worlds(), STEPS, st.permutations(range(9)))
@settings(max_examples=400, deadline=None)
def test_whatever_changes_it_comes_to_rest(
    world: World, steps: list[tuple[str, int, str, tuple[str, str]]], order: list[int]
) -> None:
    """However links, groups and issues hang together, and in whatever order passes look at them."""
    for kind, which, status, issue in steps:
        if kind == "ours":
            at = which % len(world.groups)
            world.groups[at] = _change(world.groups[at], status)
        elif kind == "theirs":
            world.issues[which % len(world.issues)] = issue
        else:
            world.look(which % len(world.links))
    world.settle([number for number in order if number < len(world.links)])
    assert all(world.issues[link.issue][0] == link.agreed for link in world.links)


@given(worlds(single=True), STEPS)
@settings(max_examples=400, deadline=None)
def test_what_was_decided_last_is_not_undone(
    world: World, steps: list[tuple[str, int, str, tuple[str, str]]]
) -> None:
    """One link at rest: who changes alone is never overruled; the other side follows, or settings say why it does not."""
    world.settle([0])
    for kind, _, status, issue in steps:
        before = world.groups[0], world.issues[0]
        if kind == "ours":
            world.groups[0] = _change(world.groups[0], status)
        elif kind == "theirs":
            world.issues[0] = issue
        changed = world.groups[0], world.issues[0]
        world.done.clear()
        world.settle([0])
        pushed = [found for _, found in world.done if found.do == "push"]
        pulled = [found for _, found in world.done if found.do == "pull"]
        assert len(world.done) <= 1, "one change, one answer"
        if before[1] == changed[1]:
            assert not pulled, "nothing changed there"
        if before[0] == changed[0]:
            assert not pushed, "nothing changed here"
            assert world.issues[0] == changed[1]


def _everything() -> Iterator[tuple[Ours, Theirs, str | None]]:
    for status, settled, state, reason, agreed, moved, tried in itertools.product(
        OURS,
        ("", *OURS),
        (OPEN, CLOSED),
        ("", "completed", "not_planned", "duplicate"),
        (OPEN, CLOSED, None),
        ("", "merged", "unmerged"),
        ("", OPEN, CLOSED),
    ):
        yield Ours(status, settled, moved=moved), Theirs(state, reason, tried=tried), agreed  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["both", "push", "pull", "off"])
def test_of_everything_there_can_be(way: str) -> None:
    """What is pushed or pulled is what the settings allow, differs from what is there, and is not decided again."""
    tracker = Tracker.model_validate({"name": "shop", "integration": "hub", "sync": {"status": way}})
    for ours, theirs, agreed in _everything():
        found = decide(ours, theirs, agreed, tracker)
        assert (
            found.do not in {"both": (), "push": ("pull",), "pull": ("push",), "off": ("push", "pull")}[way]
        )
        if found.do == "push":
            assert found.to == projection(ours.status, tracker.closed) != theirs.state
            after, there = ours, replace(theirs, state=found.to, reason=found.reason)
        else:
            after = replace(ours, status=found.to) if found.do == "pull" else ours
            there = theirs
        if ours.status != "discarded":
            assert found.agreed == there.state
            again = decide(
                replace(after, settled=found.settled or "", moved=""), there, found.agreed, tracker
            )
            assert again.do == "nothing", (ours, theirs, agreed, found, again)


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("state", [OPEN, CLOSED])
def test_a_merge_closes_and_opens_nothing_there(ours: str, state: str) -> None:
    """Its issue belongs to the target now, whose status is another one; that it changed is nobody's decision about the issue."""
    found = decide(Ours(ours, moved="merged"), Theirs(state), state, DEFAULTS)
    assert found.do == "nothing"
    later = decide(Ours(ours, found.settled or ""), Theirs(state), found.agreed, DEFAULTS)
    assert later.do == "nothing"


def test_the_target_of_a_merge_is_followed_from_then_on() -> None:
    merged = decide(Ours("resolved", moved="merged"), Theirs(OPEN), OPEN, DEFAULTS)
    back = decide(Ours("regressed", merged.settled or ""), Theirs(OPEN), merged.agreed, DEFAULTS)
    assert (back.do, back.agreed, back.settled) == ("nothing", OPEN, "")
    resolved = decide(Ours("resolved", back.settled or ""), Theirs(OPEN), back.agreed, DEFAULTS)
    assert (resolved.do, resolved.to) == ("push", CLOSED)


DUPLICATES = DEFAULTS.model_copy(update={"merge_policy": "close_as_duplicate"})


@pytest.mark.parametrize("ours", [word for word in OURS if word != "discarded"])
def test_a_duplicate_stays_closed_whatever_the_group_becomes_while_another_issue_is_there(ours: str) -> None:
    found = decide(Ours(ours, moved="merged"), Theirs(OPEN, beside=OPEN), OPEN, DUPLICATES)
    assert (found.do, found.to, found.reason, found.settled) == ("push", CLOSED, "duplicate", "duplicate")
    for word, beside in itertools.product(("unresolved", "regressed", "resolved", "ignored"), (OPEN, CLOSED)):
        there = Theirs(CLOSED, "duplicate", beside=beside)
        later = decide(Ours(word, found.settled or ""), there, CLOSED, DUPLICATES)
        assert (later.do, later.settled) == ("nothing", "duplicate")
    alone = decide(Ours("unresolved", found.settled or ""), Theirs(CLOSED, "duplicate"), CLOSED, DUPLICATES)
    assert (alone.do, alone.to) == ("push", OPEN)


@pytest.mark.parametrize(
    ("ours", "theirs", "way"),
    [
        (Ours("unresolved", moved="merged"), Theirs(OPEN, beside=CLOSED), "both"),
        (Ours("unresolved", moved="merged"), Theirs(OPEN), "both"),
        (Ours("unresolved", moved="merged"), Theirs(OPEN, beside=OPEN), "pull"),
        (Ours("unresolved", moved="merged", other_groups=["unresolved"]), Theirs(OPEN, beside=OPEN), "both"),
        (Ours("unresolved"), Theirs(OPEN, beside=OPEN), "both"),
    ],
)
def test_what_is_no_duplicate_is_not_closed(ours: Ours, theirs: Theirs, way: str) -> None:
    tracker = DUPLICATES.model_copy(update={"sync": DUPLICATES.sync.model_copy(update={"status": way})})
    assert decide(ours, theirs, OPEN, tracker).do == "nothing"


def test_after_an_unmerge_the_group_is_right() -> None:
    found = decide(Ours("unresolved", moved="unmerged"), Theirs(CLOSED), CLOSED, DEFAULTS)
    assert (found.do, found.to) == ("push", OPEN)


def test_a_write_of_ours_whose_answer_was_lost_is_no_change_of_theirs() -> None:
    """Resolved here and closed there, the answer was lost, and it was unresolved here: it is reopened, not resolved again."""
    found = decide(Ours("unresolved"), Theirs(CLOSED, "completed", tried=CLOSED), OPEN, DEFAULTS)
    assert (found.do, found.to) == ("push", OPEN)


def test_a_regression_that_was_commented_on_is_commented_on_once_and_again_when_it_comes_back_again() -> None:
    tracker = DEFAULTS.model_copy(update={"on_regression": "comment"})
    first = decide(Ours("regressed"), Theirs(CLOSED), CLOSED, tracker)
    assert (first.do, first.agreed, first.instead) == ("comment", CLOSED, "reopen")
    settled = first.settled or ""
    assert decide(Ours("regressed", settled), Theirs(CLOSED), CLOSED, tracker).do == "nothing"
    resolved = decide(Ours("resolved", settled), Theirs(CLOSED), CLOSED, tracker)
    assert (resolved.do, resolved.settled) == ("nothing", "")
    assert decide(Ours("regressed"), Theirs(CLOSED), CLOSED, tracker).do == "comment"


def test_a_link_that_turns_too_often_is_held_whatever_it_would_do() -> None:
    for ours, theirs, agreed in (
        ("resolved", OPEN, OPEN),
        ("unresolved", CLOSED, OPEN),
        ("regressed", CLOSED, CLOSED),
    ):
        assert decide(Ours(ours), Theirs(theirs), agreed, DEFAULTS, turns=6).do in ("push", "pull")
        held = decide(Ours(ours), Theirs(theirs), agreed, DEFAULTS, turns=7)
        assert (held.do, held.why, held.agreed) == ("hold", "flapping", None)
    assert decide(Ours("resolved"), Theirs(CLOSED), CLOSED, DEFAULTS, turns=7).do == "nothing"


@pytest.mark.parametrize("link", ["creating", "held", "gone", "unlinked"])
def test_only_a_link_that_is_linked_carries_anything(link: str) -> None:
    assert decide(Ours("resolved"), Theirs(OPEN, moved_to="7"), OPEN, DEFAULTS, link=link).do == "nothing"


def test_an_ignored_group_neither_keeps_an_issue_open_nor_closes_it() -> None:
    blocked = decide(Ours("resolved", other_groups=["regressed", "ignored"]), Theirs(OPEN), OPEN, DEFAULTS)
    assert (blocked.do, blocked.agreed) == ("nothing", OPEN)
    free = decide(Ours("resolved", other_groups=["ignored", "discarded"]), Theirs(OPEN), OPEN, DEFAULTS)
    assert (free.do, free.to) == ("push", CLOSED)
    assert projection("ignored", Closed()) is None

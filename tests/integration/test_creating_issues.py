"""Issues that are made from groups: once, whatever answer comes or does not, and whoever dies on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import JSON, update

from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.integrations.creating import LOOKS
from tasks_pipeline.integrations.twins import turned_up
from tasks_pipeline.links.intents import retry_dead
from tasks_pipeline.links.making import request_by_rule, unlink
from tasks_pipeline.storage.state.tables import integration_states, issue_intents
from tasks_pipeline.trackers.answers import Do, Verdict
from tasks_pipeline.trackers.issue import Draft, Person
from tasks_pipeline.trackers.markers import hidden, marker_in
from tests.support.day import Day
from tests.support.events import event
from tests.support.far_side import LOST, Answers, FarSide
from tests.support.making import ANNA, TRACKER, Maker, request, tracked


@pytest.fixture
def far(tmp_path: Path) -> FarSide:
    return FarSide(tmp_path / "issues.json")


@pytest.fixture
def shop(own_day: Day) -> Day:
    """A day with one group, and a tracker."""
    day = tracked(own_day, "labels: [error, '{level}']")
    day.send(event("Boom", release="shop@1.2", environment="production", tags={"team": "cart"}))
    day.drain()
    return day


@pytest.fixture
def maker(shop: Day, far: FarSide) -> Maker:
    return Maker(shop.stores, far)


def test_an_issue_is_made_and_the_group_knows_it(shop: Day, far: FarSide, maker: Maker) -> None:
    link = request(shop.stores, shop.group()["id"])
    assert (link.state, link.external_id) == ("creating", None)
    assert maker.make_all() == 1
    (issue,) = far.issues()
    assert issue["title"] == "Boom: it went wrong"
    assert issue["labels"] == ["error"], "each once"
    assert "do_Boom" in issue["body"]
    assert marker_in(issue["body"]) == link.marker
    made = maker.link(link)
    assert (made.state, made.shown_key, made.agreed_state, made.note) == (
        "linked",
        "acme/shop#1",
        "open",
        "",
    )
    assert made.look_at is not None, "what was decided meanwhile is carried over at once"
    (entry,) = maker.log(shop.group()["id"])
    assert (entry["action"], entry["actor"], entry["data"]["issue"]) == ("link", ANNA, issue_url(1))


def issue_url(number: int) -> str:
    return f"https://github.example/acme/shop/issues/{number}"


def test_labels_that_were_left_out_without_a_word_are_noted(shop: Day, far: FarSide, maker: Maker) -> None:
    far.keeps_labels = False
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    assert maker.link(link).note == "partial: labels"


# ── answers that were lost


def test_a_lost_answer_is_looked_for_and_adopted(shop: Day, far: FarSide, maker: Maker) -> None:
    far.after = Answers("create", LOST)
    link = request(shop.stores, shop.group()["id"])
    before = datetime.now(UTC)
    maker.make_next(at=before)
    intent = maker.intent()
    assert (intent["status"], intent["looks"]) == ("unknown", 0)
    assert timedelta(seconds=4) < intent["not_before"] - before < timedelta(seconds=8)
    assert not maker.make_next(at=datetime.now(UTC)), "not before it may be seen there"
    assert maker.make_next()
    assert maker.link(link).shown_key == "acme/shop#1"
    assert maker.intent()["status"] == "done"
    assert len(far.issues()) == 1


def test_a_request_that_never_arrived_is_made_again_with_the_same_marker(
    shop: Day, far: FarSide, maker: Maker
) -> None:
    far.before = Answers("create", LOST)
    looked = Answers("find_marker")
    far.after = looked
    link = request(shop.stores, shop.group()["id"])
    maker.make_next()
    waits = []
    while maker.intent()["status"] == "unknown":
        intent = maker.intent()
        waits.append(intent["not_before"] - datetime.fromisoformat(intent["data"]["lost_at"]))
        maker.make_next()
    assert [round(wait.total_seconds()) for wait in waits] == list(LOOKS)
    assert looked.seen == len(LOOKS)
    (issue,) = far.issues()
    assert marker_in(issue["body"]) == link.marker
    assert (maker.intent()["status"], maker.intent()["attempts"]) == ("done", 2)


def test_what_was_lost_again_and_again_is_given_up_and_never_doubled(
    shop: Day, far: FarSide, maker: Maker
) -> None:
    far.before = Answers("create", *[Verdict(Do.RETRY, said="not reached")] * 20)
    link = request(shop.stores, shop.group()["id"])
    assert maker.make_all() == 12
    assert maker.intent()["status"] == "dead"
    assert maker.link(link).error == "not reached"
    assert far.issues() == []


def test_a_mistake_of_ours_behind_the_call_is_a_lost_answer(shop: Day, far: FarSide, maker: Maker) -> None:
    """Whatever raises once the request may have arrived."""
    far.after = Answers("create", KeyError("number"))
    request(shop.stores, shop.group()["id"])
    with pytest.raises(KeyError):
        maker.make_next()
    maker.make_all()
    assert (len(far.issues()), maker.intent()["status"]) == (1, "done")


@pytest.mark.parametrize("skew", [600.0, -600.0, None])
def test_it_is_looked_for_by_their_clock(shop: Day, far: FarSide, maker: Maker, skew: float | None) -> None:
    """Which may be ten minutes off; and where it was never seen the look begins long before."""
    if skew is not None:
        known = {"integration": "hub", "tracker": "", "status": "ok", "since": datetime.now(UTC)}
        known |= {column.name: {} for column in integration_states.c if isinstance(column.type, JSON)}
        with shop.stores.state.write() as connection:
            connection.execute(integration_states.insert().values(**known, clock_skew_seconds=skew))
    since: list[datetime] = []
    far.before = lambda call, about: since.append(about) if call == "find_marker" else None
    far.after = Answers("create", LOST)
    request(shop.stores, shop.group()["id"])
    sent = datetime.now(UTC)
    maker.make_next(at=sent)
    far.change(1, created_at=(sent + timedelta(seconds=skew or 0)).isoformat())
    maker.make_next()
    assert maker.intent()["status"] == "done"
    behind = timedelta(seconds=min(skew, 0) - 120) if skew is not None else timedelta(days=-1)
    wanted = sent + behind
    assert abs((since[0] - wanted).total_seconds()) < 10


def test_while_it_cannot_be_looked_for_nothing_is_sent_again(shop: Day, far: FarSide, maker: Maker) -> None:
    failing = Answers("find_marker", *[Verdict(Do.UNREACHABLE, said="HTTP 502")] * 30)
    far.before, far.after = failing, Answers("create", LOST)
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    assert failing.seen == 31
    assert len(far.issues()) == 1
    assert maker.link(link).state == "linked"
    assert maker.intent()["data"]["sent"] == 1


def test_a_sender_that_died_may_have_made_it(shop: Day, far: FarSide, maker: Maker) -> None:
    """Killed between the call and its record: whoever is next looks before anything else."""

    class Killed(BaseException):
        pass

    def killed(call: str, _about: object) -> None:
        if call == "create":
            raise Killed

    far.after = killed
    link = request(shop.stores, shop.group()["id"])
    with pytest.raises(Killed):
        maker.make_next()
    far.after = Answers("create")
    assert not maker.make_next(at=datetime.now(UTC)), "it is in hand until its lease ends"
    maker.expire()
    maker.make_all()
    assert len(far.issues()) == 1
    assert maker.link(link).shown_key == "acme/shop#1"


# ── other answers


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Do.RATE_LIMITED, wait=30, said="HTTP 403: secondary rate limit"),
        Verdict(Do.AUTH_FAILED, said="HTTP 401: Bad credentials"),
        Verdict(Do.MISCONFIGURED, said="a redirect to another host"),
        Verdict(Do.HELD, tracker="degraded", said="HTTP 410: issues are switched off"),
    ],
    ids=lambda verdict: str(verdict.do),
)
def test_what_says_nothing_about_the_issue_uses_no_attempt_up(
    shop: Day, far: FarSide, maker: Maker, verdict: Verdict
) -> None:
    far.before = Answers("create", *[verdict] * 20)
    link = request(shop.stores, shop.group()["id"])
    before = datetime.now(UTC)
    maker.make_next(at=before)
    intent = maker.intent()
    assert (intent["status"], intent["attempts"], intent["reason"]) == ("waiting", 0, verdict.said)
    assert intent["not_before"] >= before + timedelta(seconds=verdict.wait or 20)
    assert maker.link(link).error == verdict.said
    maker.make_all()
    assert (len(far.issues()), maker.link(link).error) == (1, "")


def test_a_refused_field_is_left_out_once_and_then_it_is_dead_and_says_so(
    shop: Day, far: FarSide, maker: Maker
) -> None:
    refused = Verdict(
        Do.DEAD, fields=("labels",), then="once more without that field", said="HTTP 422: labels invalid"
    )
    far.before = Answers("create", refused)
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    (issue,) = far.issues()
    assert issue["labels"] == []

    far.before = Answers("create", refused, refused)
    other = request(shop.stores, shop.group()["id"])
    maker.make_all()
    assert len(far.issues()) == 1
    assert maker.intents()[-1]["status"] == "dead"
    assert maker.link(other).error == "HTTP 422: labels invalid (labels)"
    assert retry_dead(shop.stores.state, datetime.now(UTC), integration="hub") == 1
    assert maker.link(other).error == ""
    maker.make_next()
    assert len(far.issues()) == 2, "it was not made before, so nobody looks for it"
    assert maker.link(link).state == "linked"


# ── what was decided meanwhile


def test_a_rule_s_issue_is_not_made_of_a_group_that_was_resolved_meanwhile_a_person_s_is(
    shop: Day, far: FarSide, maker: Maker
) -> None:
    group_id = shop.group()["id"]
    with shop.stores.state.write() as connection:
        by_rule = request_by_rule(
            shop.stores.state, connection, shop.stores.config, group_id, TRACKER, rule="all", now=datetime.now(UTC)
        )  # fmt: skip
    assert by_rule is not None
    resolve_groups(shop.stores.state, [group_id], ANNA)
    maker.make_all()
    assert far.issues() == []
    assert (maker.link(by_rule).state, maker.intent()["status"]) == ("unlinked", "dropped")
    request(shop.stores, group_id)
    maker.make_all()
    assert len(far.issues()) == 1


def test_unlinked_before_it_is_made_nothing_is_made(shop: Day, far: FarSide, maker: Maker) -> None:
    link = request(shop.stores, shop.group()["id"])
    with shop.stores.state.write() as connection:
        unlink(shop.stores.state, connection, shop.stores.config, link, actor=ANNA)
    assert maker.make_all() == 0
    assert far.issues() == []


def test_rules_make_no_more_issues_in_an_hour_than_they_may_and_the_others_wait(
    own_day: Day, far: FarSide
) -> None:
    shop = tracked(own_day, "max_new_issues_per_hour: 2")
    shop.send(*(event(f"Error{number}") for number in range(4)))
    shop.drain()
    maker = Maker(shop.stores, far)
    now = datetime.now(UTC)
    ids = [group["id"] for group in shop.groups()]
    with shop.stores.state.write() as connection:
        for group_id in ids[:3]:
            request_by_rule(
                shop.stores.state, connection, shop.stores.config, group_id, TRACKER, rule="all", now=now
            )
    request(shop.stores, ids[3])
    while maker.make_next(at=datetime.now(UTC)):
        pass
    assert len(far.issues()) == 3, "two by the rule, and what a person asked for"
    waiting = maker.intents()[2]
    assert (waiting["status"], waiting["attempts"]) == ("waiting", 0)
    assert timedelta(minutes=59) < waiting["not_before"] - now < timedelta(minutes=61)
    assert "max_new_issues_per_hour" in waiting["reason"]
    with shop.stores.state.write() as connection:  # an hour later
        done = update(issue_intents).where(issue_intents.c.status == "done")
        connection.execute(done.values(ended_at=now - timedelta(hours=2)))
    maker.make_all()
    assert len(far.issues()) == 4


# ── twins


def test_an_issue_that_turns_up_with_the_marker_is_adopted_at_once(
    shop: Day, far: FarSide, maker: Maker
) -> None:
    far.after = Answers("create", LOST)
    link = request(shop.stores, shop.group()["id"])
    maker.make_next()
    work = maker.work
    issue = far.read(work.trackers[0], "1#1")
    assert issue is not None
    turned_up(work, work.trackers[0], [issue])
    assert maker.link(link).state == "linked"
    assert maker.intent()["status"] == "done"
    assert maker.make_all() == 0


def test_of_two_with_one_marker_the_lower_is_kept(shop: Day, far: FarSide, maker: Maker) -> None:
    """The request was made twice: its first answer was lost, and no look showed the issue."""
    far.after = Answers("create", LOST)
    link = request(shop.stores, shop.group()["id"])
    maker.make_next()
    for _ in LOOKS:
        far.change(1, created_at="2000-01-01T00:00:00+00:00")  # their list does not show it yet
        maker.make_next()
    assert maker.link(link).shown_key == "acme/shop#2"
    work = maker.work
    twin = far.read(work.trackers[0], "1#1")
    assert twin is not None
    turned_up(work, work.trackers[0], [twin])
    first, second = far.issues()
    assert (first["state"], second["state"], second["reason"]) == ("open", "closed", "duplicate")
    assert f"duplicate of {issue_url(1)}" in second["comments"][0]
    assert maker.link(link).shown_key == "acme/shop#1"
    again = far.read(work.trackers[0], "1#2")
    assert again is not None
    turned_up(work, work.trackers[0], [again])
    assert len(far.issues()[1]["comments"]) == 1, "once"


@pytest.mark.parametrize("author", [Person("mallory"), None])
def test_an_older_issue_into_which_a_stranger_put_the_marker_is_no_twin(
    shop: Day, far: FarSide, maker: Maker, author: Person | None
) -> None:
    """None: of an account that is gone. Though ours was sent twice, and though it has the lower number: else everybody there could have ours closed."""
    far.create(maker.work.trackers[0], Draft("theirs", "old", "theirs"))
    far.before = Answers("create", Verdict(Do.RETRY, said="not reached"))
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    assert maker.link(link).shown_key == "acme/shop#2"
    work = maker.work
    theirs = far.read(work.trackers[0], "1#1")
    assert theirs is not None
    theirs = replace(theirs, body=hidden(link.marker), author=author)
    turned_up(work, work.trackers[0], [theirs])
    assert [issue["state"] for issue in far.issues()] == ["open", "open"]
    assert maker.link(link).shown_key == "acme/shop#2"


def test_a_copy_that_somebody_made_by_hand_is_nobody_s_twin(shop: Day, far: FarSide, maker: Maker) -> None:
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    far.copy(1)
    work = maker.work
    copy = far.read(work.trackers[0], "1#2")
    assert copy is not None
    turned_up(work, work.trackers[0], [copy])
    assert [issue["state"] for issue in far.issues()] == ["open", "open"]
    assert maker.link(link).shown_key == "acme/shop#1"

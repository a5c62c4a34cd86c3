"""What ships: groups that commits fix, resolutions in a commit, deploys that are told, figures that are counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import OperationalError

from tasks_pipeline.groups.decisions import actions_of, resolve_groups, unresolve_groups
from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.channels.mail import MailSender
from tasks_pipeline.notifications.composing import message_of
from tasks_pipeline.notifications.deploy_content import deploy_title
from tasks_pipeline.processing.recompute import recompute_day
from tasks_pipeline.releases import due
from tasks_pipeline.releases.commits import set_commits, set_refs
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.due import COUNT_EVERY, releases_due
from tasks_pipeline.releases.figures import count_releases
from tasks_pipeline.releases.known import Heard, delete_release, find_releases, note_releases, save_release
from tasks_pipeline.releases.sent_commits import SentCommit, SentRef
from tasks_pipeline.shipping import loop, tell_deploys
from tasks_pipeline.shipping import update_release_data as update_module
from tasks_pipeline.shipping.commits import read_commits
from tasks_pipeline.shipping.loop import ShippingReport, ship_releases
from tasks_pipeline.shipping.process_new_release import process_new_release
from tasks_pipeline.shipping.update_release_data import update_release_data
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.passed_over import passed_over
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.tools import Tools
from tests.support.alerting import configured, outbox
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.plans import recorded, scans
from tests.support.waiting import wait_for

V = "shop@1.0.0"
SHA = "809719530a545e991c343370658cdc9f83430afb"
NOW = datetime.now(UTC)
ATTACK = "<script>alert(1)</script>\u202e\x1b[31m"
PEOPLE = """
channels: [{name: mail, type: mail, host: localhost, sender: errors@acme.example}]
members:
  - {email: jo@example.com, timezone: Europe/Vienna}
  - {email: ann@acme.example, notifications: {deploys: always, rules: ["none of them"], only_assigned: true}}
  - {email: never@acme.example, notifications: {deploys: never}}
  - {email: other@acme.example}
  - {email: mute@acme.example, notifications: {delivery: none}}
"""


def commit(
    sha: str = SHA, message: str = "", name: str = "Jo Dev", email: str | None = "Jo@Example.com"
) -> SentCommit:
    return SentCommit(sha, "acme/shop", message, name, email, NOW, (("shop/cart.py", "M"),))


def send_commits(stores: Stores, *sent: SentCommit, version: str = V) -> None:
    with stores.state.write() as connection:
        set_commits(stores.state, connection, version, sent)


def ship(stores: Stores) -> ShippingReport:
    return ship_releases(stores, linger_seconds=0)


@pytest.fixture
def day(own_day: Day) -> Day:
    """A day in stores of its own, whose project is `shop` with five members."""
    return replace(own_day, stores=configured(own_day.stores, own_day.project, PEOPLE))


def groups_of(day: Day, *names: str) -> list[str]:
    """Make a group of each name; gives their short ids."""
    day.send(*(event(name) for name in names))
    day.drain()
    return [str(group["short_id"]) for group in day.groups()]


def row_of(day: Day, short_id: str) -> Any:
    (group_id,) = [group["id"] for group in day.groups() if group["short_id"] == short_id]
    with day.stores.state.read() as connection:
        return connection.execute(select(t.groups).where(t.groups.c.id == group_id)).one()


def links(day: Day) -> set[tuple[int, str, str, bool]]:
    c = t.group_commits.c
    with day.stores.state.read() as connection:
        rows = connection.execute(select(c.group_id, c.sha, c.version, c.resolved))
        return {tuple(row) for row in rows}  # type: ignore[misc]


# ── fixes


def test_a_commit_resolves_the_groups_that_it_fixes_in_its_release(day: Day) -> None:
    first, second = groups_of(day, "A", "B")
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(message=f"cart: mend it\n\nFixes {first} and SHOP-ZZZ"))
    assert releases_due(day.stores.state, NOW) == ["new releases", "commits"]
    report = ship(day.stores)
    assert (report.shipped.groups_resolved, report.new_releases, report.passed_over) == (1, 1, 0)
    fixed = row_of(day, first)
    assert (fixed.status, fixed.resolution, fixed.resolved_in_release) == ("resolved", "in_release", V)
    assert row_of(day, second).status == "unresolved"
    (entry,) = actions_of(day.stores.state, fixed.id)
    assert (entry["action"], entry["actor"]) == ("resolve", "commit 809719530a54 (Jo Dev)")
    assert entry["data"] == {"release": V, "kind": "commit", "commit": SHA, "member": "jo@example.com"}
    assert links(day) == {(fixed.id, SHA, V, True)}
    assert releases_due(day.stores.state, NOW + timedelta(hours=2)) == []


def test_each_commit_of_a_release_resolves_a_group_once(day: Day) -> None:
    (first,) = groups_of(day, "A")
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(message=f"fix {first}"))
    ship(day.stores)
    group = row_of(day, first)
    unresolve_groups(day.stores.state, [group.id], "anna")
    send_commits(day.stores, commit("b" * 40), commit(message=f"fix {first}"))
    ship(day.stores)
    process_new_release(day.stores, day.project, V)
    update_release_data(day.stores, day.project, V)
    assert row_of(day, first).status == "unresolved", "what came back since stays"
    save_release(day.stores.state, [day.project], "shop@1.1.0", {})
    send_commits(day.stores, commit(message=f"fix {first}"), version="shop@1.1.0")
    ship(day.stores)
    assert row_of(day, first).resolved_in_release == "shop@1.1.0", (
        "a release that holds it too resolves it in itself"
    )
    assert links(day) == {(group.id, SHA, V, True), (group.id, SHA, "shop@1.1.0", True)}


def test_a_thousand_commits_that_fix_the_same_groups_ask_little_under_the_lock(day: Day) -> None:
    named = ", ".join(groups_of(day, *"ABCDE"))
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, *(commit(f"{n:040x}", f"fixes {named}") for n in range(1000)))
    asked = 0

    def count(*_: Any) -> None:
        nonlocal asked
        asked += 1

    listen(day.stores.state.engine, "before_cursor_execute", count)
    try:
        report = ship(day.stores)
    finally:
        remove(day.stores.state.engine, "before_cursor_execute", count)
    assert report.shipped.groups_resolved == 5
    assert len(links(day)) == 5000
    assert asked < 200


def test_many_groups_that_a_release_fixes_are_resolved_with_few_statements(day: Day) -> None:
    named = groups_of(day, *(f"E{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(100)))
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, *(commit(f"{n:040x}", f"fixes {each}") for n, each in enumerate(named)))
    asked = 0

    def count(*_: Any) -> None:
        nonlocal asked
        asked += 1

    listen(day.stores.state.engine, "before_cursor_execute", count)
    try:
        report = ship(day.stores)
    finally:
        remove(day.stores.state.engine, "before_cursor_execute", count)
    assert report.shipped.groups_resolved == len(named) == 100
    assert asked < 100


def test_a_release_locks_the_groups_that_it_fixes_in_the_order_of_batches(postgres_home: Home) -> None:
    """Whoever waits for a group holds none of a greater number, or the two could wait for each other."""
    with open_stores(postgres_home) as stores:
        day = Day(stores, NOW.date(), 1000)
        day = replace(day, stores=configured(stores, day.project, PEOPLE))
        state = day.stores.state
        named = groups_of(day, "A", "B", "C")
        ids = sorted(row_of(day, each).id for each in named)
        by_id = sorted(named, key=lambda each: row_of(day, each).id)
        resolve_groups(state, [ids[2]], "ann", in_commit="c" * 40)
        save_release(state, [day.project], V, {})
        first, second = (
            commit(letter * 40, f"fixes {each}") for letter, each in zip("ab", by_id, strict=False)
        )
        send_commits(day.stores, first, second, commit("c" * 40))  # the newest first
        locked = select(t.groups.c.id).with_for_update(key_share=True)
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )

        def is_waiting() -> bool:
            with state.read() as connection:
                return bool(connection.execute(waiting).scalar())

        with ThreadPoolExecutor() as pool:
            with state.write() as batch:
                batch.execute(locked.where(t.groups.c.id == ids[0]))
                shipping = pool.submit(process_new_release, day.stores, day.project, V)
                wait_for("the release waits for the first group", is_waiting)
                batch.execute(text("SET LOCAL lock_timeout = '1s'"))
                assert len(batch.execute(locked.where(t.groups.c.id.in_(ids[1:]))).all()) == 2
            assert shipping.result(60).groups_resolved == 3


def test_commits_of_a_release_of_many_projects_are_read_once(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = groups_of(day, "A")
    projects = [*range(day.project - 3, day.project + 1)]
    save_release(day.stores.state, projects, V, {})
    ship(day.stores)
    read, asked = read_commits, list[str]()

    def counting(stores: Stores, version: str) -> Any:
        asked.append(version)
        return read(stores, version)

    for module in (loop, update_module):
        monkeypatch.setattr(module, "read_commits", counting)
    send_commits(day.stores, commit(message=f"fixes {first}"))
    report = ship(day.stores)
    assert (report.updated_releases, report.shipped.groups_resolved, asked) == (4, 1, [V])


def test_what_is_not_resolved_by_a_commit(day: Day) -> None:
    merged, target, discarded, resolved = groups_of(day, "A", "B", "C", "D")
    ids = [row_of(day, short_id).id for short_id in (merged, target, discarded, resolved)]
    merge_groups(day.stores.state, ids[1], [ids[0]])
    discard_groups(day.stores.state, [ids[2]])
    resolve_groups(day.stores.state, [ids[3]], "anna")
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(message=f"fixes {merged}, {discarded}, {resolved}"))
    ship(day.stores)
    assert links(day) == {(ids[1], SHA, V, True), (ids[2], SHA, V, False), (ids[3], SHA, V, False)}
    with day.stores.state.read() as connection:
        rows = connection.execute(
            select(t.groups.c.status, t.groups.c.resolution).order_by(t.groups.c.id)
        ).all()
    assert [row.status for row in rows] == ["unresolved", "resolved", "discarded", "resolved"]
    assert rows[3].resolution != "in_release"


def test_a_project_without_the_release_gets_a_link_until_it_has_it(day: Day) -> None:
    (first,) = groups_of(day, "A")
    save_release(day.stores.state, [7], V, {})
    send_commits(day.stores, commit(message=f"fixes {first}"))
    ship(day.stores)
    group = row_of(day, first)
    assert (group.status, links(day)) == ("unresolved", {(group.id, SHA, V, False)})
    with day.stores.state.write() as connection:
        note_releases(day.stores.state, connection, day.project, {V: Heard(NOW)})
    assert ship(day.stores).shipped.groups_resolved == 1
    assert (row_of(day, first).status, links(day)) == ("resolved", {(group.id, SHA, V, True)})
    with day.stores.state.read() as connection:
        (row,) = find_releases(connection, [day.project], V)
    assert row["commit_count"] == 1


def test_a_revert_fixes_nothing(day: Day) -> None:
    (first,) = groups_of(day, "A")
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(message=f'Revert "x"\n\nfixes {first}'))
    ship(day.stores)
    assert (row_of(day, first).status, links(day)) == ("unresolved", set())


def test_a_resolution_in_a_commit_waits_for_its_release(day: Day) -> None:
    first, second = groups_of(day, "A", "B")
    ids = [row_of(day, short_id).id for short_id in (first, second)]
    with day.stores.state.write() as connection:
        for group_id, sha in zip(ids, (SHA, "c" * 40), strict=True):
            decided = {"status": "resolved", "resolution": "in_commit", "resolved_in_commit": sha}
            connection.execute(update(t.groups).where(t.groups.c.id == group_id).values(**decided))
    save_release(day.stores.state, [day.project], V, {})
    ship(day.stores)
    assert row_of(day, first).resolution == "in_commit"
    send_commits(day.stores, commit())
    ship(day.stores)
    row = row_of(day, first)
    assert (row.resolution, row.resolved_in_release, row.status) == ("in_release", V, "resolved")
    assert row.resolved_release_date is not None
    save_release(day.stores.state, [day.project], "shop@1.1.0", {})
    send_commits(day.stores, commit(), version="shop@1.1.0")
    ship(day.stores)
    assert row_of(day, first).resolved_in_release == V, "the first that holds it counts"
    assert row_of(day, second).resolution == "in_commit"


def test_thousands_of_names_by_events_cost_next_to_nothing(day: Day) -> None:
    with day.stores.state.write() as connection:
        heard = {f"v{n}": Heard(NOW) for n in range(1200)}
        note_releases(day.stores.state, connection, day.project, heard)
    assert ship(day.stores).new_releases == 1200
    assert releases_due(day.stores.state, NOW) == []


def test_ever_new_releases_are_counted_once_a_minute(day: Day) -> None:
    def counted(n: int, seconds: float) -> int:
        with day.stores.state.write() as connection:
            note_releases(day.stores.state, connection, day.project, {f"v{n}": Heard(NOW, NOW, NOW)})
        return count_releases(day.stores.state, day.stores.lake, NOW + timedelta(seconds=seconds))

    assert [counted(n, seconds) for n, seconds in enumerate((0, 1, 59, 61, 62))] == [1, 0, 0, 3, 0]


# ── deploys


def deployed(
    day: Day, environment: str = "production", version: str = V, seconds: int = 42, **facts: Any
) -> bool:
    finished = facts.pop("finished_at", NOW)
    said = {
        "environment": environment,
        "started_at": finished - timedelta(seconds=seconds),
        "finished_at": finished,
        **facts,
    }
    new, _ = add_deploy(day.stores.state, [day.project], version, said)
    return new


def mails(stores: Stores, project: int) -> list[dict[str, Any]]:
    """Messages about deploys."""
    return [row for row in outbox(stores, project) if row["type"] == "deploy"]


def told(day: Day) -> dict[str, tuple[str, str]]:
    rows = mails(day.stores, day.project)
    return {row["key"].removeprefix(f"deploy:{day.project}:"): (row["status"], row["reason"]) for row in rows}


def test_authors_are_told_of_the_first_deploy(day: Day) -> None:
    (first,) = groups_of(day, "A")
    save_release(day.stores.state, [day.project], V, {})
    by = [
        ("jo", "JO@example.com"),
        ("never", "never@acme.example"),
        ("mute", "mute@acme.example"),
        ("gone", "gone@acme.example"),
    ]
    sent = [commit(f"{n}" * 40, f"fixes {first}", name, email) for n, (name, email) in enumerate(by)]
    send_commits(day.stores, *sent)
    deployed(day)
    report = ship(day.stores)
    assert (report.told.deploys, report.told.mails) == (1, 2)
    expected = {
        f"{V}:production:jo@example.com": ("waiting", ""),
        f"{V}:production:ann@acme.example": ("waiting", ""),
        f"{V}:production:never@acme.example": ("skipped", "wants to hear of no deploys"),
        f"{V}:production:mute@acme.example": ("skipped", "wants no notifications"),
    }
    assert told(day) == expected
    assert deployed(day, finished_at=NOW + timedelta(hours=1))
    assert deployed(day, "staging")
    ship(day.stores)
    again = {key: value for key, value in told(day).items() if key not in expected}
    assert {key: status for key, (status, _) in again.items() if "again" in key} == dict.fromkeys(
        [f"{V}:production:{m}:again" for m in ("jo@example.com", "ann@acme.example", "mute@acme.example")],
        "skipped",
    )
    assert again[f"{V}:production:jo@example.com:again"][1] == "the release was deployed there before"
    assert again[f"{V}:staging:jo@example.com"] == ("waiting", "")
    assert releases_due(day.stores.state, NOW + timedelta(hours=2)) == []


def test_the_mail_of_a_deploy(day: Day) -> None:
    first, discarded = groups_of(day, ATTACK, "Discarded")
    discard_groups(day.stores.state, [row_of(day, discarded).id])
    with day.stores.state.write() as connection:
        connection.execute(update(t.groups).values(first_release=V, title=ATTACK))
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit("a" * 40, f"fixes {first}", ATTACK), commit("b" * 40))
    deployed(day, name=ATTACK, url=f"https://ci/{ATTACK}", seconds=3605)
    ship(day.stores)
    (row,) = [row for row in mails(day.stores, day.project) if row["target"] == "member:jo@example.com"]
    message = message_of(day.stores, row)
    assert (message.subject, message.title) == ("[shop] Deployed to production", f"{V} is in production")
    facts = dict(message.facts)
    assert (facts["Took"], facts["Commits"], facts["Files changed"]) == ("1 h 0 min", "2", "1")
    assert (facts["Groups resolved"], facts["New groups"]) == ("1", "1")
    assert "CE" in facts["Finished"]
    assert message.changed == "It holds 2 commits by 1 author."
    assert [group.counts for group in message.groups] == [
        f"{first} · resolved by this release", f"{first} · new in this release",
    ]  # fmt: skip
    channel = day.stores.config.channel("mail")
    mail = MailSender(channel, day.stores.config).compose(message, ["jo@example.com"], row["key"])  # type: ignore[arg-type]
    plain, html = (part.get_content() for part in mail.iter_parts())
    for part in (plain, html):
        assert "\x1b" not in part
        assert "\u202e" not in part
        assert "1 h 0 min" in part
    row["data"]["finished_at"] = "9999-12-31T23:59:59+00:00"  # there is none where the member is
    assert dict(message_of(day.stores, row).facts)["Finished"] == "9999-12-31 23:59:59 UTC"
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert f"tasks-pipeline --home {day.stores.home.root} releases show" in plain


def test_a_deploy_waits_for_commits_that_are_announced_for_an_hour(day: Day) -> None:
    save_release(day.stores.state, [day.project], V, {})
    with day.stores.state.write() as connection:
        set_refs(day.stores.state, connection, V, [SentRef("acme/shop", "HEAD")])
    deployed(day)
    ship(day.stores)
    assert told(day) == {}
    assert releases_due(day.stores.state, datetime.now(UTC)) == [], "nothing can be done about it now"
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert releases_due(day.stores.state, in_an_hour) == ["deploys"]
    send_commits(day.stores, commit("HEAD"))
    ship(day.stores)
    assert told(day)[f"{V}:production:jo@example.com"] == ("waiting", "")


def test_deploys_that_wait_hold_up_no_others(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are of one release."""
    monkeypatch.setattr(due, "LOOKED_AT", 3)
    save_release(day.stores.state, [day.project], V, {})
    with day.stores.state.write() as connection:
        set_refs(day.stores.state, connection, V, [SentRef("acme/shop", "HEAD")])
    for n in range(4):
        add_deploy(day.stores.state, [day.project], V, {"environment": f"e{n}"})
    other = "shop@1.0.1"
    save_release(day.stores.state, [day.project], other, {})
    add_deploy(day.stores.state, [day.project], other, {"environment": "production"})
    with recorded(day.stores.state) as statements:
        assert "deploys" in releases_due(day.stores.state, datetime.now(UTC))
    assert scans(day.stores.state, statements) == []
    ship(day.stores)
    assert set(told(day)) == {f"{other}:production:ann@acme.example"}


def test_authors_are_told_when_their_commits_come_after_the_deploy(day: Day) -> None:
    save_release(day.stores.state, [day.project], V, {})
    deployed(day)
    ship(day.stores)
    assert told(day) == {f"{V}:production:ann@acme.example": ("waiting", "")}
    send_commits(day.stores, commit())
    ship(day.stores)
    assert set(told(day)) == {f"{V}:production:{who}" for who in ("ann@acme.example", "jo@example.com")}


def test_commits_that_come_while_a_deploy_is_told_have_it_told_again(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite nobody else writes meanwhile."""
    with open_stores(postgres_home) as opened:
        stores = configured(opened, 1, PEOPLE)
        save_release(stores.state, [1], V, {})
        add_deploy(stores.state, [1], V, {"environment": "production"})
        messages = tell_deploys._messages

        def then_commits(*given: Any) -> Any:
            found = messages(*given)
            monkeypatch.setattr(tell_deploys, "_messages", messages)
            with suppress(OperationalError), stores.state.write() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
                set_commits(stores.state, connection, V, [commit()])
            return found

        monkeypatch.setattr(tell_deploys, "_messages", then_commits)
        ship(stores)
        send_commits(stores, commit())  # again, if they had to wait
        ship(stores)
        assert "member:jo@example.com" in {row["target"] for row in mails(stores, 1)}


def test_a_deploy_that_raises_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [f"shop@1.0.{n}" for n in range(3)]
    for version in versions:
        save_release(day.stores.state, [day.project], version, {})
        deployed(day, version=version)
    title = deploy_title

    def failing(version: str, environment: str) -> str:
        if version == versions[1]:
            raise ValueError("a name that nothing can be made of")
        return title(version, environment)

    monkeypatch.setattr(tell_deploys, "deploy_title", failing)
    report = ship(day.stores)
    assert (report.told.deploys, report.told.mails, report.passed_over) == (2, 2, 1)
    assert set(told(day)) == {f"{v}:production:ann@acme.example" for v in (versions[0], versions[2])}
    assert releases_due(day.stores.state, datetime.now(UTC)) == []
    with day.stores.state.read() as connection:
        (failed,) = passed_over(connection, datetime.now(UTC))
    assert (failed["kind"], "shop@1.0.1 into production" in failed["detail"]) == ("deploys", True)


def test_a_deploy_that_concerns_nobody_reads_no_files(day: Day) -> None:
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(email="stranger@acme.example"))
    ship(day.stores)
    nobody = configured(day.stores, day.project, PEOPLE.split("  - {email: ann")[0])
    deployed(day)
    with recorded(nobody.state) as statements:
        assert ship(nobody).told.deploys == 1
    assert mails(nobody, day.project) == []
    assert not [statement for statement in statements if "commit_files" in statement]


def test_a_deploy_to_several_projects_is_told_once(day: Day) -> None:
    second = day.project + 1
    text = f"projects: [{{id: {day.project}, slug: shop, keys: [{{public_key: abcdef}}]}}, {{id: {second}, slug: web, keys: [{{public_key: bcdefg}}]}}]\n"
    from tasks_pipeline.config import parse_config

    stores = replace(day.stores, config=parse_config(text + PEOPLE))
    save_release(stores.state, [day.project, second], V, {})
    send_commits(stores, commit())
    add_deploy(stores.state, [day.project, second], V, {"environment": "production", "finished_at": NOW})
    ship(stores)
    assert mails(stores, second) == []
    (row,) = [row for row in mails(stores, day.project) if row["target"] == "member:jo@example.com"]
    assert dict(message_of(stores, row).facts)["Projects"] == "shop, web"


def test_long_names_have_keys_of_their_own(day: Day) -> None:
    versions = [f"{'v' * 190}{n}" for n in range(2)]
    for version in versions:
        save_release(day.stores.state, [day.project], version, {})
        send_commits(day.stores, commit(email=f"{'x' * 60}@{'y' * 120}.example"), version=version)
        deployed(day, "e" * 64, version)
    people = f"{PEOPLE}  - {{email: {'x' * 60}@{'y' * 120}.example}}\n"
    stores = configured(day.stores, day.project, people)
    ship(stores)
    keys = [row["key"] for row in outbox(stores, day.project) if row["target"].startswith("member:xxx")]
    assert (len({*keys}), max(map(len, keys))) == (2, 400)


# ── figures


def figures(day: Day, version: str = V) -> tuple[int, int, datetime | None, datetime | None]:
    with day.stores.state.read() as connection:
        (row,) = find_releases(connection, [day.project], version)
    return row["events"], row["users"], row["first_event_at"], row["last_event_at"]


def test_events_and_users_of_a_release_are_counted(day: Day) -> None:
    users = ("1", "2", "1", None)
    events = [
        event("A", release=V, timestamp=day.at(n).isoformat(), **({"user": {"id": user}} if user else {}))
        for n, user in enumerate(users)
    ]
    day.send(*events, event("A", release="shop@2.0.0", timestamp=day.at(9).isoformat()))
    day.drain()
    assert ship(day.stores).counted_releases == 2, "the first time soon"
    assert figures(day) == (4, 2, day.at(0), day.at(3))
    assert figures(day, "shop@2.0.0")[:2] == (1, 0)
    day.send(event("A", release=V, timestamp=day.at(20).isoformat()))
    day.drain()
    now = datetime.now(UTC)
    assert count_releases(day.stores.state, day.stores.lake, now) == 0, "then every 15 minutes"
    assert count_releases(day.stores.state, day.stores.lake, now + COUNT_EVERY) == 1
    assert figures(day) == (5, 2, day.at(0), day.at(20))
    assert releases_due(day.stores.state, now + timedelta(days=1)) == []


def test_a_day_that_is_stored_again_has_its_releases_counted_again(day: Day) -> None:
    day.send(event("A", release=V, timestamp=day.at(1).isoformat()))
    day.drain()
    ship(day.stores)
    with day.stores.state.write() as connection:
        wrong = {"events": 7, "first_event_at": day.at(-99), "last_event_at": day.at(99)}
        connection.execute(update(t.releases).values(**wrong))
    recompute_day(day.stores, day.date)
    count_releases(day.stores.state, day.stores.lake, datetime.now(UTC) + COUNT_EVERY)
    assert figures(day) == (1, 0, day.at(1), day.at(1))


def test_what_is_counted_while_a_day_is_stored_again_is_counted_once_more(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a release that has no event on the day any more."""
    day.send(event("A", release=V, timestamp=day.at(1).isoformat()))
    day.drain()
    ship(day.stores)
    replace_day, moment = Lake.replace, datetime.now(UTC) + COUNT_EVERY

    def counted_before(self: Lake, *given: Any) -> Any:
        assert count_releases(day.stores.state, day.stores.lake, moment) == 1
        return replace_day(self, *given)

    monkeypatch.setattr(Lake, "replace", counted_before)
    stores = configured(day.stores, day.project, PEOPLE, f"filters: {{releases: ['{V}']}}")
    recompute_day(replace(stores, tools=Tools(stores.config)), day.date)
    count_releases(day.stores.state, day.stores.lake, moment + COUNT_EVERY)
    assert figures(day) == (0, 0, None, None)


def test_sessions_have_times_of_their_own(day: Day) -> None:
    def session(seconds: float) -> Any:
        started = day.at(seconds).isoformat()
        return item(
            "session",
            {"sid": f"{int(seconds):032x}", "started": started, "attrs": {"release": V}, "status": "ok"},
        )

    day.spool(*(day.receipt(session(n), seconds=n + 1) for n in (50, 10, 30)))
    day.drain()
    with day.stores.state.read() as connection:
        (row,) = find_releases(connection, [day.project], V)
    assert (row["first_session_at"], row["last_session_at"]) == (day.at(10), day.at(50))
    assert (row["first_event_at"], row["changed_at"]) == (None, None)
    ship(day.stores)
    assert releases_due(day.stores.state, NOW + timedelta(days=1)) == []


def test_a_project_may_keep_telemetry_from_making_releases(day: Day) -> None:
    stores = configured(day.stores, day.project, PEOPLE, "releases: {create_from_events: false}")
    quiet = replace(day, stores=stores)
    save_release(stores.state, [day.project], V, {})
    quiet.send(event("A", release=V, timestamp=day.at().isoformat()), event("B", release="shop@9.9.9"))
    quiet.drain()
    with stores.state.read() as connection:
        (row,) = find_releases(connection, [day.project], V)
        assert find_releases(connection, [day.project], "shop@9.9.9") == []
    assert row["first_event_at"] == day.at()
    assert {r["release"] for r in quiet.rows("events")} == {V, "shop@9.9.9"}


def test_a_deleted_release_takes_its_deploys_and_keeps_what_it_fixed(day: Day) -> None:
    (first,) = groups_of(day, "A")
    save_release(day.stores.state, [day.project], V, {})
    send_commits(day.stores, commit(message=f"fixes {first}"), commit("b" * 40))
    deployed(day)
    ship(day.stores)
    delete_release(day.stores.state, [day.project], V)
    row = row_of(day, first)
    assert (row.status, row.resolved_in_release) == ("resolved", V)
    with day.stores.state.read() as connection:
        assert list(connection.execute(select(t.commits.c.sha)).scalars()) == [SHA], (
            "what a group names stays"
        )
        assert connection.execute(select(t.deploys)).all() == []

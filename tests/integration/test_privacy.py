"""Privacy: a person is found wherever they are, exported, and deleted for good; nobody else loses anything."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from tasks_pipeline.cli import main
from tasks_pipeline.erasure import erase
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish_open
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.message import Letter
from tasks_pipeline.notifications.report_content import keep_letter, kept_letter
from tasks_pipeline.privacy.delete import KINDS, delete_person
from tasks_pipeline.privacy.export import ExportError, export_person, refuse_home
from tasks_pipeline.privacy.identity import Identity, IdentityError
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.processing.books import books_of_lake, books_of_state
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.retention.lake import DayChanging
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.erasures import open_request
from tasks_pipeline.storage.state.tables import (
    alerts,
    commit_authors,
    commits,
    erasures,
    groups,
    metadata,
    notifications,
)
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.upkeep.findings import OPEN_DELETIONS, finding
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count
from tests.support.planted import each_place, found_in

ID, EMAIL, IP, SECRET = "usr-48151623", "Ann.Planted@Example.org", "198.51.100.77", "xq-4471-planted"
ANN = Identity.of([ID], [EMAIL], [IP])
PLANTED = tuple(each.encode() for each in (ID, EMAIL, IP, SECRET))


def session(did: str, **fields: Any) -> Any:
    return item(
        "session", {"sid": "", "did": did, "status": "exited", "attrs": {"release": "shop@1"}, **fields}
    )


def plant(day: Day) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What there is of Ann, and of another, in every store; gives the events of both."""
    said = event("Shared", message=f"of {SECRET}", user={"id": ID, "email": EMAIL, "ip_address": IP})
    said["exception"]["values"][0]["value"] = f"refused {SECRET}"
    hers = [
        said,
        event("Payload", extra={"account": {"mail": [EMAIL.upper()]}}),
        event("Crumb", breadcrumbs={"values": [{"message": f"signed in\n{EMAIL}", "timestamp": day.at().timestamp()}]}),
        event("Header", request={"url": f"https://shop/?m={EMAIL.replace('@', '%40')}", "headers": [["X-Client", f"for={IP};proto=https"]]}),
        event("Id", contexts={"account": {"key": ID}}),
    ]  # fmt: skip
    others = [event("Shared", user={"id": "1"}), event("Other", user={"id": "2"})]
    began = day.at().isoformat()
    trace = {
        "event_id": "f" * 32,
        "type": "transaction",
        "transaction": "/pay",
        "timestamp": day.at().timestamp(),
        "start_timestamp": day.at().timestamp() - 1,
    }
    day.spool(
        *(day.receipt(each, seconds=n) for n, each in enumerate(hers)),
        day.receipt(others[0], item("attachment", b"same bytes", filename="log.txt"), item("attachment", f"as {EMAIL}".encode(), filename="hers.txt"), seconds=7),
        day.receipt(others[1], item("attachment", b"same bytes", filename=f"{EMAIL}.txt"), seconds=8),
        day.receipt(item("transaction", {**trace, "user": {"id": ID}}), item("transaction", {**trace, "event_id": "e" * 32, "user": {"id": "2"}})),
        day.receipt(session(ID, sid="a" * 32, started=began), session("2", sid="b" * 32, started=began)),
        day.receipt(item("user_report", {"event_id": "a" * 32, "name": "Ann", "email": EMAIL, "comments": SECRET})),
        day.receipt(item("user_report", {"event_id": "b" * 32, "name": "Bo", "email": "bo@example.org", "comments": "fine"})),
        day.receipt(item("unheard_of", {"user": EMAIL}), seconds=9, remote_addr=IP),
    )  # fmt: skip
    day.drain()
    group = next(each for each in day.groups() if SECRET in each["title"] or "Shared" in each["title"])
    place = {"day": str(day.date), "part": "r0", "position": 1, "item": 0, "event_id": said["event_id"]}
    now = datetime.now(UTC)
    alert = {
        "project_id": day.project,
        "rule": "new",
        "kind": "new_group",
        "status": "firing",
        "severity": "warning",
        "group_id": group["id"],
        "thread": "t",
        "at": now,
    }
    with day.stores.state.write() as connection:
        told = {"title": f"refused {SECRET}", "event": place, "level": "error"}
        first = alerts.insert().values(**alert, key="a", data=told).returning(alerts.c.id)
        number = connection.execute(first).scalar_one()
        connection.execute(
            alerts.insert().values(**alert, key="b", data={"title": "Shared", "times_seen": 2})
        )
        message = {
            "type": "alert",
            "alert_id": number,
            "project_id": day.project,
            "target": "team:a",
            "channel": "mail",
            "thread": "t",
            "status": "sent",
            "created_at": now,
            "not_before": now,
        }
        connection.execute(
            notifications.insert().values(**message, key="m", data={"user": EMAIL}, reason=f"seen by {IP}")
        )
        connection.execute(
            commits.insert().values(
                sha="c" * 40, message=f"by {EMAIL}", author_key=EMAIL.lower(), created_at=now
            )
        )
        connection.execute(commit_authors.insert().values(author_key=EMAIL.lower(), name="A", email=EMAIL))
    keep_mail(day.stores, f"{EMAIL} was refused {SECRET}")
    say_in_dagster(day.stores, f'{{"error": "no row for \\"{EMAIL}\\" and refused {SECRET}"}}')
    return hers, others


def keep_mail(stores: Stores, said: str) -> None:
    """The mail of a report, kept beside its message, which itself does not say it."""
    now = datetime.now(UTC)
    files = (("groups.csv", f"title\n{said}\n".encode()), ("other.csv", b"title\n"))
    letter = Letter(html=f"<p>{escape(said)}</p>", text=said, made_at=now, files=files)
    message = {
        "type": "report", "key": "r", "project_id": 0, "target": "member:a", "channel": "mail", "thread": "report:week", "status": "sent",
        "created_at": now, "not_before": now, "reason": "", "data": {"letter": keep_letter(stores.blobs, letter)},
    }  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(notifications.insert().values(message))


def kept_mail(stores: Stores) -> Letter:
    """The same, as it is sent."""
    with stores.state.read() as connection:
        (data,) = connection.execute(select(notifications.c.data).where(notifications.c.key == "r")).scalars()
    return kept_letter(stores.blobs, data["letter"])


def say_in_dagster(stores: Stores, said: str) -> None:
    """What a step of a run logged, and what a process printed."""
    home = stores.home
    home.logs_dir.mkdir(exist_ok=True)
    (home.logs_dir / "daemon.log").write_text(f"before {said} after\n")
    if not home.embedded:
        with stores.state.write() as connection:
            connection.execute(text("CREATE SCHEMA dagster"))
            connection.execute(text("CREATE TABLE dagster.event_logs (id int, event text)"))
            connection.execute(
                text("INSERT INTO dagster.event_logs VALUES (1, :said), (2, 'kept')"), {"said": said}
            )
        return
    (folder := home.dagster_home / "history" / "runs").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "index.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT)")
        connection.executemany("INSERT INTO event_logs (event) VALUES (?)", [(said,), ("kept",)])
        connection.commit()


def everywhere(stores: Stores) -> dict[bytes, list[Any]]:
    """Where each planted text is."""
    return {**each_place(stores, PLANTED)}


NOWHERE: dict[bytes, list[Any]] = {each: [] for each in PLANTED}


def kept_rows(day: Day, gone: set[str]) -> dict[str, list[Any]]:
    """Rows that are not Ann's."""
    return {name: [row for row in day.rows(name) if not _is_hers(row, gone)] for name in RECEIVED_TABLES}


def _is_hers(row: dict[str, Any], gone: set[str]) -> bool:
    own = (
        row.get("event_id") in gone or row.get("session_id") == "a" * 32 or row.get("user_key") == f"id:{ID}"
    )
    return own or row.get("email") == EMAIL or row.get("name") in ("hers.txt", f"{EMAIL}.txt")


def test_a_person_is_nowhere_any_more_and_others_lose_nothing(own_day: Day) -> None:
    day = own_day
    hers, others = plant(day)
    flush(day.stores.state, day.stores.lake)
    count(day, now=datetime.now(UTC))
    compute_health(day.stores.lake, day.stores.state, day.date)
    day.spool(day.receipt(late := event("Payload", user={"email": EMAIL}), seconds=60))  # stays in the tail
    day.drain()
    assert all(everywhere(day.stores).values())
    ids = {each["event_id"] for each in (*hers, late)}
    kept, figures = kept_rows(day, ids), day.rows("event_stats")
    found = Person(ANN).look(day.stores)
    assert {each.where: each.rows for each in found.places}["lake.events"] == 6

    deleted = delete_person(day.stores, ANN, "tester")
    assert everywhere(day.stores) == NOWHERE
    assert {name: day.rows(name) for name in RECEIVED_TABLES} == kept
    assert set(day.ids()) == {each["event_id"] for each in others}
    assert day.rows("event_stats") == figures
    assert (len(day.rows("session_users")), len(day.rows("event_users"))) == (1, 2)
    count(day, now=datetime.now(UTC))  # the day was closed: nothing is counted again from less
    assert day.rows("event_stats") == figures
    rows = {each.where: each.rows for each in deleted.erased}
    assert (
        rows["lake.events"],
        rows["lake.sessions"],
        rows["lake.user_reports"],
        rows["lake.attachments"],
    ) == (6, 1, 1, 2)
    assert day.stores.blobs.get(next(row["digest"] for row in day.rows("attachments"))) == b"same bytes"

    assert Person(ANN).look(day.stores).places == []
    (told,) = certificates(day.stores.home)
    assert (told["valid"], told["identifiers"], told["requested_by"]) == (
        True,
        {"user_id": 1, "email": 1, "ip": 1},
        "tester",
    )
    with day.stores.state.read() as connection:
        assert [row.data for row in connection.execute(select(erasures))] == [None]
        silent = connection.execute(select(alerts.c.data).order_by(alerts.c.id)).scalars().all()
        assert connection.execute(select(commits.c.author_key, commits.c.message)).one() == (
            None,
            "by (removed)",
        )
    assert (silent[0]["title"], silent[0]["level"], silent[1]["title"]) == ("(removed)", "error", "Shared")
    titles = {group["title"]: (group["times_seen"], group["users"]) for group in day.groups()}
    assert titles["Shared: it went wrong"] == (2, 1)
    assert (day.stores.home.logs_dir / "daemon.log").read_text().startswith("before ")

    # What was deleted does not come back, and the books say why rows are missing.
    day.assert_balanced()
    for books in (books_of_lake, books_of_state):
        assert "6 rows of events were deleted for privacy" in books(day.stores, day.date).gone
    with pytest.raises(RawGone, match="deleted for privacy"):
        day.recompute()
    day.spool(day.receipt(hers[0], seconds=90))
    day.drain()
    assert set(day.ids()) == {each["event_id"] for each in others}


def test_a_mail_that_is_kept_says_nothing_of_them_however_it_is_written(alone: Day) -> None:
    who = "ann.o'planted&co@example.org"
    keep_mail(alone.stores, f"to {who} it went")
    delete_person(alone.stores, Identity.of(emails=[who]), "tester")
    assert (
        found_in(alone.stores.home.root, b"planted&")
        == found_in(alone.stores.home.root, b"planted&amp;")
        == []
    )
    mail = kept_mail(alone.stores)
    assert (mail.html, mail.text) == ("<p>to (removed) it went</p>", "to (removed) it went")
    assert dict(mail.files) == {"groups.csv": b"title\nto (removed) it went\n", "other.csv": b"title\n"}


def test_an_id_of_one_digit_is_that_of_the_user_alone(alone: Day) -> None:
    mine, other = (
        event("A", user={"id": 7}),
        event("A", extra={"n": 7, "id": "7"}, user={"id": "77", "data": {"company": 7}, "name": "at:7,"}),
    )
    alone.spool(
        alone.receipt(mine),
        alone.receipt(other, seconds=1),
        alone.receipt(session("7", sid="c" * 32, started=alone.at().isoformat()), seconds=2),
    )
    alone.drain()
    delete_person(alone.stores, Identity.of(["7"]), "tester")
    assert (alone.ids(), alone.rows("sessions")) == ([other["event_id"]], [])
    (kept,) = alone.stores.spool.read(alone.date, "r0", 0)
    assert kept.position == 2


def test_what_only_looks_like_hers_is_not(alone: Day) -> None:
    near = [f"x-{EMAIL}", f"{EMAIL}.uk", f"1{IP}", f"{IP}1", f"{IP}.9", f"{ID}4", f"a{ID}"]
    hers = [
        f"<{EMAIL}>.",
        f"%20{EMAIL.replace('@', '%40')}&",
        f"\u201c{IP}\u201d",
        f"to {IP}:80",
        f"id={ID}\n",
    ]
    stay = alone.send(*(event("Near", extra={"said": said}) for said in near))
    alone.spool(*(alone.receipt(event("Hers", extra={"said": said}), seconds=20) for said in hers))
    alone.drain()
    assert Person(ANN).look(alone.stores).events == len(hers)
    delete_person(alone.stores, ANN, "tester")
    assert alone.ids() == stay


def test_who_sends_words_of_programs_takes_nothing_from_others(alone: Day) -> None:
    """A title is what a client calls it: that of one who is deleted may be a key, a kind or a day of what stays."""
    words = [
        "event_id",
        "happened_at",
        "new_group",
        str(alone.date),
        "dagster/partition",
        '"__class__": "EventLogEntry"',
    ]
    hers = [{**event("A", user={"id": ID}), "exception": None, "message": each} for each in words]
    alone.send(*hers, event("B"))
    alone.drain()
    place = {"day": str(alone.date), "part": "r0", "position": 7, "item": 0, "event_id": "f" * 32}
    told = {"title": "B", "event": place, "kind": "new_group", "happened_at": str(alone.date)}
    alert = {
        "project_id": alone.project,
        "rule": "new",
        "kind": "new_group",
        "status": "firing",
        "severity": "warning",
    }
    with alone.stores.state.write() as connection:
        connection.execute(
            alerts.insert().values(**alert, key="a", thread="t", at=datetime.now(UTC), data=told)
        )
    tags = {"dagster/partition": str(alone.date)}
    entry = {"__class__": "EventLogEntry", "step_key": ID, "message": f"of {ID}", "tags": tags}
    say_in_dagster(alone.stores, json.dumps(entry))
    delete_person(alone.stores, Identity.of([ID]), "tester")
    with alone.stores.state.read() as connection:
        assert connection.execute(select(alerts.c.data)).scalar_one() == told
    with closing(sqlite3.connect(alone.stores.home.dagster_home / "history" / "runs" / "index.db")) as store:
        kept = [text for (text,) in store.execute("SELECT event FROM event_logs ORDER BY id")]
    assert (json.loads(kept[0]), kept[1]) == ({**entry, "message": "of (removed)"}, "kept")


def test_an_id_that_is_a_word_of_ours_changes_nothing_of_others(alone: Day) -> None:
    """Levels, statuses, slugs, releases, environments, keys of Dagster's, numbers: all of them at once."""
    words = [
        "warning", "firing", "critical", "resolved", "unresolved", "production", "staging-eu", "shop@1.2.3", *alone.stores.slugs.values(),
        "SUCCESS", "new_group", "null", "true", "1", "0", "2020", "error", "event_stats",
    ]  # fmt: skip
    other = event("A", user={"id": "9"}, environment="staging-eu", release="shop@1.2.3", level="warning")
    mine = [event("A", user={"id": word}, environment="production") for word in words]
    alone.send(other, *mine)
    alone.drain()
    said = {
        "level": "warning", "environment": "staging-eu", "release": "shop@1.2.3", "kind": "new_group", "note": "is now resolved, critical",
        "project": next(iter(alone.stores.slugs.values()), ""), "year": "2020", "at": [1, "1", True, None],
    }  # fmt: skip
    alert = {"project_id": alone.project, "rule": "new", "kind": "new_group", "status": "firing", "severity": "warning", "thread": "t"}  # fmt: skip
    with alone.stores.state.write() as connection:
        connection.execute(alerts.insert().values(**alert, key="a", at=datetime.now(UTC), data=said))
    logged = json.dumps({"status": "SUCCESS", "event_type_value": "STEP_SUCCESS", "note": "warning: firing"})
    say_in_dagster(alone.stores, logged)
    before = _of_others(alone)
    deleted = {each.where: each.rows for each in delete_person(alone.stores, Identity.of(words), "t").erased}
    assert (alone.ids(), deleted["lake.events"]) == ([other["event_id"]], len(words))
    assert _of_others(alone) == before
    assert (alone.stores.home.logs_dir / "daemon.log").read_text() == f"before {logged} after\n"
    assert deleted.keys() <= {"lake.events", "lake.event_payloads", "spool", "state.group_values"}


def _of_others(day: Day) -> dict[str, Any]:
    """All rows of the state database that may hold texts, but for users of groups and the deletion itself."""
    own = {"group_values", "groups", "erasures", "retention_removals", "day_changes", "analytics_outbox"}
    own |= {"probes", "tail_segments", "tail_rows", "tail_payloads"}
    with day.stores.state.read() as connection:
        found = {
            name: sorted(map(repr, connection.execute(select(table))))
            for name, table in metadata.tables.items()
            if name not in own
        }
        shown = select(groups.c.id, groups.c.title, groups.c.culprit, groups.c.metadata, groups.c.level)
        found["groups"] = sorted(map(repr, connection.execute(shown)))
    return found


def test_of_a_project_alone(alone: Day) -> None:
    from dataclasses import replace

    other = replace(alone, project=alone.project + 1)
    for day in (alone, other):
        day.send(event("A", user={"email": EMAIL}))
    alone.drain()
    delete_person(alone.stores, Identity.of(emails=[EMAIL], project_id=alone.project), "tester")
    assert [row["project_id"] for row in alone.rows("events")] == [other.project]


def test_what_waits_is_not_passed_over(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced_again(*_: object, **__: object) -> None:
        raise DayChanging(alone.date)

    alone.send(event("A", user={"email": EMAIL}))
    with pytest.raises(Waits, match="1 envelope of 2020-01-01 waits to be processed"):
        delete_person(alone.stores, Identity.of(emails=[EMAIL]), "tester")
    assert list(finish_open(alone.stores, KINDS)) == []
    alone.drain()
    with monkeypatch.context() as patch:
        patch.setattr(erase, "remove_rows", replaced_again)
        assert list(finish_open(alone.stores, KINDS)) == []
    with alone.stores.state.read() as connection:
        why = finding(connection, OPEN_DELETIONS)
    assert why is not None
    assert "others keep writing files of 2020-01-01" in why.detail
    (done,) = finish_open(alone.stores, KINDS)
    assert (done.certificate["requested_by"], alone.ids()) == ("tester", [])
    assert found_in(alone.stores.home.root, EMAIL.encode()) == []


def test_a_cleanup_by_hand_finishes_what_was_asked_for(home: Home) -> None:
    with open_stores(home) as stores:
        open_request(stores.state, Person.kind, Identity.of(emails=[EMAIL]).data, "tester")
    for words, certified in ((["--what", "events"], 0), ([], 1), ([], 0)):
        result = CliRunner().invoke(main, ["--home", str(home.root), "cleanup", "--json", *words])
        assert (result.exit_code, len(json.loads(result.stdout)["certificates"])) == (0, certified)
    assert [each["requested_by"] for each in certificates(home)] == ["tester"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nobody is named"),
        ({"user_ids": [" "]}, "--user-id: found ' '"),
        ({"emails": ["ann"]}, "--email: found 'ann', allowed is one address"),
        ({"ips": ["1.2.3"]}, "--ip: found '1.2.3', allowed is one IPv4 or IPv6 address"),
        ({"user_ids": ["a\0b"]}, "printable characters"),
    ],
)
def test_whom_nobody_can_mean_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(IdentityError) as caught:
        Identity.of(**given)
    assert said in str(caught.value)


def test_an_export_holds_all_of_hers_and_nothing_else(alone: Day, tmp_path: Path) -> None:
    hers, others = plant(alone)
    path = tmp_path / "ann.zip"
    counts = export_person(alone.stores, ANN, path)
    assert path.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(path) as archive:
        told = {name: archive.read(name) for name in archive.namelist()}
    events = [json.loads(line) for line in told["lake/events.jsonl"].splitlines()]
    assert {each["event_id"] for each in events} == {each["event_id"] for each in hers}
    payloads = [
        json.loads(json.loads(line)["payload"]) for line in told["lake/event_payloads.jsonl"].splitlines()
    ]
    assert {each["event_id"] for each in payloads} == {each["event_id"] for each in hers}
    assert {name for name in told if name.startswith("files/")} == {
        "files/00001-hers.txt",
        f"files/00002-{EMAIL.replace('@', '_')}.txt",
    }
    assert (told["files/00001-hers.txt"], b"bo@example.org" in b"".join(told.values())) == (
        f"as {EMAIL}".encode(),
        False,
    )
    assert not any(
        each["event_id"].encode() in content
        for each in others
        for name, content in told.items()
        if "attachments" not in name
    )
    assert "state/notifications.jsonl" in told
    index = json.loads(told["index.json"])
    assert (index["found"], index["identifiers"]) == (counts, {"user_id": 1, "email": 1, "ip": 1})
    assert counts["spool"] == 1  # the item that is not kept
    with pytest.raises(ExportError, match="there already"):
        export_person(alone.stores, ANN, path)
    with pytest.raises(ExportError, match="within the home"):
        refuse_home(alone.stores, alone.stores.home.root / "ann.zip")


def test_the_command_asks_refuses_and_says_what_went(alone: Day) -> None:
    alone.send(*(event("A", user={"email": EMAIL}) for _ in range(19)), event("A", user={"id": "null"}))
    alone.drain()

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["--home", str(alone.stores.home.root), "privacy", *words])

    assert "give --yes where nobody can be asked" in run("delete", "--email", EMAIL).output
    assert "19 of 20 events would go" in run("delete", "--email", EMAIL, "--yes").output
    assert "programs send this for nobody" in run("delete", "--user-id", "null", "--yes").output
    assert run("delete", "--email", "ann", "--yes").exit_code == 2
    assert "lake.events" in run("find", "--email", EMAIL).output
    gone = run("delete", "--email", EMAIL, "--yes", "--even-if-many", "--json")
    assert {"where": "lake.events", "rows": 19, "how": "deleted"} in json.loads(gone.stdout)
    assert json.loads(run("delete", "--email", EMAIL, "--yes", "--json").stdout) == []
    (told,) = json.loads(run("certificates", "--json").stdout)
    assert told["valid"]
    assert EMAIL.lower() not in json.dumps(told).lower()

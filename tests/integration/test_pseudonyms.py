"""Pseudonymising a person: their events stay and can be read, as many users are counted, and nothing says any more whose they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import select

from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.cli import main
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.privacy.delete import delete_person
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.privacy.pseudonymise import planned
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.state.tables import erasures, group_values, probes
from tests.integration.test_archive import archiving, clean, night, of
from tests.integration.test_privacy import ANN, EMAIL, ID, IP, plant, session
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count
from tests.support.planted import each_found_in, each_place

NAME, NICK = "Ann Q. Planted-Name", "ann-nick-4471"
WANTED = tuple(each.encode() for each in (ID, EMAIL, IP, NAME, NICK))


def everywhere(day: Day) -> dict[bytes, list[Any]]:
    return {each: where for each, where in each_place(day.stores, WANTED).items() if where}


def users_of(day: Day) -> dict[str, Any]:
    """Distinct users, however they are counted."""
    tables = (("events", "user_key"), ("transactions", "user_key"), ("sessions", "user_hash"), ("event_users", "user_hash"), ("session_users", "user_hash"))  # fmt: skip
    counted = {
        name: day.stores.lake.query(
            f"SELECT count(DISTINCT {column}) AS n, count(*) AS rows FROM lake.{name}"
        )
        for name, column in tables
    }
    with day.stores.state.read() as connection:
        values = connection.execute(select(group_values.c.group_id, group_values.c.kind)).all()
    groups = [(each["times_seen"], each["users"]) for each in day.groups()]
    return {
        **counted,
        "values": sorted(map(tuple, values)),
        "groups": groups,
        "stats": day.rows("event_stats"),
    }


def test_events_stay_and_say_nothing_of_whom(own_day: Day) -> None:
    day = own_day
    hers, _ = plant(day)
    named = event("Named", message=f"hello {NAME}, {NICK}", user={"id": ID, "username": NICK, "name": NAME, "ip_address": IP})  # fmt: skip
    day.spool(
        day.receipt(named, seconds=40, remote_addr=IP), day.receipt(named, seconds=41)
    )  # the second is a duplicate
    day.drain()
    flush(day.stores.state, day.stores.lake)
    count(day, now=datetime.now(UTC))
    compute_health(day.stores.lake, day.stores.state, day.date)
    assert len(everywhere(day)) == len(WANTED)
    before, kept = users_of(day), {row["event_id"]: row for row in day.rows("events")}
    plan = {each.where: (each.rows, each.how) for each in planned(Person(ANN).look(day.stores).places)}

    done = delete_person(day.stores, ANN, "tester", pseudonymise=True)
    assert everywhere(day) == {}
    assert users_of(day) == before
    rows = {row["event_id"]: row for row in day.rows("events")}
    assert rows.keys() == kept.keys()
    theirs = {each["event_id"] for each in (*hers, named)}
    same = ("group_id", "level", "exception_type", "received_at", "release", "group_keys")
    for number, row in rows.items():
        assert [row[name] for name in same] == [kept[number][name] for name in same]
        assert (row == kept[number]) is (number not in theirs)
    payloads = {row["event_id"]: json.loads(row["payload"]) for row in day.rows("event_payloads")}
    said = payloads[named["event_id"]]
    assert said["user"]["id"].startswith("person-")
    assert (
        said["user"]["id"]
        == rows[named["event_id"]]["user_id"]
        == payloads[hers[0]["event_id"]]["user"]["id"]
    )
    assert said["user"]["ip_address"] == rows[named["event_id"]]["user_ip"]
    assert payloads[hers[1]["event_id"]]["extra"]["account"]["mail"][0].endswith("@pseudonym.invalid")
    assert (done.certificate["about"], done.certificate["identifiers"]) == (
        "pseudonymisation of a person's data", {"user_id": 1, "email": 1, "ip": 1},
    )  # fmt: skip
    how = {each.where: (each.rows, each.how) for each in done.erased}
    assert how["lake.events"] == (6, "pseudonymised")
    assert how["lake.attachments"] == (2, "deleted")
    assert {where: how[where] for where in plan.keys() & how.keys()} == {where: plan[where] for where in plan.keys() & how.keys()}  # fmt: skip
    with day.stores.state.read() as connection:
        assert [row.data for row in connection.execute(select(erasures))] == [None]  # the key is gone
        assert connection.execute(select(probes.c.name).where(probes.c.name == "erasures")).first()
    assert Person(ANN).look(day.stores).places == []
    assert certificates(day.stores.home)[0]["valid"]
    day.assert_balanced()
    count(day, now=datetime.now(UTC))
    assert users_of(day) == before


def test_a_day_of_theirs_that_is_computed_again_comes_out_the_same(alone: Day) -> None:
    """Raw envelopes are renamed too, with the same pseudonyms: what is made of them is what is stored."""
    hers = [
        event("A", user={"id": 4711, "email": EMAIL, "name": NAME}, extra={"of": [EMAIL, NICK], "n": 4711}),
        event("B", user={"ip_address": "{{auto}}"}, request={"url": f"https://shop/?m={EMAIL.replace('@', '%40')}"}),
        event("C", user={"id": "{{none}}", "username": NICK, "email": EMAIL.upper()}, tags={"who": EMAIL}),
    ]  # fmt: skip
    began = alone.at().isoformat()
    alone.spool(
        *(alone.receipt(each, seconds=n, remote_addr=IP) for n, each in enumerate(hers)),
        alone.receipt(event("A", user={"id": "4712"}, extra={"n": 4711, "id": "4711"}), seconds=5),
        alone.receipt(
            session("4711", sid="a" * 32, started=began), session("2", sid="b" * 32, started=began)
        ),
        alone.receipt(
            item("user_report", {"event_id": "a" * 32, "name": NAME, "email": EMAIL, "comments": "hi"})
        ),
    )
    alone.drain()
    who = Identity.of(["4711"], [EMAIL], [IP])
    delete_person(alone.stores, who, "tester", pseudonymise=True)
    own = tuple(each.encode() for each in (EMAIL, NAME, IP))
    assert not any(each_found_in(alone.stores.home.root, own).values())
    lake, state = alone.lake(), alone.state()
    assert [json.loads(row["payload"])["user"].get("id") for row in lake["event_payloads"]][3] == "4712"
    assert len({row["user_key"] for row in lake["events"]}) == 4
    alone.recompute()
    assert alone.lake() == lake
    assert alone.state() == state
    alone.assert_balanced()


def test_archived_days_too_and_the_command_says_what_became_of_what(alone: Day, tmp_path: Path) -> None:
    day = archiving(alone, tmp_path / "archive")
    plant(day)
    flush(day.stores.state, day.stores.lake)
    compute_health(day.stores.lake, day.stores.state, day.date)
    count(day, now=night(day, 9))
    clean(day)
    day.next().send(event("Later", user={"email": EMAIL}), event("Other"))
    day.next().drain()
    done = delete_person(day.stores, ANN, "tester", pseudonymise=True)
    how = {each.where: (each.rows, each.how) for each in done.erased}
    assert (how["archive.events"], how["archive.attachments"]) == ((5, "pseudonymised"), (2, "deleted"))
    own = tuple(each.encode() for each in (ID, EMAIL, IP))
    assert not any(each_found_in(tmp_path / "archive", own).values())
    assert not any(each_found_in(day.stores.home.root, own).values())
    assert verify_archive(of(day)).problems == []


def test_a_dry_run_changes_nothing(alone: Day) -> None:
    (first,) = alone.send(event("A", user={"email": EMAIL}))
    alone.drain()
    words = [
        "--home",
        str(alone.stores.home.root),
        "privacy",
        "delete",
        "--email",
        EMAIL,
        "--pseudonymise",
        "--json",
    ]
    shown = CliRunner().invoke(main, [*words, "--dry-run"])
    assert {"where": "lake.events", "rows": 1, "how": "pseudonymised"} in json.loads(shown.stdout)
    assert alone.rows("events")[0]["user_email"] == EMAIL
    result = CliRunner().invoke(main, [*words, "--yes"])
    assert json.loads(result.stdout) == json.loads(shown.stdout)
    (row,) = alone.rows("events")
    assert (row["event_id"], row["user_email"].endswith("@pseudonym.invalid")) == (first, True)

"""What the events of a batch add to their groups: counters, users, and what people see; and bytes that nobody can store."""

from __future__ import annotations

from tests.support.day import Day
from tests.support.events import event, item


def test_a_user_is_new_once_in_each_group(day: Day) -> None:
    def send(problem: str, *users: str) -> None:
        day.send(*(event(problem, user={"id": user}) for user in users))
        day.drain()

    send("First", "1", "2")
    send("Second", "2", "3", "4")
    send("First", "1", "3", "3")
    later = day.next()
    later.send(event("First", user={"id": "1"}), event("First", user={"id": "5"}))
    later.drain()

    found = {group["title"].partition(":")[0]: group for group in day.groups()}
    assert {name: (g["times_seen"], g["users"]) for name, g in found.items()} == {
        "First": (7, 4),
        "Second": (3, 3),
    }


def test_an_older_event_changes_the_counters_but_not_what_people_see(day: Day) -> None:
    def send(title: str, seconds: float) -> None:
        sent = event(title, fingerprint=["one"], timestamp=day.at(seconds).isoformat())
        day.spool(day.receipt(sent))
        day.drain()

    send("Newer", 0)
    send("Older", -100)

    (group,) = day.groups()
    assert group["title"].startswith("Newer")
    assert (group["times_seen"], group["first_seen"], group["last_seen"]) == (2, day.at(-100), day.at(0))


def test_an_event_with_bytes_that_are_no_text_is_stored_like_its_neighbours(day: Day) -> None:
    payload = b'{"exception":{"values":[{"type":"A","stacktrace":{"frames":[{"function":"f","vars":{"a":"\xff"}}]}}]}}'
    day.spool(day.receipt(item("event", payload), event_id="a" * 32), day.receipt(event("Neighbour")))
    assert day.drain().counts["stored"] == 2
    payloads = [row["payload"] for row in day.rows("event_payloads")]
    assert any("\ufffd" in text for text in payloads)

"""Sync with a tracker, killed with SIGKILL at random moments behind bad weather: issues and comments that are missing or doubled afterwards,
and links whose sides differ. The tracker is the stand-in of GitHub or a real Redmine (`killed_sides.py`).

Before each kill people make, resolve, reopen and comment groups here, and close, reopen and comment issues there; answers get lost,
stall, are cut or refused. In the end the weather is calm, and sync runs until it is quiet.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from benchmarks.__main__ import say
from benchmarks.killed_sides import Side, opened_side
from tasks_pipeline.groups.assign import NewGroup, create_group
from tasks_pipeline.groups.decisions import resolve_groups, unresolve_groups
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.links.comments import add_comment, comments_of
from tasks_pipeline.links.intents import release_claims
from tasks_pipeline.links.making import LinkError, request_issue
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import (
    groups,
    integration_states,
    issue_intents,
    issue_links,
    tracker_cursors,
)
from tasks_pipeline.stores import open_stores
from tests.support.stand_ins import weather

MOST_SECONDS = 1.5
"""A run is killed at the latest after so long, if it is not over by then."""
CALM_ROUNDS = 60
_WEATHER: tuple[dict[str, Any], ...] = (
    {"method": "GET", "path": r"/issues", "do": "truncate"},
    {"method": "GET", "path": r"/issues", "do": "html"},
    {"path": "", "do": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": "slow down"},
    {"path": "", "do": "skew", "seconds": 600, "times": 20},
    {"path": "", "do": "skew", "seconds": -600, "times": 20},
    {"method": "GET", "path": r"/issues", "do": "delay", "seconds": 0.5},
)


def killed(root: Path, kills: int, kind: str = "github", seed: int = 1) -> dict[str, Any]:
    """Start runs until so many were killed, three times as many at most; gives what is wrong in the end, and how much was done."""
    chance = random.Random(seed)
    home = Home(root / "home")
    home.root.mkdir(mode=0o700)
    with opened_side(kind) as side, weather(side.url) as sky:
        os.environ["HUB_TOKEN"] = side.secret
        home.config_path.write_text(side.configuration(sky.url))
        with open_stores(home):
            pass  # makes the databases
        done: Counter[str] = Counter()
        for number in range(3 * kills):
            if done["killed"] == kills:
                break
            with closing(StateDatabase(home)) as state:
                live(state, home, side, chance, done)
                hurry(state)
            rules = chance.sample((*side.weather, *_WEATHER), 3)
            sky.ask(
                "POST",
                "/_weather/rules",
                [{"skip": chance.randrange(3), "times": 1, **rule} for rule in rules],
            )
            done["killed"] += kill_one(home, f"run-{number}", chance.uniform(0.1, MOST_SECONDS))
            with closing(StateDatabase(home)) as state:
                release_claims(state, f"run-{number}", datetime.now(UTC))
        sky.ask("POST", "/_weather/rules", [])
        say("calm ...")
        rounds = settle(home)
        return {**done, "rounds_until_quiet": rounds, **judged(home, side)}


def kill_one(home: Home, name: str, after: float) -> bool:
    """Have a process of its own sync, and kill it so many seconds after it began; gives whether it was still at it."""
    child = os.fork()
    if not child:
        sync(home, name)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def sync(home: Home, name: str) -> None:
    """One run."""
    with open_stores(home) as stores:
        sync_integrations(stores, run_id=name, linger_seconds=0, max_run_seconds=60)


def live(state: StateDatabase, home: Home, side: Side, chance: random.Random, done: Counter[str]) -> None:
    """Some things that people do on both sides."""
    config = home.config_in_force().config
    with state.write() as connection:
        new = NewGroup(1, (), "It fails", "here", "error", "python", "error", {}, "v1")
        group_id = create_group(state, connection, new, "shop")
        now = datetime.now(UTC)
        seen = {"first_seen": now, "last_seen": now - timedelta(days=1), "times_seen": 1}
        connection.execute(update(groups).where(groups.c.id == group_id).values(**seen))
        try:
            request_issue(state, connection, config, group_id, "shop-issues", actor="ann")
            done["asked"] += 1
        except LinkError as error:
            say(str(error))
    with state.read() as connection:
        c = issue_links.c
        rows = connection.execute(select(c.group_id, c.external_id).where(c.state == "linked")).all()
    add_comment(state, group_id, "ann", f"ours on {group_id}")
    done["said_here"] += 1
    for row in chance.sample(rows, min(3, len(rows))):
        number = int(row.external_id.rpartition("#")[2])
        match chance.randrange(5):
            case 0:
                resolve_groups(state, [row.group_id], "ann")
            case 1:
                unresolve_groups(state, [row.group_id], "ann")
            case 2 | 3:
                side.set_state(number, chance.choice(["open", "closed"]))
            case 4:
                side.say(number, f"theirs {done['said_there']}")
                done["said_there"] += 1


def hurry(state: StateDatabase) -> None:
    """What waits for its time is due now; a real hour has more rounds than this one has minutes."""
    now = datetime.now(UTC) - timedelta(seconds=1)
    with state.write() as connection:
        waits = issue_intents.c.status.in_(("waiting", "unknown"))
        connection.execute(update(issue_intents).where(waits).values(not_before=now))
        connection.execute(update(issue_links).where(issue_links.c.look_at.is_not(None)).values(look_at=now))
        connection.execute(update(issue_links).values(last_looked_at=now - timedelta(minutes=1)))
        connection.execute(
            update(tracker_cursors).where(tracker_cursors.c.tracker != "").values(polled_at=None)
        )
        connection.execute(update(integration_states).values(open_until=None, failures=0, pace={}))


def settle(home: Home) -> int:
    """Sync in calm weather until nothing is on its way; gives the rounds that took."""
    for number in range(1, CALM_ROUNDS + 1):
        with open_stores(home) as stores:
            hurry(stores.state)
            sync_integrations(
                stores, full=number in (1, 3), tracker="shop-issues", linger_seconds=0, max_run_seconds=120
            )
            with stores.state.read() as connection:
                open_ones = issue_intents.c.status.in_(("waiting", "unknown", "sending"))
                left = connection.execute(select(func.count()).where(open_ones)).scalar_one()
        if not left and number > 3:
            return number
    return CALM_ROUNDS


def judged(home: Home, side: Side) -> dict[str, Any]:
    """What is wrong: compares all links and comments with what is there."""
    issues = side.issues()
    figures: Counter[str] = Counter(issues=len(issues))
    with closing(StateDatabase(home)) as state, state.read() as connection:
        intents = issue_intents.c
        figures["dead"] = connection.execute(
            select(func.count()).where(intents.status == "dead")
        ).scalar_one()
        for link in connection.execute(select(issue_links)).all():
            made = [issue for issue in issues.values() if issue.marker == link.marker]
            open_twins = [issue for issue in made if not issue.duplicate]
            figures["links"] += 1
            figures["lost"] += not made
            figures["twins"] += max(0, len(open_twins) - 1)
            figures["twins_closed"] += len(made) - len(open_twins)
            if link.external_id is None:
                continue
            issue = issues[int(link.external_id.rpartition("#")[2])]
            status = connection.execute(
                select(groups.c.status).where(groups.c.id == link.group_id)
            ).scalar_one()
            wanted = "closed" if status == "resolved" else "open"
            agreed = status == "ignored" or wanted == issue.state == link.agreed_state
            figures["held" if link.state == "held" else "differing"] += link.state == "held" or not agreed
            ours = [text for text in issue.comments if f"ours on {link.group_id}\n" in text]
            figures["comments_lost"] += not ours
            figures["comments_doubled"] += max(0, len(ours) - 1)
            there = sorted(text for text in issue.comments if text.startswith("theirs"))
            here = sorted(c["body"] for c in comments_of(connection, link.group_id) if c["side"] == "theirs")
            figures["comments_of_theirs_wrong"] += here != there
    return dict(figures)


if __name__ == "__main__":
    sys.exit("python -m benchmarks integrations --kills 100")

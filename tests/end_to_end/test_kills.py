"""Invariants 1 and 2 for the whole service: its processes and the drain run are killed again and again under load."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from tasks_pipeline.dagster_process import RUN, WARM_PROCESS
from tasks_pipeline.demo.show import running_demo_service
from tasks_pipeline.demo.traffic import Request, shop_events, shop_request
from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_lake, books_of_state
from tasks_pipeline.stores import Stores, open_stores
from tests.support.waiting import wait_for

ROUNDS = 4
VICTIMS = {
    "receiver": " receive ",
    "daemon": " dagster._daemon ",
    "code server": " tasks_pipeline.code_server ",
    "nudge": " tasks_pipeline.nudging ",
}
EVENTS_BETWEEN_KILLS = 15


class Client(threading.Thread):
    """Sends events one after the other until told to stop; knows which were answered 200 and which may have been."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.over = threading.Event()
        self.progress = threading.Condition()
        self.accepted: set[str] = set()
        self.unclear: set[str] = set()

    def run(self) -> None:
        """Send; a connection that breaks after the request was sent leaves its event unclear."""
        with httpx.Client(timeout=60) as client:
            for event in shop_events(1_000_000):
                if self.over.is_set():
                    return
                self.send(client, event.event_id, shop_request(event))
                self.over.wait(0.02)  # a load, but not one that piles up while nobody drains

    def send(self, client: httpx.Client, event_id: str, request: Request) -> None:
        """One event, until some receiver has answered or may have taken it."""
        while not self.over.is_set():
            try:
                answer = client.post(self.url + request.path, content=request.body, headers=request.headers)
            except httpx.ConnectError:
                self.over.wait(0.05)  # being restarted
                continue
            except httpx.TransportError:
                self.unclear.add(event_id)
                return
            if answer.status_code == 200:
                with self.progress:
                    self.accepted.add(event_id)
                    self.progress.notify_all()
                return
            self.over.wait(0.05)

    def wait_for_more(self, count: int) -> None:
        """Return when so many further events were accepted."""
        with self.progress:
            goal = len(self.accepted) + count
            assert self.progress.wait_for(lambda: len(self.accepted) >= goal, 60), "no events are accepted"


def victims(service: int) -> dict[str, psutil.Process]:
    """The processes that may be killed, as far as they live now."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process(service).children(recursive=True):
        try:
            words = f" {' '.join(process.cmdline())} "
            forked = {RUN: "drain", WARM_PROCESS: "warm process"}.get(process.name())
        except psutil.NoSuchProcess:
            continue
        if forked:
            found[forked] = process
        else:
            found |= {name: process for name, mark in VICTIMS.items() if mark in words}
    return found


def dead(process: psutil.Process) -> bool:
    """Whether a process runs no more; its parent may not have asked for it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def nothing_waits(stores: Stores) -> bool:
    return all(books_of_state(stores, day).waiting == 0 for day in stores.spool.days())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_accepted_event_is_stored_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(20)
    home = Home(tmp_path)
    with running_demo_service(home, linger_seconds=30) as (service, running), open_stores(home) as stores:
        client = Client(running.receiver_url)
        client.start()
        for name in (*ROUNDS * ("drain", "receiver", "daemon"), "nudge", "warm process", "code server"):
            victim = wait_for(f"a {name} lives", lambda name=name: victims(service.pid).get(name), 150)
            client.wait_for_more(chance.randrange(1, EVENTS_BETWEEN_KILLS))
            victim.send_signal(signal.SIGKILL)
            wait_for(f"the {name} is dead", lambda victim=victim: dead(victim), 10)
        client.wait_for_more(1)
        client.over.set()
        client.join(120)
        wait_for("everything is processed", lambda: nothing_waits(stores), 180)

        rows = stores.lake.query("SELECT event_id, count(*) AS times FROM lake.events GROUP BY event_id")
        stored = {row["event_id"] for row in rows}
        assert [row for row in rows if row["times"] != 1] == []
        assert client.accepted - stored == set()
        assert stored - client.accepted <= client.unclear
        assert sum(g["times_seen"] for g in list_groups(stores.state, stores.slugs, limit=1000)) == len(
            stored
        )
        for day in stores.spool.days():
            assert books_of_lake(stores, day).difference == 0
            assert books_of_state(stores, day).difference == 0

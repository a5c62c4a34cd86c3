"""kill -9 of a deletion at one step after the other: the next finishes it, nothing that is kept is lost, nothing comes back."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tasks_pipeline.config import parse_config
from tasks_pipeline.deletion import groups as of_groups
from tasks_pipeline.deletion import messages, projects, releases, run, state_rows
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.run import KINDS, delete
from tasks_pipeline.erasure import erase as erasing
from tasks_pipeline.erasure import finish as finishing
from tasks_pipeline.erasure import stored_reports
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish_open
from tasks_pipeline.home import Home
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.erasures import Request, open_requests
from tasks_pipeline.stores import Stores, open_stores
from tests.integration.test_deletion import (
    CONFIG,
    OTHER,
    SECRET,
    SHOP,
    WITHOUT_SHOP,
    chosen_groups,
    fill,
    group_of,
    of_project,
    places_of,
    planted,
)
from tests.support.crash import Moment, at, die, run_in_process
from tests.support.day import Day

MOMENTS = {
    "asked for": Moment(run, "open_request"),
    "keys gone": Moment(of_groups, "forget_keys"),
    "nothing taken any more": Moment(projects, "set_stone"),
    "noted": Moment(erasing, "note_going"),
    "an envelope erased": Moment(erasing, "erase_envelopes"),
    "a blob swept": Moment(BlobStore, "sweep"),
    "files of a day written": Moment(Lake, "exchange", after=False),
    "exchanged": Moment(Lake, "exchange"),
    "messages emptied": Moment(messages, "_empty_messages"),
    "a report written again": Moment(stored_reports, "_set_files"),
    "former files swept": Moment(stored_reports, "sweep_unnamed", after=False),
    "values counted again": Moment(releases, "_drop_others"),
    "some rows gone": Moment(state_rows, "delete_in_pieces"),
    "half of the rows gone": Moment(state_rows, "delete_in_pieces", after=False),
    "release forgotten": Moment(releases, "delete_release"),
    "catalog not written anew": Moment(Lake, "scrub_catalog", after=False),
    "all but the end": Moment(finishing, "end_request", after=False),
}
OF_ALL = [
    "asked for", "noted", "an envelope erased", "a blob swept", "files of a day written", "exchanged",
    "some rows gone", "catalog not written anew", "all but the end",
]  # fmt: skip
OF = {
    "groups": [
        *OF_ALL[:1],
        "keys gone",
        *OF_ALL[1:-3],
        "messages emptied",
        "a report written again",
        "former files swept",
        *OF_ALL[-3:],
    ],
    "release": [
        *OF_ALL[:-3],
        "messages emptied",
        "values counted again",
        *OF_ALL[-3:-2],
        "release forgotten",
        *OF_ALL[-2:],
    ],
    "project": [*OF_ALL[:1], "nothing taken any more", *OF_ALL[1:]],
}
"""Moments in the order in which they come: each process gets a step further than the one before."""


def open_requests_of(stores: Stores) -> list[Request]:
    """Deletions that are at work."""
    with stores.state.read() as connection:
        return open_requests(connection)


def as_configured(stores: Stores, chosen: Chosen) -> Stores:
    """A project is taken out of the configuration before."""
    return replace(stores, config=parse_config(WITHOUT_SHOP if chosen.kind == "project" else CONFIG))


def delete_and_die(home: Home, chosen: Chosen, moment: str) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, at(MOMENTS[moment], die):
        delete(as_configured(stores, chosen), chosen, "anna")


@pytest.mark.slow
@pytest.mark.parametrize("kind", OF)
def test_a_deletion_killed_again_and_again_is_finished(any_home: Home, kind: str) -> None:
    home = any_home
    with ExitStack() as stack:
        day = fill(stack.enter_context(open_stores(home)))
        if kind == "release":  # a group that stays has users of it too
            day.send(planted("Good", release="bad@1"))
            day.drain()
        chosen = {
            "groups": chosen_groups(day.stores, group_of(day, "Bad")["id"], group_of(day, "Also")["id"]),
            "release": Chosen("release", (SHOP,), version="bad@1"),
            "project": Chosen("project", (SHOP,), names=("shop",)),
        }[kind]
        other = replace(day, project=OTHER)
        kept = of_project(other), other.state(), [group["id"] for group in other.groups()]
        good = group_of(day, "Good")
        assert places_of(day.stores, SECRET)
    for moment in OF[kind]:
        assert run_in_process(delete_and_die, home, chosen, moment) == -signal.SIGKILL, moment
    with open_stores(home) as stores:
        stores = as_configured(stores, chosen)
        assert [request.data["kind"] for request in open_requests_of(stores)] == [kind]
        assert [Path(done.path).exists() for done in finish_open(stores, KINDS)] == [True]
        assert open_requests_of(stores) == []
        assert [each["valid"] for each in certificates(home)] == [True]
        assert places_of(stores, SECRET) == []
        other, day = replace(other, stores=stores), Day(stores, day.date, SHOP)
        assert (of_project(other), other.state(), [group["id"] for group in other.groups()]) == kept
        if kind != "project":
            assert [group["id"] for group in day.groups()] == [good["id"]]
            assert [row["group_id"] for row in of_project(day)] == [good["id"]]
        day.assert_balanced()

"""kill -9 of a deletion at every step: the next cleanup finishes it, nothing of the person is left, and nobody else loses anything."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.erasure import erase as erasing
from tasks_pipeline.erasure import finish as finishing
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish_open
from tasks_pipeline.home import Home
from tasks_pipeline.privacy import delete as deleting
from tasks_pipeline.privacy import pseudonymise
from tasks_pipeline.privacy.delete import KINDS, delete_person
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.stores import open_stores
from tests.integration.test_privacy import ANN, EMAIL, ID, IP, NOWHERE, everywhere, kept_rows, plant
from tests.support.crash import Moment, at, die, left_at, run_in_process
from tests.support.day import Day

MOMENTS = {
    "asked, nothing done": Moment(deleting, "open_request"),
    "noted": Moment(erasing, "note_going"),
    "an envelope erased": Moment(erasing, "erase_envelopes"),
    "blobs swept": Moment(erasing, "sweep_blobs"),
    "alerts silent": Moment(erasing, "silence_alerts"),
    "rest of a day exchanged": Moment(Lake, "exchange"),
    "rows gone, texts not": Moment(erasing, "overwrite_texts", after=False),
    "old files there": Moment(erasing, "forget_files", after=False),
    "certificate written": Moment(finishing, "write_certificate"),
}
RENAMING = {
    "files gone": Moment(pseudonymise, "sweep_blobs"),
    "raw renamed": Moment(pseudonymise, "rename_envelopes"),
    "a day renamed": Moment(Lake, "exchange"),
    "rows renamed, figures not": Moment(pseudonymise, "rename_users", after=False),
    "certificate written": Moment(finishing, "write_certificate"),
}
DAY, PROJECT = date(2020, 1, 1), 1000


@dataclass(frozen=True)
class Planted:
    """A home with a person and others in it; the ids of her events, and rows of others."""

    home: Home
    ids: set[str]
    kept: dict[str, list[Any]]

    def left(self, target: Callable[..., None], into: Path) -> Path:
        """What a deletion leaves in this home that is killed at each of its moments."""
        home = Home(root=into / "home")
        shutil.copytree(self.home.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
        assert run_in_process(target, home, into) == 0
        return into


@pytest.fixture(scope="module")
def planted(_new_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    home = Home(root=tmp_path_factory.mktemp("planted") / "home")
    shutil.copytree(_new_home.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        hers, _ = plant(day)
        ids = {each["event_id"] for each in hers}
        return Planted(home, ids, kept_rows(day, ids))


@pytest.fixture(scope="module")
def deleted(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.left(delete_and_leave, tmp_path_factory.mktemp("deleted"))


@pytest.fixture(scope="module")
def renamed(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted.left(pseudonymise_and_leave, tmp_path_factory.mktemp("renamed"))


def delete_and_die(home: Home, moment: str) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, at(MOMENTS[moment], die):
        delete_person(stores, ANN, "tester")


def delete_and_leave(home: Home, into: Path) -> None:
    """The same, copied at each moment."""
    with open_stores(home) as stores, left_at(MOMENTS, home.root, into):
        delete_person(stores, ANN, "tester")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deletion_killed_at_any_step_is_finished_by_the_next(
    planted: Planted, deleted: Path, moment: str
) -> None:
    home, kept = Home(root=deleted / moment), planted.kept
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        (done,) = finish_open(stores, KINDS)
        assert everywhere(stores) == NOWHERE
        assert {name: day.rows(name) for name in kept} == kept
        day.assert_balanced()
    (told,) = certificates(home)
    rows = {each["where"]: each["rows"] for each in told["erased"]}
    assert (told["valid"], rows["lake.events"]) == (True, 5)
    assert done.certificate["requested_by"] == "tester"


@pytest.mark.slow
def test_one_killed_again_and_again_on_postgres(postgres_home: Home) -> None:
    with open_stores(postgres_home) as stores:
        hers, _ = plant(Day(stores, DAY, PROJECT))
        kept = kept_rows(Day(stores, DAY, PROJECT), {each["event_id"] for each in hers})
    for moment in ("noted", "rest of a day exchanged"):
        assert run_in_process(delete_and_die, postgres_home, moment) == -signal.SIGKILL, moment
    with open_stores(postgres_home) as stores:
        day = Day(stores, DAY, PROJECT)
        (done,) = finish_open(stores, KINDS)
        assert everywhere(stores) == NOWHERE
        assert {name: day.rows(name) for name in kept} == kept
        day.assert_balanced()
    assert {each["where"]: each["rows"] for each in done.certificate["erased"]}["lake.events"] == 5


def pseudonymise_and_leave(home: Home, into: Path) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, left_at(RENAMING, home.root, into):
        delete_person(stores, ANN, "tester", pseudonymise=True)


@pytest.mark.slow
@pytest.mark.parametrize("moment", RENAMING)
def test_a_pseudonymisation_killed_at_any_step_is_finished_with_the_same_pseudonyms(
    planted: Planted, renamed: Path, moment: str
) -> None:
    home, ids, kept = Home(root=renamed / moment), planted.ids, planted.kept
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        (done,) = finish_open(stores, KINDS)
        found = everywhere(stores)
        assert [found[each.encode()] for each in (ID, EMAIL, IP)] == [[], [], []]
        assert {row["event_id"] for row in day.rows("events")} >= ids
        others = {name: [row for row in day.rows(name) if row in kept[name]] for name in kept}
        assert others == kept
        day.assert_balanced()
        users = {row["user_id"] for row in day.rows("events") if row["event_id"] in ids} - {None}
        raw = b"".join(each.receipt.body for each in stores.spool.read(DAY, "r0", 0))
        assert all(user.encode() in raw for user in users)
    rows = {each["where"]: each["how"] for each in done.certificate["erased"]}
    assert rows["lake.attachments"] == "deleted"

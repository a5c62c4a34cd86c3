"""The policy of retention: one row for everything that is kept, and docs/retention.md says the same."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tasks_pipeline.config import Config, ConfigError, ProjectRetention, Retention, parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.retention.documenting import DOCUMENT, written
from tasks_pipeline.retention.policy import CATEGORIES, NEVER, POLICY, oldest_kept
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import metadata

PROJECT = "projects:\n- {id: 1, slug: shop, keys: [{public_key: abcd}]%s}\n"


def test_every_table_and_folder_stands_in_one_row(home: Home) -> None:
    lake = Counter(name for category in POLICY for name in category.lake)
    state = Counter(name for category in POLICY for name in category.state)
    folders = Counter(name for category in POLICY for name in category.folders)
    assert {*lake.values(), *state.values(), *folders.values()} == {1}
    assert lake.keys() == LAKE_TABLES.keys()
    assert state.keys() == metadata.tables.keys() | {"alembic_version"}
    names = {name for name, p in vars(Home).items() if isinstance(p, property)} - {"postgres_url"}
    paths = [Path(value) for name in names if isinstance(value := getattr(home, name), Path)]
    tops = {path.relative_to(home.root).parts[0] for path in paths}
    home.config_in_force()
    there = {path.name.removesuffix("-wal").removesuffix("-shm") for path in home.root.iterdir()}
    assert (tops | there) - folders.keys() == set()


def test_every_setting_is_of_one_row() -> None:
    settings = Counter(category.setting for category in POLICY if category.setting is not NEVER)
    assert set(settings.values()) == {1}
    assert settings.keys() - {"uploads.chunk_hours"} == Retention.model_fields.keys() - {
        "max_disk",
        "archive_url",
        "raw_database_days",  # nothing goes by it
    }
    assert ProjectRetention.model_fields.keys() - {"max_events", "archive"} <= settings.keys()


def test_the_document_says_what_the_policy_says() -> None:
    """`python -m tasks_pipeline.retention.documenting --write` makes it so."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == written(text)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("retention: {event_days: 0}", ":3: retention.event_days: Input should be greater than or equal to 8 (found 0)"),
        ("retention: {attachment_days: -1}", ":3: retention.attachment_days: Input should be greater than or equal to 1 (found -1)"),
        ("retention: {session_days: a week}", ":3: retention.session_days: Input should be a valid integer"),
        ("retention: {analytics_days: 30}", "greater than or equal to 70 (found 30)"),
        ("retention: {max_disk: 1000}", "greater than or equal to 67108864 (found 1000)"),
        ("retention: {archive_url: archive}", ":3: retention.archive_url: another folder for each process"),
        ("backup: {to: 'ss3://backups'}", ":3: backup.to: a URL of no known kind; allowed is one of object storage"),
        ("retention:\n  raw_days: 60\n  event_days: 59", ":5: retention.event_days: 59 is less than retention.raw_days"),
    ],
)  # fmt: skip
def test_what_cannot_be_promised_is_a_mistake(section: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(PROJECT % "" + section)
    assert said in str(caught.value)


def test_a_project_cannot_promise_less_than_raw_envelopes_keep() -> None:
    text = PROJECT % ", retention: {event_days: 10}" + "retention: {raw_days: 30}"
    with pytest.raises(ConfigError, match=r"projects\[0\]\.retention\.event_days: 10 is less than"):
        parse_config(text)


def test_the_first_day_that_stays() -> None:
    config: Config = parse_config(
        PROJECT % ", retention: {event_days: 10}" + "retention: {raw_days: 9, event_days: 20}"
    )
    today = date(2026, 11, 20)
    events = CATEGORIES["events"]
    assert oldest_kept(config, events, today) == date(2026, 10, 31)
    assert oldest_kept(config, events, today, 1) == date(2026, 11, 10)
    assert oldest_kept(config, events, today, 2) == date(2026, 10, 31)


def test_a_longer_raw_retention_lengthens_what_nobody_set() -> None:
    config = parse_config(PROJECT % "" + "retention: {raw_days: 60}")
    assert oldest_kept(config, CATEGORIES["sessions"], date(2026, 11, 30)) == date(2026, 10, 1)


def test_transactions_stay_until_the_reports_of_their_month_are_made() -> None:
    config = parse_config(PROJECT % "" + "retention: {transaction_days: 8}")
    transactions = CATEGORIES["transactions"]
    assert oldest_kept(config, transactions, date(2026, 12, 5)) == date(2026, 11, 1)
    assert oldest_kept(config, transactions, date(2026, 12, 6)) == date(2026, 11, 28)

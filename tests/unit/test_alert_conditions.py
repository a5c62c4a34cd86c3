"""Conditions of alert rules: what holds, and how all, any and none go together."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.alerts.conditions import matches
from tasks_pipeline.config import parse_config
from tasks_pipeline.config.alerts import Conditions

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENT = {
    "level": "error", "environment": "production", "release": "shop@1.3", "platform": "python", "exception_type": "PaymentFailed",
    "title": "PaymentFailed: timeout at bank", "tags": [("browser", "Chrome 130")],
}  # fmt: skip
FACTS = {
    "times_seen": 10,
    "users": 3,
    "category": "error",
    "first_seen": (NOW - timedelta(minutes=30)).isoformat(),
    "assignee": None,
}


def holds(condition: dict[str, Any], facts: dict[str, Any] | None = None) -> bool:
    conditions = Conditions.model_validate({"all": [condition]})
    return matches(conditions, EVENT, facts or FACTS, NOW, lambda: "shop@1.3")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"level": "error"}, True), ({"level": ">=warning"}, True), ({"level": ">error"}, False), ({"level": "<=info"}, False),
        ({"environment": "prod*"}, True), ({"environment": ["staging", "PRODUCTION"]}, True), ({"environment": "staging"}, False),
        ({"release": "latest"}, True), ({"release": "shop@1.*"}, True), ({"release": "shop@2.*"}, False),
        ({"platform": "python"}, True), ({"error_type": "Payment*"}, True), ({"error_type": "Timeout*"}, False),
        ({"message": "*timeout*"}, True), ({"category": "cron"}, False), ({"category": ["error", "cron"]}, True),
        ({"tag": {"name": "browser", "is": "Chrome*"}}, True), ({"tag": {"name": "browser", "is": "Firefox*"}}, False),
        ({"tag": {"name": "os", "is": "*"}}, False),
        ({"times_seen": ">=10"}, True), ({"times_seen": ">10"}, False), ({"users": "<5"}, True), ({"users": 3}, True),
        ({"age_minutes": "<=60"}, True), ({"age_minutes": ">60"}, False),
        ({"assigned_to": "nobody"}, True), ({"assigned_to": "anybody"}, False),
    ],
)  # fmt: skip
def test_what_holds(condition: dict[str, Any], expected: bool) -> None:
    assert holds(condition) is expected


def test_who_it_is_assigned_to() -> None:
    mine = {**FACTS, "assignee": "anna@acme.example"}
    assert holds({"assigned_to": "anna@acme.example"}, mine)
    assert holds({"assigned_to": "anybody"}, mine)
    assert not holds({"assigned_to": ["nobody", "team:web"]}, mine)


YES, NO = {"level": "error"}, {"level": "fatal"}


@given(
    st.lists(st.booleans(), max_size=4),
    st.lists(st.booleans(), max_size=4),
    st.lists(st.booleans(), max_size=4),
)
def test_all_any_and_none(every: list[bool], some: list[bool], none: list[bool]) -> None:
    conditions = Conditions.model_validate(
        {
            name: [YES if each else NO for each in group]
            for name, group in (("all", every), ("any", some), ("none", none))
        }
    )
    expected = all(every) and (not some or any(some)) and not any(none)
    assert matches(conditions, EVENT, FACTS, NOW, lambda: None) is expected


@given(st.text(max_size=50), st.text(max_size=3000))
def test_any_glob_and_any_text_give_an_answer(glob: str, text: str) -> None:
    if not glob:
        return
    conditions = Conditions.model_validate({"all": [{"message": glob}]})
    assert matches(conditions, {**EVENT, "title": text}, FACTS, NOW, lambda: None) in (True, False)


def test_many_stars_take_no_time() -> None:
    conditions = Conditions.model_validate({"all": [{"message": "*a" * 20 + "*b"}]})
    assert not matches(conditions, {**EVENT, "title": "a" * 2000}, FACTS, NOW, lambda: None)


@pytest.mark.parametrize(
    "page", ["alerts", "notifications", "notifications-people", "monitors", "uptime", "watch"]
)
def test_the_examples_of_the_documents_are_valid(page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        names = re.findall(r"\$\{env:(\w+)\}", example)
        assert parse_config(example, environ=dict.fromkeys(names, "https://secret.example/x"))

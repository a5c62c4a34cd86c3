"""Templates and scripts of pages: nothing in them lets a stranger's text be more than a text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from markupsafe import Markup

import tasks_pipeline.pages
from tasks_pipeline.pages.answers import own_address
from tasks_pipeline.pages.charts import bars
from tasks_pipeline.pages.shown import age, harmless
from tasks_pipeline.pages.tables import cell
from tasks_pipeline.pages.view import templates

FOLDER = Path(tasks_pipeline.pages.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
STATIC = FOLDER / "static"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_escapes_everything_and_has_nothing_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    assert not re.search(r"\sstyle\s*=|<style|\son[a-z]+\s*=|javascript:|srcdoc", text)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"\s[a-z-]+=\{\{", text), "an attribute without quotes"
    assert not re.search(r"(?:src|href)=\"https?:", text), "something from elsewhere"


def test_nothing_in_python_makes_markup() -> None:
    made = [
        p.name
        for p in FOLDER.glob("*.py")
        if re.search(r"Markup\(|\bmark_safe|Undefined\(", p.read_text(encoding="utf-8"))
    ]
    assert made == []


def test_scripts_make_no_markup_and_run_no_text() -> None:
    text = (STATIC / "pages.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|\.src\s*=", text
    )


def test_style_and_script_are_small() -> None:
    assert len((STATIC / "pages.js").read_bytes()) < 8_000
    assert len((STATIC / "pages.css").read_bytes()) < 26_000


def test_texts_are_cleaned_wherever_they_come_in() -> None:
    found = (
        templates()
        .from_string("{{ a }}|{{ b }}|{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(a * 9000) }}")
        .render(a="<b>\u202e\x00é", b="{{ 7*7 }}")
    )
    assert "<b>" not in found
    assert "{{ 7*7 }}" in found
    assert not set(found) & set("\u202e\x00")
    assert "<i>&lt;b&gt;" in found, "what a macro made stays markup, however long it is"
    assert harmless(Markup("<p>")) == "<p>"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\u200b=1", "\n=1", "\uff1d1"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert cell(text).startswith("'")


def test_a_cell_is_what_it_is() -> None:
    assert (cell(7), cell(None), cell("a=b")) == ("7", "", "a=b")


@pytest.mark.parametrize("address", ["https://x", "//x", "/\\x", "", "x", "/a\nb", "/\u202e", "/a\\b"])
def test_addresses_of_others_lead_to_the_start(address: str) -> None:
    assert own_address(address) == "/groups/"


def test_bars_show_every_hour_that_has_events() -> None:
    assert bars([0, 0]) == ""
    assert bars([1, 0, 1_000]) == "M2 24v-2M12 24v-24"


def test_ages_are_told_in_one_unit() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ages = {5: "5 s", 300: "5 min", 7_200: "2 h", 200_000: "2 d", 86_400 * 800: "2 y", -5: "0 s"}
    assert {seconds: age(now - timedelta(seconds=seconds), now) for seconds in ages} == ages

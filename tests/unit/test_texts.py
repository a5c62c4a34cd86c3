"""No text of a stranger hides anything where people read it: not in messages and reports, not on terminals, not in files."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks_pipeline.reports.files import csv_files, report_json
from tasks_pipeline.texts import clean, printable, safe_json
from tests.support.report_values import report_value

RANGES = (
    (0x00AD, 0x00AD), (0x061C, 0x061C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0x1D173, 0x1D17A), (0xE0000, 0xE007F), (0xE0100, 0xE01EF),
)  # fmt: skip
HIDDEN = "".join(chr(n) for first, last in RANGES for n in range(first, last + 1))
"""Turns of direction, what has no width, notes between lines, tags: by their code points, not by what the code takes for hidden."""
BREAKS = "\r\n\t\x00\x07\x1b\x7f\x85\u2028\u2029"
texts = st.text(
    st.sampled_from(HIDDEN + BREAKS + "aé支❤\ufe0f=<") | st.characters(exclude_categories=["Cs"]), max_size=40
)


@given(texts)
@example(HIDDEN + BREAKS)
def test_a_clean_text_has_nothing_that_is_not_seen(text: str) -> None:
    one_line, several = clean(text), clean(text, lines=True)
    assert not set(HIDDEN + BREAKS) & set(one_line)
    assert not set(HIDDEN + BREAKS) & set(several) - {"\n", "\t"}
    assert not [c for c in one_line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
    assert clean(one_line) == one_line


@given(texts)
@example(HIDDEN + BREAKS)
def test_a_terminal_gets_it_as_escapes_and_programs_the_same_text(text: str) -> None:
    assert not set(HIDDEN + BREAKS) & set(printable(text))
    escaped = safe_json(json.dumps(text, ensure_ascii=False).encode())
    assert not set(HIDDEN + BREAKS) & set(escaped)
    assert json.loads(escaped) == text


@pytest.mark.parametrize("text", ["❤️ done", "支払い処理", "naïve café", "Straße 7"])
def test_what_is_seen_stays(text: str) -> None:
    assert clean(text) == printable(text) == text


def test_files_of_reports_hide_nothing() -> None:
    """JSON is data: the text is as it was sent, but each character of it can be seen in the file. Tables hold the clean text."""
    report = report_value(text=f"pay{HIDDEN}ment")
    written = report_json(report).decode()
    assert not set(HIDDEN) & set(written)
    assert json.loads(written)["groups"]["top"][0]["title"] == f"pay{HIDDEN}ment"
    assert ",payment," in csv_files(report)["groups.csv"].decode()

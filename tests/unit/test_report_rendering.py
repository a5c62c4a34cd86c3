"""Renderings of reports: what people read holds the numbers, nothing of a stranger means anything, and bytes are the same each time."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.assets.reports import small_picture
from tasks_pipeline.reports.files import csv_files, files_of
from tasks_pipeline.reports.periods import Kind
from tasks_pipeline.reports.rendering import charts
from tasks_pipeline.reports.rendering.mail import MAX_HTML, mail_html, mail_text, pictures_of
from tasks_pipeline.reports.rendering.page import report_page
from tasks_pipeline.reports.rendering.text import report_text
from tasks_pipeline.reports.rendering.words import duration, in_a_line, share
from tests.support.report_values import HOSTILE, empty_report, group_row, report_value

texts = st.text(max_size=60) | st.sampled_from(
    [
        HOSTILE,
        "<img src=x onerror=alert(1)>",
        "{{ 7*7 }}{% raw %}",
        "\t=1+1",
        "@SUM(A1)",
        "-2+3",
        "\r\nBcc: x@y.example",
    ]
)


class Shape(HTMLParser):
    """Tags and attributes of a page, without its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))


def shape(html: str) -> list[tuple[str, tuple[str, ...]]]:
    parser = Shape()
    parser.feed(html)
    return parser.tags


@given(texts)
@settings(max_examples=60)
def test_a_strangers_text_is_text_in_mail_and_on_the_terminal(text: str) -> None:
    """Whatever a title, a transaction or a release is called, the mail has the same tags; no line of it begins or ends another."""
    report, plain = report_value(text=text or "x"), report_value(text="x")
    options = {"why": "You get it.", "unsubscribe": "https://errors.acme.example/unsubscribe/abc"}
    assert shape(mail_html(report, (), **options)) == shape(mail_html(plain, (), **options))
    written = report_text(report)
    assert written.count("\n") == report_text(plain).count("\n")
    assert not [c for c in written if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"]


@given(texts)
@settings(max_examples=60)
def test_no_cell_of_a_csv_file_is_run_by_a_spreadsheet(text: str) -> None:
    for content in csv_files(report_value(text=text or "x")).values():
        head, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
        for row in rows:
            assert len(row) == len(head)
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r"))
                assert not cell.startswith("-") or float(cell) < 0


def test_the_page_of_hostile_names_is_one_file_without_script() -> None:
    page = report_page(report_value(text=HOSTILE))
    tags = shape(page)
    assert "script" not in {tag for tag, _ in tags}
    assert "alert(1)" in page  # it is there, as text
    assert {name for _, names in tags for name in names if name.startswith("on") or name == "src"} == set()
    drawn = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    assert {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()} >= {
        "svg",
        "path",
    }


@pytest.mark.parametrize("kind", ["day", "week", "month"])
def test_mail_page_and_text_show_the_same_numbers(kind: Kind) -> None:
    report = report_value(kind, report_value().key.replace(day=1) if kind == "month" else report_value().key)
    errors = f"{report.figures['errors']:,}"
    for rendered in (
        mail_html(report, pictures_of(report), why="", unsubscribe=""),
        mail_text(report, why="", unsubscribe=""),
        report_page(report),
        in_a_line(report),
    ):
        assert errors in rendered
    assert json.loads(files_of(report)["report.json"])["figures"]["errors"] == report.figures["errors"]


def test_a_picture_carries_nothing_that_the_text_lacks() -> None:
    report = report_value()
    pictures = pictures_of(report)
    assert [picture.name for picture in pictures] == [
        "errors.png", "new-groups.png", "projects.png", "transactions.png",
    ]  # fmt: skip
    assert sum(len(picture.png) for picture in pictures) < 300_000
    html, text = mail_html(report, pictures, why="", unsubscribe=""), report_text(report)
    for picture in pictures:
        assert f'src="cid:{picture.cid}"' in html
    words = " ".join(text.split())
    for place, numbers in enumerate((report.series.errors, report.series.new_groups)):
        said = pictures[place].alt.partition(": ")[2]
        assert [int(part.rpartition(": ")[2]) for part in said.split(", ")] == list(numbers)
        assert said in words


def test_a_mail_is_never_so_large_that_it_is_cut() -> None:
    long = "W" * 5000
    groups = report_value().groups
    rows = [group_row(n, long) for n in range(200)]
    from msgspec.structs import replace

    crowded = replace(groups, top=rows, top_by_users=rows, new=rows, returning=rows, noisy=rows)
    report = report_value(text=long, groups=crowded, projects=report_value().projects * 100)
    html = mail_html(report, (), why="", unsubscribe="")
    assert len(html.encode()) <= MAX_HTML
    assert "more</p>" in html


def test_what_did_not_happen_is_left_out() -> None:
    page, text = report_page(empty_report()), report_text(empty_report())
    for name in ("Releases", "Monitors", "Slowest", "Groups: what came", "<svg"):
        assert name not in page
        assert name not in text


def test_files_hold_plain_values() -> None:
    files = files_of(report_value(text=HOSTILE))
    rows = list(csv.DictReader(io.StringIO(files["groups.csv"].decode(), newline="")))
    assert rows[0]["title"].startswith("'=HYPERLINK(")
    assert (rows[0]["list"], rows[0]["events"]) == ("top", "4000")
    first = next(csv.DictReader(io.StringIO(files["series.csv"].decode(), newline="")))
    assert first["start"] == "2026-11-16T00:00:00Z"
    table = pq.read_table(io.BytesIO(files["groups.parquet"]))
    assert table.column("events").to_pylist()[0] == 4000
    assert table.column("title").to_pylist()[0].startswith("=HYPERLINK(")
    assert (
        str(pq.read_schema(io.BytesIO(files["series.parquet"])).field("start").type)
        == "timestamp[us, tz=UTC]"
    )


DIGEST = """
import hashlib
from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.rendering.mail import pictures_of
from tests.support.report_values import report_value
found = hashlib.sha256()
for name, content in sorted(files_of(report_value()).items()):
    found.update(name.encode() + content)
for picture in pictures_of(report_value()):
    found.update(picture.png)
print(found.hexdigest())
"""


def test_the_same_report_gives_the_same_bytes_in_every_process() -> None:
    found = hashlib.sha256()
    for name, content in sorted(files_of(report_value()).items()):
        found.update(name.encode() + content)
    for picture in pictures_of(report_value()):
        found.update(picture.png)
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == found.hexdigest()


@pytest.mark.parametrize(
    "module",
    [
        "tasks_pipeline.definitions",
        "tasks_pipeline.cli",
        "tasks_pipeline.commands.reports.group",
        "tasks_pipeline.receiver.app",
        "tasks_pipeline.reports.files",
        "tasks_pipeline.reports.deliver",
    ],
)
def test_pictures_cost_nothing_until_one_is_drawn(module: str) -> None:
    asked = f"import sys, {module}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_names_in_other_scripts_and_mathematics_are_drawn_as_text() -> None:
    for text in ("$x_1$ costs $5", "支払い処理", "\\frac{a}{b}$"):
        for chart in charts.charts_of(report_value(text=text)):
            assert charts.png(chart).startswith(b"\x89PNG")
            ElementTree.fromstring(charts.svg(chart))


def test_a_small_picture_fits_into_markdown() -> None:
    """Dagster's UI shows texts of less than 1,000 characters where they stand, and images in them that have a `data:` address."""
    for count in (1, 24, 31, 168, 745):
        full = report_value()
        series = msgspec.structs.replace(full.series, errors=[1_000_000 + n for n in range(count)])
        said = small_picture(msgspec.structs.replace(full, series=series))
        assert len(said) < 1000
        svg = base64.b64decode(said.partition("base64,")[2].removesuffix(")"))
        assert ElementTree.fromstring(svg).get("width") == "240"
        assert svg.count(b"z") == min(count, -(-count // -(-count // 31)))


def test_words() -> None:
    assert [duration(s) for s in (0, 42, 185, 7800, 183_600)] == [
        "0 s",
        "42 s",
        "3 min 5 s",
        "2 h 10 min",
        "2 d 3 h",
    ]
    assert [share(v) for v in (0, 0.5, 0.99932, 0.9999999, 1)] == [
        "0 %",
        "50 %",
        "99.93 %",
        "> 99.99 %",
        "100 %",
    ]

"""docs/retention.md's table, as the policy says it.

`python -m tasks_pipeline.retention.documenting` prints it, `--write` puts it there.
"""

from __future__ import annotations

from pathlib import Path

from tasks_pipeline.config import Retention
from tasks_pipeline.config.uploads import Uploads
from tasks_pipeline.documents import print_or_write, renewed
from tasks_pipeline.retention.policy import POLICY, Category

BEGIN = "<!-- what is kept: made by `python -m tasks_pipeline.retention.documenting --write` -->"
END = "<!-- end of what is kept -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "retention.md"


def table() -> str:
    """The policy as Markdown."""
    lines = [
        "| what | setting | default | clock | tables and folders | removed by |",
        "|---|---|---|---|---|---|",
    ]
    for each in POLICY:
        about = f"**{each.name}**: {each.about[0].lower()}{each.about[1:]}"
        lines.append(
            f"| {about} | {_setting(each)} | {_default(each)} | {each.clock} | {_places(each)} | {each.by} |"
        )
    return "\n".join(lines)


def _setting(each: Category) -> str:
    return f"`{each.setting}`" if each.setting else "none"


def _default(each: Category) -> str:
    if each.setting == "uploads.chunk_hours":
        return f"{Uploads().chunk_hours} hours"
    return f"{getattr(Retention(), each.setting)} days" if each.setting else ""


def _places(each: Category) -> str:
    named = [
        *(f"`lake.{name}`" for name in each.lake),
        *(f"`state.{name}`" for name in each.state),
        *(f"`{name}`" for name in each.folders),
    ]
    return ", ".join(named)


def written(document: str) -> str:
    """A document with the part between the marks made anew."""
    return renewed(document, BEGIN, END, table())


if __name__ == "__main__":
    print_or_write(DOCUMENT, BEGIN, END, table())

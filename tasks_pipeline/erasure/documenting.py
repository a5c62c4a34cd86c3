"""docs/privacy.md's table, as the policy says it.

`python -m tasks_pipeline.erasure.documenting` prints it, `--write` puts it there.
"""

from __future__ import annotations

from pathlib import Path

from tasks_pipeline.documents import print_or_write, renewed
from tasks_pipeline.erasure.policy import FOLDERS, LAKE, STATE, Place

BEGIN = "<!-- what becomes of each: made by `python -m tasks_pipeline.erasure.documenting --write` -->"
END = "<!-- end of what becomes of each -->"
DOCUMENT = Path(__file__).parents[2] / "docs" / "privacy.md"


def table() -> str:
    """The policy as Markdown."""
    places = (("lake.", LAKE), ("state.", STATE), ("", FOLDERS))
    rows = (_row(prefix, each) for prefix, found in places for each in found)
    return "\n".join(["| where | what is done | texts are overwritten in |", "|---|---|---|", *rows])


def _row(prefix: str, each: Place) -> str:
    columns = ", ".join(f"`{name}`" for name in each.columns)
    return f"| `{prefix}{each.name}` | {each.what} | {columns} |"


def written(document: str) -> str:
    """A document with the part between the marks made anew."""
    return renewed(document, BEGIN, END, table())


if __name__ == "__main__":
    print_or_write(DOCUMENT, BEGIN, END, table())

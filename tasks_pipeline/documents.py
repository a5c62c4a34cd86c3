"""Documents of which a part is made from the code: that part, between its marks, printed or written anew."""

from __future__ import annotations

import sys
from pathlib import Path


def renewed(document: str, begin: str, end: str, made: str) -> str:
    """A document with the part between two marks made anew."""
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{made.strip()}\n\n{end}{after}"


def print_or_write(path: Path, begin: str, end: str, made: str) -> None:
    """What a module does that makes a part of a document: with `--write` put it there, else print it."""
    if "--write" in sys.argv:
        path.write_text(renewed(path.read_text(encoding="utf-8"), begin, end, made), encoding="utf-8")
    else:
        sys.stdout.write(f"{made.strip()}\n")

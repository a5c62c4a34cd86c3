"""Progress bars on stderr; nothing is drawn where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date


@contextmanager
def days_progress(days: Sequence[date], what: str = "days") -> Iterator[Callable[[date, float], None]]:
    """A bar over all days, or over weeks or months by their first; `what` says so. The block gets a function that takes a day and
    how much of it is done, 0 to 1."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shares = dict.fromkeys(days, 0.0)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=len(days))

        def advance(day: date, share: float) -> None:
            shares[day] = share
            bar.update(task, completed=sum(shares.values()), description=f"{what}: {day}")

        yield advance

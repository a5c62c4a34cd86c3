"""Provider: what sync asks of a far side. One class in one module of `providers/` for each; a further one is a file and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import Protocol, cast

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.trackers.calls import OPEN_GATE, Calls, Gate
from tasks_pipeline.trackers.issue import (
    Changes,
    Comment,
    Cursor,
    Draft,
    Identity,
    Issue,
    IssueState,
    Place,
)


class Provider(Protocol):
    """The far side of one integration. Every method makes calls, and raises TrackerError when there is no usable answer.

    Texts that are handed in are already neutralised (`markup`); what a provider gives back is hostile as it came.
    """

    title_length: int
    """Characters that a title may have."""
    body_length: int
    """Characters that a body or comment may have."""
    markup: str
    """How its texts are written: what `markup.neutral` takes."""

    def who(self) -> Identity:
        """Whom we are there, and until when."""

    def place(self, tracker: Tracker) -> Place:
        """How the repository or project of a tracker is. One call where that is enough."""

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        """An issue as it is now; None when it is unchanged since `etag`. Follows one that moved within what may be read."""

    def attributed(self, tracker: Tracker, issue: Issue, *, state: bool, assignee: bool) -> Issue:
        """An issue of a list or read with who changed its state, or its assignee and when, as far as a call or two tell that and it does not
        say so already."""

    def find(self, tracker: Tracker, reference: str) -> Issue:
        """The issue that somebody names by address, key or number. Raises ValueError, with what is allowed, when it names none."""

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        """Make an issue, and put the draft's marker (a key, such as `Kd82hs`) where `find_marker` looks for it."""

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        """The issue that holds a marker, made by us since then (their clock), read from their database and no search index."""

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        """Open or close an issue, and what it is afterwards by a read where the answer does not say."""

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        """Give an issue to somebody, or to nobody."""

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        """All comments of an issue, oldest first, at most 1,000; system entries are none."""

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        """Write a comment, and put the marker (a key, such as `c:17:2`) into it: `markers.marker_in` finds it in what is read."""

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        """Change one of ours, and put the marker of its new version into it."""

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        """Remove one of ours; one that is gone is no error."""

    def changed(self, tracker: Tracker, cursor: Cursor) -> Changes:
        """What changed since the cursor: a bounded number of pages."""

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        """Issues by their ids in as few calls as the provider allows; None for one that is not there; one
        that cannot be listed is missing."""


@contextmanager
def open_provider(integration: AnyIntegration, gate: Gate = OPEN_GATE) -> Iterator[Provider]:
    """The far side of an integration, until the end of the block; no call is made yet. Raises TrackerError when its settings
    keep it from being asked at all. Its module is the one of `providers/` that has the name of its type, with
    `open(integration, calls) -> Provider`."""
    module = import_module(f"tasks_pipeline.trackers.providers.{integration.type}")
    with Calls(integration, gate) as calls:
        yield cast("Provider", module.open(integration, calls))

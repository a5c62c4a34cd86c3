"""What clients send of commits: lists of commits, and refs to the newest one of a repository, checked and bounded.

Which field may be how long is what the documented API says; what becomes of them is in `commits.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.protocol.decode import storable

MAX_COMMITS = 2_000
MAX_PATHS = 50_000
MAX_SHA = 64
MAX_REPOSITORY = 64
MAX_REF_REPOSITORY = 200
MAX_AUTHOR_NAME = 128
MAX_AUTHOR_EMAIL = 200
MAX_PATH = 510
MAX_MESSAGE = 64 * 1024
"""Characters that are kept of a message."""
KINDS = frozenset("AMDT")
"""Added, modified, deleted, another type of file. What else clients say is a modification."""


class BadCommits(ValueError):
    """What was sent cannot be used. `field` says which list, the message which entry and what of it, for people."""

    def __init__(self, field: str, said: str, *, too_many: bool = False) -> None:
        super().__init__(said)
        self.field = field
        self.too_many = too_many


@dataclass(frozen=True, slots=True)
class SentCommit:
    """A commit. What is None was not said: of a commit that is known it stays as it is. `files` are (path, type)."""

    sha: str
    repository: str | None = None
    message: str | None = None
    author_name: str | None = None
    author_email: str | None = None
    committed_at: datetime | None = None
    files: tuple[tuple[str, str], ...] | None = None

    @property
    def author_key(self) -> str | None:
        """What an author is known by: the mail address in lower case, else the name."""
        key = self.author_email.lower() if self.author_email else self.author_name
        return key and key[:MAX_AUTHOR_EMAIL]  # some letters are two in lower case


@dataclass(frozen=True, slots=True)
class SentRef:
    """The newest commit of a release in a repository; a sha, or a word such as HEAD."""

    repository: str
    sha: str
    previous_sha: str | None = None


def read_commits(sent: Sequence[Any]) -> list[SentCommit]:
    """The commits of a list, newest first, each once. Raises BadCommits.

    Those with a time are in the order of it where they stand among the others; which have none stay where they were sent.
    """
    if len(sent) > MAX_COMMITS:
        raise BadCommits(
            "commits", f"{len(sent):,} commits; at most {MAX_COMMITS:,} are taken", too_many=True
        )
    found: dict[str, SentCommit] = {}
    paths = 0
    for number, each in enumerate(sent):
        commit = _commit(_Entry("commits", number, each))
        paths += len(commit.files or ())
        if paths > MAX_PATHS:
            raise BadCommits("commits", f"more than {MAX_PATHS:,} changed files", too_many=True)
        found.setdefault(commit.sha, commit)
    return _newest_first([*found.values()])


def _newest_first(commits: list[SentCommit]) -> list[SentCommit]:
    timed = iter(
        sorted((c for c in commits if c.committed_at), key=lambda c: c.committed_at or _NEVER, reverse=True)
    )
    return [next(timed) if commit.committed_at else commit for commit in commits]


_NEVER = datetime.min.replace(tzinfo=UTC)


def read_refs(sent: Sequence[Any]) -> list[SentRef]:
    """Refs, each of another repository. Raises BadCommits."""
    return _refs("refs", sent, "commit", "previousCommit")


def read_head_commits(sent: Sequence[Any]) -> list[SentRef]:
    """The same in the form that was called `headCommits`. Raises BadCommits."""
    return _refs("headCommits", sent, "currentId", "previousId")


def _refs(field: str, sent: Sequence[Any], newest: str, previous: str) -> list[SentRef]:
    if len(sent) > MAX_COMMITS:
        raise BadCommits(field, f"{len(sent):,} refs; at most {MAX_COMMITS:,} are taken", too_many=True)
    found: dict[str, SentRef] = {}
    for number, each in enumerate(sent):
        entry = _Entry(field, number, each)
        repository = entry.name("repository", MAX_REF_REPOSITORY)
        if repository in found:
            raise entry.bad(
                "repository", f"{_shown(repository)} stands twice; a repository has one newest commit"
            )
        found[repository] = SentRef(repository, entry.name(newest, MAX_SHA), entry.text(previous, MAX_SHA))
    return [*found.values()]


def _commit(entry: _Entry) -> SentCommit:
    message = entry.text("message", None)
    return SentCommit(
        sha=entry.name("id", MAX_SHA),
        repository=entry.text("repository", MAX_REPOSITORY),
        message=None if message is None else message[:MAX_MESSAGE],
        author_name=entry.text("author_name", MAX_AUTHOR_NAME),
        author_email=entry.text("author_email", MAX_AUTHOR_EMAIL),
        committed_at=_moment(entry),
        files=_files(entry),
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a list, and its place for those who make a mistake."""

    field: str
    number: int
    sent: Any
    within: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.sent, dict):
            raise BadCommits(self.field, f"{self.place}: not an object")

    @property
    def place(self) -> str:
        return f"{self.field}[{self.number}]{self.within}"

    def bad(self, name: str, why: str) -> BadCommits:
        return BadCommits(self.field, f"{self.place}.{name}: {why}")

    def text(self, name: str, limit: int | None) -> str | None:
        """A text that may be missing; blank ones are missing, too."""
        value = self.sent.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.bad(name, "not a text")
        if limit is not None and len(value) > limit:
            raise self.bad(name, f"longer than {limit} characters")
        return storable(value) if value.strip() else None

    def name(self, name: str, limit: int) -> str:
        """A text that must be there, in one line and without blanks around it."""
        value = self.text(name, limit)
        if value is None:
            raise self.bad(name, "missing")
        if not value.isprintable() or value != value.strip():
            raise self.bad(name, f"{_shown(value)} is none")
        return value


def _moment(entry: _Entry) -> datetime | None:
    said = entry.text("timestamp", 64)
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(said)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise entry.bad("timestamp", f"{_shown(said)} is no time") from None


def _files(entry: _Entry) -> tuple[tuple[str, str], ...] | None:
    """Changed files by path; of a path that stands twice the last entry counts."""
    sent = entry.sent.get("patch_set")
    if sent is None:
        return None
    if not isinstance(sent, list):
        raise entry.bad("patch_set", "not a list")
    return tuple(sorted(dict(_changes(entry, sent)).items()))


def _changes(entry: _Entry, sent: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(sent):
        change = _Entry(entry.field, entry.number, each, f".patch_set[{number}]")
        path = change.text("path", MAX_PATH)
        if path is None:
            raise change.bad("path", "missing")
        kind = change.text("type", None) or "M"
        if len(kind) != 1:
            raise change.bad("type", f"{_shown(kind)} is not one letter")
        yield path, kind.upper() if kind.upper() in KINDS else "M"


def _shown(value: str) -> str:
    return repr(value[:80])

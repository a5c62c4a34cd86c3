"""`query` and `environment` of a list of releases, as conditions on its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, not_, or_, select

from tasks_pipeline.protocol.release import SEARCH_WORD, parse_release
from tasks_pipeline.releases.pages import Condition, looked_up
from tasks_pipeline.releases.stages import STAGES
from tasks_pipeline.storage.state.tables import deploys, release_environments, release_stages
from tasks_pipeline.web_api.calls import ApiError

MOST_QUERY = 1000  # characters
MOST_WORDS = 20
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_TERM = re.compile(r"(!?)([A-Za-z][\w.]*):(.*)", re.DOTALL)
_COMPARED = re.compile(r"(>=|<=|>|<)?(.*)", re.DOTALL)
_BEHIND_BLANK = "!"
"""In a version key a blank stands between the version and its build; this comes behind it."""


def search(query: str, environments: Sequence[str], latest: Callable[[], Sequence[str]]) -> list[Condition]:
    """Conditions of a query: words that are in the name in any case, and `release:`, `release.package:`, `release.version:`,
    `release.build:`, `release.stage:` with their values, `!` before one that must not hold; and that the release is in one of
    these environments. `latest` gives the versions that `release:latest` means. Raises ApiError (400)."""
    if len(query) > MOST_QUERY or not query.replace("\t", " ").isprintable():
        raise ApiError(400, f"query: longer than {MOST_QUERY} characters, or not printable")
    words = _WORD.findall(query)
    if len(words) > MOST_WORDS:
        raise ApiError(400, f"query: more than {MOST_WORDS} words")
    wanted = _environments(environments)
    # Said twice a word means nothing more, and costs as much again, of the receiver's own time.
    found = [_condition(word, wanted, latest) for word in dict.fromkeys(words)]
    return [*found, _seen_in(wanted)] if wanted else found


def _environments(names: Sequence[str]) -> list[str]:
    if any(not name.isprintable() for name in names) or len(names) > MOST_WORDS:
        raise ApiError(400, "environment: not printable, or too many")
    return [*dict.fromkeys(names)]


def _condition(word: str, environments: Sequence[str], latest: Callable[[], Sequence[str]]) -> Condition:
    term = _TERM.fullmatch(word)
    if term is None:
        negated, value = word.startswith("!"), word.removeprefix("!").replace('"', "")
        condition: Condition = lambda r: r.version.icontains(value, autoescape=True)  # noqa: E731
    else:
        negated, value = bool(term[1]), term[3].replace('"', "")
        condition = _known(term[2], value, environments, latest)
    if not value:
        raise ApiError(400, f"query: {word[:80]!r}: nothing is asked for")
    return (lambda r: not_(condition(r))) if negated else condition


def _known(
    name: str, value: str, environments: Sequence[str], latest: Callable[[], Sequence[str]]
) -> Condition:
    match name:
        case "release":
            if value.lower() == SEARCH_WORD:
                versions = list(latest())
                return lambda r: r.version.in_(versions)
            return lambda r: _glob(r.version, value)
        case "release.package":
            return lambda r: and_(r.package.is_not(None), _glob(r.package, value))
        case "release.version":
            return _of_version(value)
        case "release.build":
            return lambda r: and_(
                r.version_key.is_not(None), r.version.ilike(f"%+{_like(value)}", escape="\\")
            )
        case "release.stage":
            return _in_stage(value, environments)
    raise ApiError(
        400, f"query: {name[:80]}: allowed are release, release.package, .version, .build and .stage"
    )


def _glob(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    """The value, or what a glob stands for in any case: LIKE of SQLite knows none, that of Postgres does."""
    return column.ilike(_like(value), escape="\\") if "*" in value else column == value


def _like(value: str) -> str:
    """A glob as a pattern of LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", value).replace("*", "%")


def _of_version(value: str) -> Condition:
    """`1.2.3`, whatever the build; `1.2.*`, `1.2.3-rc.*`; compared as versions are: `>=1.2.3`. Pre-releases are versions of their own."""
    compared = _COMPARED.fullmatch(value)
    assert compared is not None
    sign, version = compared[1], compared[2]
    if version.endswith(".*") and not sign:
        prefix = _prefix(version.removesuffix(".*"), value)
        return lambda r: and_(r.version_key.is_not(None), r.version_key.startswith(prefix, autoescape=True))
    key = _key(version, value)
    below = key[: key.rindex(" ") + 1]
    above = f"{below[:-1]}{_BEHIND_BLANK}"
    bounds: dict[str | None, Condition] = {
        ">=": lambda r: r.version_key >= below,
        ">": lambda r: r.version_key >= above,
        "<=": lambda r: r.version_key < above,
        "<": lambda r: r.version_key < below,
        None: lambda r: and_(r.version_key >= below, r.version_key < above),
    }
    condition = bounds[sign]
    return lambda r: and_(r.version_key.is_not(None), condition(r))


def _prefix(version: str, asked: str) -> str:
    """What the keys of a version and of all that go on from it begin with. Raises ApiError (400)."""
    parsed = parse_release(f"package@{version}")
    if parsed.numbers is None or parsed.build is not None:
        raise _no_version(asked)
    key = _key(version, asked)
    if parsed.pre is not None:
        return key[: key.rindex(" ")]
    return key[: sum(3 + len(str(number)) for number in parsed.numbers)]


def _key(version: str, asked: str) -> str:
    """The key that a version sorts by. Raises ApiError (400)."""
    key = parse_release(f"package@{version}").sort_key
    if key is None:
        raise _no_version(asked)
    return key


def _no_version(asked: str) -> ApiError:
    return ApiError(400, f"query: release.version: {asked[:80]!r} is no version")


def _in_stage(value: str, environments: Sequence[str]) -> Condition:
    """The stage that a release has now, in one of the environments or in any."""
    if value not in STAGES:
        raise ApiError(
            400,
            f"query: release.stage: {value[:80]!r} is none; allowed are {', '.join(STAGES)}",
        )

    def condition(r: Any) -> ColumnElement[bool]:
        now = release_stages.c
        found = select(now.since).where(
            now.project_id == r.project_id, now.version == r.version, now.stage == value, now.until.is_(None)
        )
        return looked_up(found.where(now.environment.in_(environments)) if environments else found)

    return condition


def _seen_in(environments: Sequence[str]) -> Condition:
    """Deployed into one of the environments, or with events, transactions or sessions of it. Stages are told from sessions
    that may be older than the table of environments is."""

    def condition(r: Any) -> ColumnElement[bool]:
        tables = deploys, release_environments, release_stages
        found = (
            select(c.version).where(
                c.project_id == r.project_id, c.version == r.version, c.environment.in_(environments)
            )
            for c in (table.c for table in tables)
        )
        return or_(*map(looked_up, found))

    return condition

"""Suspect commits: which commits changed the files that an event failed in. Pure; where commits come from is in `changes`.

The rules: of the frames nearest to the crash each looks for the changed files whose paths are most like its own, compared part
by part from the end. The commits that changed these are suspected, those of the nearest frame first.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from tasks_pipeline.releases.sent_commits import MAX_PATH

MOST_FRAMES = 25
MOST_SUSPECTS = 3
MOST_FILES = 100
"""A commit that changed more says nothing: it is a move, a new format, the first import."""
OLDEST = timedelta(days=365)
MERGE = "Merge "
_SEPARATORS = re.compile(r"[/\\]+")
_JVM = re.compile(r"[^/\\]+\.(?:java|kt|kts|scala|groovy|clj)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FramePath:
    """Where a frame says it is: parts of a path in lower case, the file last. `module`: the file goes without its ending."""

    parts: tuple[str, ...]
    module: bool = False


_PATH_SIZE, _PART_SIZE = 100, 60


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A commit of a release: when it was made (None: nobody said), the first line of its message, how many files it changed.

    `position` counts the release and then the commit in it, 0 for the newest.
    """

    sha: str
    version: str
    at: datetime | None
    message: str
    files: int
    position: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A commit that may be the cause: the file it changed, the number of the frame in it (0 is the nearest to the crash of those
    looked at), and how many parts of the paths are the same."""

    sha: str
    version: str
    path: str
    frame: int
    score: int


def frame_paths(stack: Sequence[Mapping[str, Any]]) -> tuple[FramePath | None, ...]:
    """The paths of the frames that are looked at, the nearest to the crash first; None of a frame that tells none.

    `stack` as events have it, the crash last. Frames in app are looked at, all where none is.
    """
    own = [frame for frame in stack if frame.get("in_app") is not False] or list(stack)
    return tuple(_path_of(frame) for frame in reversed(own[-MOST_FRAMES:]))


def size_of(path: FramePath) -> int:
    """About how many bytes of memory a path takes: of many short parts it is many times its text."""
    return _PATH_SIZE + sum(_PART_SIZE + len(part) for part in path.parts)


def _path_of(frame: Mapping[str, Any]) -> FramePath | None:
    module = _text(frame, "module")
    file = _text(frame, "filename") or _text(frame, "abs_path")
    if file:
        if "." in module and _JVM.fullmatch(
            file
        ):  # there a file is named alone, and its package is the folder
            file = f"{module.rpartition('.')[0].replace('.', '/')}/{file}"
        return FramePath(_parts(file)) if _parts(file) else None
    parts = _parts(module.partition("$")[0].replace("::", "/").replace(".", "/"))
    return FramePath(parts, module=True) if parts else None


def _text(frame: Mapping[str, Any], name: str) -> str:
    value = frame.get(name)
    # Of a path that is longer than those of changed files only the end can be the same.
    return value[-MAX_PATH:] if isinstance(value, str) else ""


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in _SEPARATORS.split(path.casefold()) if part not in ("", "."))


class ChangedFiles:
    """Files that commits changed, to be asked for those most like a frame's. Made once for the frames of many events."""

    def __init__(self, changed: Iterable[tuple[str, str]]) -> None:
        """`changed` are (sha, path) as git says it."""
        self._commits: dict[str, list[str]] = defaultdict(list)
        for sha, path in changed:
            self._commits[path].append(sha)
        self._sorted: dict[tuple[bool, str], _Alike] = {}

    def commits_of(self, path: str) -> Sequence[str]:
        """The commits that changed a file."""
        return self._commits[path]

    def best(self, frame: FramePath) -> tuple[int, list[str]]:
        """The greatest score that a changed file has with a frame, and the files that have it; (0, []) where none counts.

        Score: equal parts from the end. That the name alone is the same counts only for files without a folder.
        """
        name = frame.parts[-1]
        alike = self._sorted.get((frame.module, name))
        if alike is None:
            paths = (self._by_module if frame.module else self._by_name).get(name, ())
            alike = self._sorted[frame.module, name] = _Alike(paths, name)
        return alike.best(frame.parts)

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        return _by_name(self._commits, _name)

    @cached_property
    def _by_module(self) -> Mapping[str, list[str]]:
        return _by_name(self._commits, lambda path: _without_ending(_name(path)))


def _by_name(paths: Iterable[str], name_of: Callable[[str], str]) -> Mapping[str, list[str]]:
    """Paths by their last part: with it a frame has to look at those alone."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[name_of(path)].append(path)
    return found


def _name(path: str) -> str:
    """The last part, as paths are compared."""
    path = path.replace("\\", "/")
    return path[path.rfind("/") + 1 :].casefold()


def _without_ending(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name


class _Alike:
    """Files of one name. Turned around, those whose folders end alike stand beside each other when they are sorted: however
    many there are and however deep they lie, a frame costs a search, and not a comparison with each."""

    def __init__(self, paths: Iterable[str], name: str) -> None:
        """Of each path the last part is compared as `name`."""
        self._paths: dict[str, list[str]] = defaultdict(list)
        last = f"{name[::-1]}/"
        for path in paths:
            folder = path.replace("\\", "/").rpartition("/")[0].casefold()
            self._paths[f"{last}{folder[::-1]}/" if folder else last].append(path)
        self._turned = sorted(self._paths)

    def best(self, parts: Sequence[str]) -> tuple[int, list[str]]:
        turned = [f"{part[::-1]}/" for part in reversed(parts)]
        wanted = "".join(turned)
        at = bisect_left(self._turned, wanted)
        score = max((_common(wanted, other) for other in self._turned[max(0, at - 1) : at + 1]), default=0)
        prefix = "".join(turned[:score])
        if score < 2:  # the name alone, which is the whole of a file without a folder
            found = self._paths.get(prefix, [])
            return (score, found) if found else (0, [])
        first = bisect_left(self._turned, prefix)
        last = bisect_left(self._turned, f"{prefix[:-1]}0")  # "0" is what comes behind "/"
        return score, [path for key in self._turned[first:last] for path in self._paths[key]]


def _common(a: str, b: str) -> int:
    """How many parts, each ended by a slash, two texts begin with alike."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return a.count("/", 0, low)


class Changes:
    """What some releases changed: their commits, by sha, and the files of these as (sha, path)."""

    def __init__(self, commits: Mapping[str, ChangeSet], changed: Iterable[tuple[str, str]]) -> None:
        self.commits = commits
        self._changed = list(changed)
        self._indexes: dict[frozenset[str], ChangedFiles] = {}

    def suspects(self, frames: Sequence[FramePath | None], happened: datetime) -> list[Suspect]:
        """The likeliest commits for an event that happened at a time, at most MOST_SUSPECTS.

        The nearest frame weighs most; then merges come last, for what they changed is charged to the wrong commit; then the
        newer commit is first. Commits of more than MOST_FILES files, or older than OLDEST, are not looked at.
        """
        files = self._files(happened)
        found: dict[str, Suspect] = {}
        for number, frame in enumerate(frames):
            score, paths = files.best(frame) if frame is not None else (0, [])
            touched = {sha: path for path in reversed(paths) for sha in files.commits_of(path)}
            of_frame = (self.commits[sha] for sha in touched if sha not in found)
            for commit in heapq.nsmallest(MOST_SUSPECTS, of_frame, key=_order):
                found[commit.sha] = Suspect(commit.sha, commit.version, touched[commit.sha], number, score)
            if len(found) >= MOST_SUSPECTS:
                break
        return list(found.values())[:MOST_SUSPECTS]

    def _files(self, happened: datetime) -> ChangedFiles:
        """The files of the commits that count, which for most events are the same."""
        counting = frozenset(sha for sha, commit in self.commits.items() if _counts(commit, happened))
        if counting not in self._indexes:
            self._indexes[counting] = ChangedFiles(one for one in self._changed if one[0] in counting)
        return self._indexes[counting]


def _counts(commit: ChangeSet, happened: datetime) -> bool:
    return commit.files <= MOST_FILES and (commit.at is None or happened - commit.at <= OLDEST)


def _order(commit: ChangeSet) -> tuple[bool, bool, float, tuple[int, int], str]:
    at = commit.at.timestamp() if commit.at else 0.0
    return commit.message.startswith(MERGE), commit.at is None, -at, commit.position, commit.sha


def first_line(message: str | None) -> str:
    """What a message of a commit is known by."""
    return next(_lines(message or ""), "")


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text[:2000].splitlines() if line.strip())

"""Where archives lie, and what is there.

```
PROJECT/DAY/CATEGORY-0001/events.parquet, event_payloads.parquet, groups.parquet …   by the number of the project
PROJECT/DAY/CATEGORY-0001/blobs/<sha256>                                             files of attachments
PROJECT/DAY/CATEGORY-0001/manifest.json                                              last: without it the rest is nothing
```

A second removal of the same makes another one with the next number, and changes none. No folder is named as columns are (`day=…`):
whoever reads a file gets what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tasks_pipeline.archive.manifest import ArchiveError, Manifest, Stored, decode, encode
from tasks_pipeline.home import Home
from tasks_pipeline.storage.remote import Pace, TooLarge
from tasks_pipeline.storage.targets import TargetUnusable, Tree, target_url

LOCK = "archive"
"""Held by whoever writes an archive, changes or restores it; taken before the lock of the lake."""
MANIFEST = "manifest.json"
MANIFEST_BYTES = 64 * 1024 * 1024
"""At most: of a manifest with 300,000 attachments."""
README = "README.txt"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_PART = re.compile(r"([a-z_]{1,40})-(\d{4,9})")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """What was archived of a day, a project and a category at once."""

    day: date
    project_id: int
    category: str
    number: int

    @property
    def path(self) -> str:
        """Its folder in the archive."""
        return f"{self.project_id}/{self.day}/{self.category}-{self.number:04}"

    @property
    def key(self) -> tuple[date, int, str]:
        """What several parts may be of."""
        return self.day, self.project_id, self.category


class Archive:
    """A folder or fsspec URL that holds what was removed. Trouble with it is OSError."""

    def __init__(self, url: str) -> None:
        self.tree = Tree(url, Pace())

    @property
    def url(self) -> str:
        """Where it is."""
        return self.tree.url

    def parts(self, day: date | None = None, project_id: int | None = None) -> list[Part]:
        """All that is archived, or of a day and a project, the oldest day first; without those that nobody finished."""
        return sorted(part for part, is_whole in self.look(day, project_id).items() if is_whole)

    def look(self, day: date | None = None, project_id: int | None = None) -> dict[Part, bool]:
        """The same, and what nobody finished: whether each has its manifest."""
        found: dict[Part, bool] = {}
        if project_id is None and day is None:
            for path in self.tree.find():
                self._see(path, found)
            return found
        projects = (
            [str(project_id)] if project_id is not None else [n for n in self.tree.names() if n.isdecimal()]
        )
        for name in projects:
            for path in self.tree.find(f"{name}/{day}" if day is not None else name):
                self._see(path, found)
        return found

    def of(self, day: date, project_id: int, category: str) -> dict[Part, bool]:
        """The parts of a day, a project and a category, and whether each has its manifest."""
        of_day = self.look(day, project_id)
        return {part: is_whole for part, is_whole in of_day.items() if part.category == category}

    def _see(self, path: str, found: dict[Part, bool]) -> None:
        match path.split("/"):
            case [project, day, name, *_, file] if project.isdecimal() and _DAY.fullmatch(day):
                known = _PART.fullmatch(name)
                with suppress(ValueError):  # a folder that is called like a day, and is none
                    if known is not None:
                        part = Part(date.fromisoformat(day), int(project), known[1], int(known[2]))
                        found[part] = found.get(part, False) or file == MANIFEST

    def manifest(self, part: Part) -> Manifest:
        """What a part says of itself. Raises ArchiveError when that is damaged, of a newer format or of another part."""
        path = f"{part.path}/{MANIFEST}"
        try:
            manifest = decode(f"{self.url}/{path}", self.tree.read(path, MANIFEST_BYTES))
        except TooLarge as error:
            raise ArchiveError(f"{error}: {_WHAT_TO_DO}") from error
        if (manifest.day, manifest.project_id, manifest.category) != part.key:
            raise ArchiveError(
                f"{self.url}/{path} is of {manifest.category} of {manifest.day} of project {manifest.project_id}: "
                "it lies in the wrong place"
            )
        return manifest

    def publish(self, part: Part, manifest: Manifest) -> None:
        """Have a part be there, whose files are all there, or say something else of itself."""
        self.tree.publish(f"{part.path}/{MANIFEST}", encode(manifest))

    def withdraw(self, part: Part) -> None:
        """Remove a part: first it is none any more, then its files go."""
        self.tree.remove(f"{part.path}/{MANIFEST}")
        self.tree.remove_folder(part.path)

    @contextmanager
    def proven(self, part: Part, file: Stored, folder: str = "") -> Iterator[Path]:
        """A file, proven to be what was stored, as a local one for the time of the block. Raises ArchiveError."""
        path = f"{part.path}/{folder}{file.name}"
        with ExitStack() as stack:
            try:
                local, digest, size = stack.enter_context(self.tree.local(path))
            except FileNotFoundError as error:
                raise ArchiveError(f"{self.url}/{path} is gone: {_WHAT_TO_DO}") from error
            if size != file.size:
                raise _changed(self.url, path, f"it has {size:,} bytes instead of {file.size:,}")
            if digest != file.sha256:
                raise _changed(self.url, path, "its bytes are not those that were stored")
            yield local

    @contextmanager
    def at_hand(self, part: Part, file: Stored) -> Iterator[Path]:
        """A file as a local one for the time of the block. One of a folder is not read for that, and not proven; one of object storage
        has to be fetched, and is. Raises ArchiveError."""
        folder = self.tree.folder
        if folder is None:
            with self.proven(part, file) as path:
                yield path
        else:
            path = folder / part.path / file.name
            if not path.exists():
                raise ArchiveError(f"{self.url}/{part.path}/{file.name} is gone: {_WHAT_TO_DO}")
            yield path


def open_archive(home: Home, url: str) -> Archive:
    """The archive at a folder or an fsspec URL. Raises ArchiveError for what is neither, and for a folder within the home."""
    try:
        archive = Archive(target_url(url))
    except TargetUnusable as error:
        raise ArchiveError(str(error)) from error
    if what := home.holding(archive.url):
        raise ArchiveError(f"{url} lies within {what}: choose a folder outside of it, best on another disk")
    return archive


def refuse_away(home: Home, archive: Archive) -> None:
    """Raise ArchiveError where something was archived, and now the place holds nothing at all: a disk that is not mounted looks so."""
    if archive.url in home.archives() and README not in archive.tree.names() and not archive.tree.find():
        raise ArchiveError(
            f"the archive {archive.url} cannot be reached: something was archived there, and it is empty; is it mounted?"
        )


_WHAT_TO_DO = "bring it back from a copy of the archive"


def _changed(url: str, path: str, how: str) -> ArchiveError:
    return ArchiveError(f"{url}/{path} is damaged, {how}: {_WHAT_TO_DO}")

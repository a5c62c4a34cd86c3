"""What is to be deleted: groups, a release or a project, by numbers and names that a request can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, select

from tasks_pipeline.storage.state.tables import groups

Kind = Literal["groups", "release", "project"]
KINDS: tuple[Kind, ...] = ("groups", "release", "project")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What goes. Of groups their ids, with those that were merged into them, and `names` (SHOP-3F); of a release its `version` in some
    projects; of a project its number, and its slug in `names`. `short_ids` of the groups, and the `keys` that they had: by these they are
    found in archives, where numbers may have been those of other groups."""

    kind: Kind
    projects: tuple[int, ...]
    groups: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    version: str = ""
    short_ids: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Chosen:
        """What `as_dict` gave."""
        return cls(
            values["kind"],
            tuple(values["projects"]),
            tuple(values["groups"]),
            tuple(values["names"]),
            values["version"],
            tuple(values.get("short_ids", ())),
            tuple(values.get("keys", ())),
        )

    def named(self, names: Mapping[int, str]) -> Chosen:
        """The same groups with their short ids, by number."""
        return replace(self, names=tuple(names[each] for each in self.groups if each in names))

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @property
    def said(self) -> str:
        """What it is, for people."""
        if self.kind == "release":
            return f"release {self.version}"
        return f"{'project' if self.kind == 'project' else 'groups'} {', '.join(self.names)}"

    def among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Whether a column names one of the groups that go: of a project all of its."""
        if self.kind == "project":
            return column.in_(select(groups.c.id).where(groups.c.project_id.in_(self.projects)))
        return column.in_(self.groups)

    def named_in(self) -> re.Pattern[str]:
        """What texts of messages name it by: short ids of groups, and of a project those of all its groups."""
        if self.kind == "project":
            slugs = "|".join(re.escape(name.upper()) for name in self.names)
            return re.compile(rf"\b(?:{slugs})-[0-9A-Z]+\b") if slugs else _NEVER
        names: Sequence[str] = [re.escape(name) for name in self.names]
        return re.compile(rf"\b(?:{'|'.join(names)})\b") if names else _NEVER


_NEVER = re.compile(r"(?!)")

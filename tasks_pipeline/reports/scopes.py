"""Scopes: whose figures a report tells, and in which zone. Who gets reports does not belong here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Team
from tasks_pipeline.config.projects import Project

ORGANISATION = "organisation"


class ScopeError(ValueError):
    """There is no such scope; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The organisation, a team or a project.

    `name` is what people call it (project:shop), `stored` what stays when a project is renamed (project:7). `project_ids` are
    its projects, None for all that there ever were; to a team also belongs what is assigned to `team` elsewhere.
    """

    name: str
    stored: str
    zone: str
    project_ids: frozenset[int] | None
    team: str | None = None

    def holds(self, project_id: int) -> bool:
        """Whether it has this project."""
        return self.project_ids is None or project_id in self.project_ids

    @property
    def assignee(self) -> str | None:
        """What groups are assigned to that belong to it wherever they are."""
        return None if self.team is None else f"team:{self.team}"


def scopes_of(config: Config) -> list[Scope]:
    """All scopes of an installation: the organisation, its teams, its projects."""
    return [
        organisation(config),
        *(_of_team(config, team) for team in config.teams),
        *(_of_project(config, project) for project in config.projects),
    ]


def scope_named(config: Config, name: str) -> Scope:
    """The scope that people call so. Raises ScopeError."""
    for scope in scopes_of(config):
        if name in (scope.name, scope.stored):
            return scope
    kind, _, which = name.partition(":")
    if kind == "team":
        raise ScopeError(f"no team {which[:60]!r}; there are: {_listed(t.slug for t in config.teams)}")
    if kind == "project":
        raise ScopeError(f"no project {which[:60]!r}; there are: {_listed(p.slug for p in config.projects)}")
    raise ScopeError(f"{name[:60]!r} is no scope; allowed are organisation, team:NAME and project:SLUG")


def organisation(config: Config, projects: Collection[int] | None = None) -> Scope:
    """The organisation, or some of its projects."""
    only = None if projects is None else frozenset(projects)
    return Scope(ORGANISATION, ORGANISATION, config.reports.timezone, only)


def _of_team(config: Config, team: Team) -> Scope:
    ids = frozenset(p.id for p in config.projects if p.slug in team.projects)
    name = f"team:{team.slug}"
    return Scope(name, name, team.timezone or config.reports.timezone, ids, team.slug)


def _of_project(config: Config, project: Project) -> Scope:
    zone = project.timezone or config.reports.timezone
    return Scope(f"project:{project.slug}", f"project:{project.id}", zone, frozenset([project.id]))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

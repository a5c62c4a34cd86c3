"""What the steps work with beside the event: compiled rules and settings of each project, made once and used for many."""

from __future__ import annotations

from dataclasses import dataclass

from tasks_pipeline.config import Config, Project


@dataclass(frozen=True, slots=True)
class ProjectTools:
    """The settings of one project in the form that steps use."""

    project: Project | None


class Tools:
    """Tools of every project, made when the first event of the project comes."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._known: dict[int, ProjectTools] = {}

    def of(self, project_id: int) -> ProjectTools:
        """The tools of a project; of one that is not configured any more those of a project without settings."""
        found = self._known.get(project_id)
        if found is None:
            found = self._known[project_id] = ProjectTools(project=self.config.project(project_id))
        return found

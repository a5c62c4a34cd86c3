"""What the steps work with beside the event: compiled rules and settings of each project, made once and used for many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from tasks_pipeline.config import Config, Project
from tasks_pipeline.config.filters import Filters
from tasks_pipeline.config.grouping import GroupingSettings
from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.filtering.filters import InboundFilters
from tasks_pipeline.grouping import GroupingRules, former_rules, grouping_rules
from tasks_pipeline.scrubbing.scrubber import Scrubber
from tasks_pipeline.symbolication.symbolicator import Symbolicator


@dataclass(frozen=True, slots=True)
class ProjectTools:
    """The settings of one project in the form that steps use. `former_rules` are asked for during a transition only;
    `user_key` is what distinct users are hashed with."""

    project: Project | None
    filters: InboundFilters
    scrubber: Scrubber
    rules: GroupingRules
    former_rules: Callable[[], GroupingRules]
    transition_days: int
    symbolicator: Symbolicator | None
    user_key: Callable[[], bytes]


def _no_key() -> bytes:
    raise RuntimeError("these tools were made to look at events, and have no key to hash users with")


class Tools:
    """Tools of every project, made when the first event of the project comes.

    Without a symbolicator frames stay as they are. `user_key` is asked for once, when the first session comes that names a
    user.
    """

    def __init__(
        self,
        config: Config,
        symbolicator: Symbolicator | None = None,
        user_key: Callable[[], bytes] = _no_key,
    ) -> None:
        self.config = config
        self.symbolicator = symbolicator
        self._user_key = cache(user_key)
        self._known: dict[int, ProjectTools] = {}

    def arrived_through(self, arrival: int) -> None:
        """Events from now on find symbols that arrived up to this number; to be said before each batch."""
        if self.symbolicator is not None:
            self.symbolicator.arrived_through(arrival)

    def of(self, project_id: int) -> ProjectTools:
        """The tools of a project; of one that is not configured any more those of a project without settings."""
        found = self._known.get(project_id)
        if found is None:
            project = self.config.project(project_id)
            grouping = project.grouping if project else GroupingSettings()
            found = self._known[project_id] = ProjectTools(
                project=project,
                filters=InboundFilters(project.filters if project else Filters()),
                scrubber=Scrubber(project.scrubbing if project else Scrubbing()),
                rules=grouping_rules(grouping.stack_trace_rules, grouping.fingerprint_rules),
                former_rules=partial(former_rules, grouping.stack_trace_rules, grouping.fingerprint_rules),
                transition_days=grouping.transition_days,
                symbolicator=self.symbolicator,
                user_key=self._user_key,
            )
        return found

"""From a normalised event to its keys, title and culprit. Pure functions, no I/O."""

from tasks_pipeline.grouping.components import ALGORITHM
from tasks_pipeline.grouping.group import Grouping, explain, group_event
from tasks_pipeline.grouping.parameterize import parameterize

__all__ = ["ALGORITHM", "Grouping", "explain", "group_event", "parameterize"]

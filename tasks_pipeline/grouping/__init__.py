"""From a normalised event to its keys, title and culprit. Pure functions, no I/O."""

from tasks_pipeline.grouping.components import ALGORITHM, FORMER_ALGORITHM
from tasks_pipeline.grouping.group import Grouping, explain, group_event
from tasks_pipeline.grouping.parameterize import parameterize
from tasks_pipeline.grouping.rule_set import GroupingRules, former_rules, grouping_rules
from tasks_pipeline.grouping.rule_text import RuleError

__all__ = [
    "ALGORITHM",
    "FORMER_ALGORITHM",
    "Grouping",
    "GroupingRules",
    "RuleError",
    "explain",
    "former_rules",
    "group_event",
    "grouping_rules",
    "parameterize",
]

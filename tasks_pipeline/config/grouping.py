"""Section `grouping` of a project: its own rules for which events belong together."""

from __future__ import annotations

from pydantic import Field, field_validator

from tasks_pipeline.config.model import Model
from tasks_pipeline.grouping.fingerprint_rules import parse_fingerprint_rules
from tasks_pipeline.grouping.stack_rules import parse_stack_rules


class GroupingSettings(Model):
    """Rules that are applied beside our own, and how long groups of a former algorithm are looked for."""

    stack_trace_rules: str = Field(
        "",
        max_length=100_000,
        description="One rule a line: which frames are in app and which count (docs/grouping.md). After our own.",
    )
    fingerprint_rules: str = Field(
        "",
        max_length=100_000,
        description="One rule a line: fingerprints that replace the client's (docs/grouping.md). Before our own.",
    )
    transition_days: int = Field(
        30,
        ge=0,
        le=365,
        description="After a change of the grouping algorithm: how many days its former keys are looked up as well.",
    )

    @field_validator("stack_trace_rules")
    @classmethod
    def _stack_trace_rules(cls, rules: str) -> str:
        parse_stack_rules(rules)  # its error is a ValueError that names line and column
        return rules

    @field_validator("fingerprint_rules")
    @classmethod
    def _fingerprint_rules(cls, rules: str) -> str:
        parse_fingerprint_rules(rules)
        return rules

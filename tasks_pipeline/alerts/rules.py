"""Which rules apply to a project, and what they wait for."""

from __future__ import annotations

from tasks_pipeline.config import Config
from tasks_pipeline.config.alerts import AlertRule, default_rule


def rules_of(config: Config, project_id: int) -> tuple[AlertRule, ...]:
    """The enabled rules of a project: its own and those of all; the default one when none is configured anywhere.

    Without anybody to tell, those that make issues are left.
    """
    anybody = bool(config.members or config.channels)
    project = config.project(project_id)
    own = project.alert_rules if project else ()
    if not config.alert_rules and not own:
        return (default_rule(),) if anybody else ()
    rules = tuple(rule for rule in (*config.alert_rules, *own) if rule.enabled)
    return rules if anybody else tuple(rule for rule in rules if rule.create_issue is not None)


def find_rule(config: Config, name: str) -> tuple[AlertRule, list[int]] | None:
    """A rule by name, also a disabled one, and the numbers of the projects that it is about; None when there is none."""
    everywhere = [project.id for project in config.projects]
    for rule in config.alert_rules:
        if rule.name == name:
            return rule, everywhere
    for project in config.projects:
        for rule in project.alert_rules:
            if rule.name == name:
                return rule, [project.id]
    default = default_rule()
    if name == default.name and not config.alert_rules:
        return default, [project.id for project in config.projects if not project.alert_rules]
    return None

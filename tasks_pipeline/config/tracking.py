"""What must agree between integrations, trackers, projects, rules and people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from tasks_pipeline.config.integrations import OWN_FIELDS, IntegrationBase, Tracker
from tasks_pipeline.config.model import Wrong, repeated, unknown

if TYPE_CHECKING:
    from tasks_pipeline.config.document import Config
    from tasks_pipeline.config.people import Member, Team

Path = tuple[str | int, ...]


def disagreements(config: Config) -> Iterator[Wrong]:
    """All that is wrong about trackers in a configuration whose sections are good, each with its place."""
    for section in ("integrations", "trackers"):
        names = (((section, i, "name"), each.name) for i, each in enumerate(getattr(config, section)))
        yield from repeated("name", names)
    slugs = sorted(project.slug for project in config.projects)
    integrations = [each.name for each in config.integrations]
    for number, tracker in enumerate(config.trackers):
        at: Path = ("trackers", number)
        yield from unknown((*at, "integration"), tracker.integration, integrations)
        for i, slug in enumerate(tracker.projects):
            yield from unknown((*at, "projects", i), slug, slugs)
        integration = config.integration(tracker.integration)
        if integration is not None:
            yield from _of_provider(at, tracker, integration)
        if tracker.body != "default" and config.notifications.templates_dir is None:
            yield Wrong(
                (*at, "body"),
                f"{tracker.body} is a template, and notifications.templates_dir does not say where; allowed with it, or default",
            )
    yield from _rules(config)
    yield from _accounts("members", config.members, integrations)
    yield from _accounts("teams", config.teams, integrations)


def absent_files(config: Config) -> Iterator[tuple[Path, str]]:
    """Files that integrations and trackers name and that cannot be read, with the place and what is wrong."""
    for number, each in enumerate(config.integrations):
        if each.ca_file is not None:
            said = _not_readable(FilePath(each.ca_file))
            if said:
                yield ("integrations", number, "ca_file"), said
    folder = config.notifications.templates_dir
    for number, tracker in enumerate(config.trackers):
        if tracker.body != "default" and folder is not None:
            said = _not_readable(folder / tracker.body)
            if said:
                yield ("trackers", number, "body"), said


def _not_readable(path: FilePath) -> str:
    try:
        with path.open("rb"):
            return ""
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def _of_provider(at: Path, tracker: Tracker, integration: IntegrationBase) -> Iterator[Wrong]:
    """Fields that the provider of a tracker has not, and the one that it must have."""
    kind, place = getattr(integration, "type", ""), integration.place
    allowed = {*integration.takes, *([place.name] if place is not None else [])}
    for name in OWN_FIELDS:
        if name not in allowed and getattr(tracker, name) != Tracker.model_fields[name].default:
            has = f"allowed there: {', '.join(sorted(allowed))}" if allowed else "the address is the place"
            yield Wrong((*at, name), f"{integration.name} is a {kind}, which has no such thing; {has}")
    if place is None:
        return
    written = getattr(tracker, place.name)
    if written is None:
        yield Wrong(
            (*at, place.name), f"Field required: {integration.name} is a {kind}; allowed: {place.said}"
        )
    elif not re.fullmatch(place.pattern, written):
        yield Wrong((*at, place.name), f"not allowed; allowed: {place.said}")


def _rules(config: Config) -> Iterator[Wrong]:
    trackers = [each.name for each in config.trackers]
    for number, rule in enumerate(config.alert_rules):
        yield from unknown(("alert_rules", number, "create_issue"), rule.create_issue, trackers)
    for at, project in enumerate(config.projects):
        for number, rule in enumerate(project.alert_rules):
            path = ("projects", at, "alert_rules", number, "create_issue")
            yield from unknown(path, rule.create_issue, trackers)
            tracker = config.tracker(rule.create_issue or "")
            if tracker is not None and tracker.projects and project.slug not in tracker.projects:
                allowed = ", ".join(tracker.projects)
                yield Wrong(
                    path, f"{tracker.name} is not for project {project.slug}; its projects: {allowed}"
                )


def _accounts(section: str, people: Sequence[Member | Team], integrations: Sequence[str]) -> Iterator[Wrong]:
    """Unknown integrations, and two members with one account: whose would an assignment there be?"""
    taken: dict[tuple[str, str], int] = {}
    for number, person in enumerate(people):
        for name, account in person.accounts.items():
            path = (section, number, "accounts", name)
            yield from unknown(path, name, integrations)
            if taken.setdefault((name, account.casefold()), number) != number:
                yield Wrong(path, f"account used twice: {account}")

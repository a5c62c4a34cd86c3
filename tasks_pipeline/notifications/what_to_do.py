"""What to do: the commands that messages offer, as one can paste them. A test has the command line parse each of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tasks_pipeline.home import Home
from tasks_pipeline.texts import clean

_ABOUT_PROBES = {
    "outbox": ("notifications", "queue"),
    "channels": ("notifications", "queue"),
    "dead_notifications": ("notifications", "log", "--status", "dead", "--attempts"),
    "configuration": ("config", "check"),
    "disk": ("storage",),
    "disk_days": ("storage",),
    "early_removals": ("storage",),
}
"""What shows more of a probe; of the others `status` does."""


def typed(home: Home, *words: str) -> str:
    """A command as one types it. Of a home that is not the default one it says which."""
    place = () if home.is_default else ("--home", str(home.root))
    return shlex.join(("tasks-pipeline", *place, *words))


def about_group(home: Home, short_id: str, target: str) -> tuple[str, ...]:
    """Look at a group, or decide about it. Who is told may take it: a member's or a team's target names who that is."""
    return (
        typed(home, "groups", "show", short_id),
        typed(home, "groups", "resolve", short_id),
        typed(home, "groups", "ignore", short_id, "--times", "100"),
        *_taken(home, short_id, target),
    )


def about_monitor(home: Home, monitor: Mapping[str, Any], short_id: str, target: str) -> tuple[str, ...]:
    """Look at a monitor or mute it; `monitor` has slug and environment. Its group is resolved by its recovery."""
    slug, environment = str(monitor["slug"]), clean(monitor.get("environment") or "", 100)
    within = (f"--environment={environment}",) if environment else ()
    return (
        typed(home, "monitors", "show", slug),
        typed(home, "monitors", "mute", slug, *within),
        *_taken(home, short_id, target),
    )


def about_rule(home: Home, rule: str) -> tuple[str, ...]:
    """What a rule fired lately."""
    return (typed(home, "alerts", "list", f"--rule={rule}"),)


def about_integration(home: Home, integration: str) -> tuple[str, ...]:
    """Look at the integrations, or ask one now."""
    return (typed(home, "integrations", "status"), typed(home, "integrations", "check", integration))


def about_pipeline(home: Home, probe: str) -> tuple[str, ...]:
    """Look at the probes, and at what a probe is about."""
    return (typed(home, "watch"), typed(home, *_ABOUT_PROBES.get(probe, ("status",))))


def _taken(home: Home, short_id: str, target: str) -> tuple[str, ...]:
    kind, _, who = target.partition(":")
    assignee = {"member": who, "team": target}.get(kind)
    return (typed(home, "groups", "assign", short_id, "--to", assignee),) if assignee and short_id else ()

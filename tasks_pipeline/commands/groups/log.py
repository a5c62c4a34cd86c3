"""How the status of a group is told on a terminal, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.words import counted, short_commit


def status_text(group: Mapping[str, Any], resolution: Mapping[str, Any] | None = None) -> str:
    """A group's status and what ends it, as one phrase; `resolution` as of groups/shipped.py."""
    status = str(group["status"])
    if resolution is not None:
        return f"{status}{_resolved(resolution)}"
    if group["ignored_until"] is not None:
        return f"{status} until {cell(group['ignored_until'])} UTC"
    if group["ignored_until_times_seen"] is not None:
        return f"{status} until it was seen {counted(group['ignored_until_times_seen'], 'time')}"
    if group["ignored_until_users"] is not None:
        return f"{status} until {counted(group['ignored_until_users'], 'user')} saw it"
    return status


def _resolved(resolution: Mapping[str, Any]) -> str:
    """When it is fixed: nothing for now."""
    release, commit, has_fix = (resolution[name] for name in ("release", "commit", "resolved_in"))
    match resolution["kind"]:
        case "in_release":
            return f" in {cell(release)}"
        case "next_release":
            return f" in {f'{cell(has_fix)}, ' if has_fix else ''}the release after {cell(release)}"
        case "in_commit":
            shown = f"commit {short_commit(cell(commit))}"
            return (
                f" in {cell(has_fix)}, with {shown}"
                if has_fix
                else f" by {shown}, which no release holds yet"
            )
    return ""

"""Why grouped: what decided that a group's events belong together, its keys, and what other rules would make of them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tasks_pipeline.grouping import grouping_rules
from tasks_pipeline.groups.explanations import group_explanation
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.groups.merging import keys_of_group
from tasks_pipeline.pages.answers import Refused
from tasks_pipeline.pages.group import head_of, named
from tasks_pipeline.pages.view import View
from tasks_pipeline.reading.trial import EVENTS, Trial, try_rules

MOST_RULES = 20_000
"""Characters of rules that are tried."""
_DEEPEST, _MOST_PARTS = 8, 60


def why(view: View) -> Response:
    """The page; with rules that were sent, what they would do."""
    group = named(view)
    state = view.reading.state
    project = view.config.project(group["project_id"])
    stack, fingerprint = (
        (project.grouping.stack_trace_rules, project.grouping.fingerprint_rules) if project else ("", "")
    )
    trial, wrong = None, ""
    if view.form:
        stack, fingerprint = (
            view.posted("stack_trace_rules", stack),
            view.posted("fingerprint_rules", fingerprint),
        )
        if len(stack) + len(fingerprint) > MOST_RULES:
            raise Refused(413, f"Rules to be tried have at most {MOST_RULES:,} characters.")
        trial, wrong = _tried(view, group["id"], stack, fingerprint)
    keys = keys_of_group(state, group["id"])
    names = [row["origin"] for row in keys if row["origin"] is not None]
    names += [goes.group_id for goes in trial.goes if goes.group_id is not None] if trial else []
    explanation = group_explanation(state, group["id"])
    return view.page(
        "why.html", 400 if wrong else 200, **head_of(view, group), tab="why", explanation=explanation, keys=keys,
        names=short_ids(state, view.asked.slugs, names), variants=_variants(explanation), stack=stack, fingerprint=fingerprint,
        trial=trial, wrong=wrong, tried=EVENTS,
    )  # fmt: skip


def _tried(view: View, group_id: int, stack: str, fingerprint: str) -> tuple[Trial | None, str]:
    try:
        rules = grouping_rules(stack.replace("\r\n", "\n"), fingerprint.replace("\r\n", "\n"))
    except ValueError as error:
        return None, str(error)
    return try_rules(view.asked, view.reading.lake, group_id, rules), ""


def _variants(explanation: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What was considered: the name, the key where it counts, and its parts as bounded trees."""
    if explanation is None:
        return []
    keys = explanation.get("keys") or {}
    return [
        {
            "name": name,
            "key": keys.get(name, ""),
            "reason": tree.get("reason") or "",
            "parts": [_part(p) for p in tree.get("parts", ())[:_MOST_PARTS]],
        }
        for name, tree in (explanation.get("variants") or {}).items()
    ]


def _part(part: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """A part of the tree: what it is, whether it counts, why not, its value or its parts. Frames are one line each."""
    inner = part.get("parts", ())
    value = part.get("value")
    if part.get("id") == "frame":
        leaves = [leaf for leaf in inner if leaf.get("value")]
        value = (
            "  ".join(
                str(leaf["value"]) for leaf in [each for each in leaves if each.get("contributes")] or leaves
            )
            or "frame"
        )
        inner = ()
    return {
        "id": part.get("id", ""), "counts": bool(part.get("contributes")), "reason": part.get("reason") or "",
        "value": None if value is None else str(value), "more": part.get("more") or 0,
        "parts": [] if depth >= _DEEPEST else [_part(each, depth + 1) for each in inner[:_MOST_PARTS]],
    }  # fmt: skip

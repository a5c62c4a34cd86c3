"""Why a group's events are grouped so, as lines for people: what counts (+), what does not (-) and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tasks_pipeline.commands.common.output import cell

_WIDTH = 100


def explanation_lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    """The explanation that `tasks_pipeline.grouping.explain` gave, line by line; safe to print."""
    decided = explanation.get("strategy") or "nothing usable"
    yield f"{cell(decided)} decides, algorithm {cell(explanation.get('algorithm', ''))}"
    fingerprint = explanation.get("fingerprint") or {}
    if fingerprint.get("rule"):
        yield f"fingerprint by the rule: {cell(fingerprint['rule'])}"
    elif fingerprint.get("elements") not in (None, ["{{ default }}"]):
        yield f"fingerprint of the client: {cell(', '.join(fingerprint['elements']))}"
    keys = explanation.get("keys") or {}
    for name, tree in (explanation.get("variants") or {}).items():
        if name in keys:
            yield f"{name:<10}{keys[name]}"
            yield from _inside(tree, 1)
        else:
            yield f"{name:<10}not used: {cell(tree.get('reason') or 'nothing in it counts')}"
    if not explanation.get("variants") and keys:
        yield "the key that all events without anything usable share"


def _inside(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    """A line for each leaf and each frame below a node; frames that do not count for one reason share a line."""
    parts = [node] if "value" in node else node.get("parts", ())
    for (kind, reason), run in groupby(parts, key=_summarised):
        members = list(run)
        if reason is not None and len(members) > 1:
            yield _line(depth, "-", f"{len(members)} {kind}s", reason)
            continue
        for part in members:
            if part["id"] == "frame":
                yield _line(depth, _sign(part), _frame(part), part.get("reason"))
            elif "value" in part:
                yield _line(depth, _sign(part), f"{part['id']} {cell(part['value'])}", part.get("reason"))
            elif part["contributes"]:
                yield f"{'  ' * depth}{part['id']}"
                yield from _inside(part, depth + 1)
            elif part.get("parts"):
                yield _line(depth, "-", part["id"], part.get("reason"))
    if node.get("more"):
        yield f"{'  ' * depth}… {node['more']} more"


def _summarised(part: Mapping[str, Any]) -> tuple[str, str | None]:
    """What parts have in common that are shown as one: frames that do not count, for one reason."""
    off = part["id"] == "frame" and not part["contributes"]
    return part["id"], (part.get("reason") or "nothing in it counts") if off else None


def _frame(part: Mapping[str, Any]) -> str:
    """Module or file, function and line of a frame: those that count, or all when none does."""
    leaves: Sequence[Mapping[str, Any]] = [leaf for leaf in part.get("parts", ()) if leaf.get("value")]
    shown = [leaf for leaf in leaves if leaf["contributes"]] or leaves
    return "  ".join(cell(leaf["value"]) for leaf in shown) or "frame"


def _sign(part: Mapping[str, Any]) -> str:
    return "+" if part["contributes"] else "-"


def _line(depth: int, sign: str, text: str, reason: str | None) -> str:
    shown = text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
    return f"{'  ' * depth}{sign} {shown}" + (f"  ({cell(reason)})" if reason else "")

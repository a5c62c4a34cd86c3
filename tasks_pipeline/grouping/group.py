"""From an event to its grouping: the order of work, in one place.

function names trimmed, in-app flags read      frames.py, functions.py, modules.py
variants computed by the first strategy        strategies.py (exceptions.py, messages.py, security.py)
combined with the fingerprint                  fingerprints.py
digested                                       components.py
title and culprit                              titles.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import ALGORITHM, Component, describe, digest, ignored, literal, node
from tasks_pipeline.grouping.fingerprints import combine
from tasks_pipeline.grouping.strategies import Finding, findings
from tasks_pipeline.grouping.titles import culprit, title_and_metadata
from tasks_pipeline.grouping.values import text

_DIGEST = re.compile(r"[0-9a-fA-F]{32}")
# The same frames are the same failure, whether the flags in app let them through or all of them counted: app and system
# keys are found under each other.
_NAMESPACES = {"app": "stack", "system": "stack"}


@dataclass(frozen=True, slots=True)
class Grouping:
    """Where an event belongs and how it is called.

    `keys`: one or two keys of 32 hex digits in order of priority; events that share one belong together.
    `algorithm`: id of the rules the keys were computed with. `variant`: what decided the first key (`app`, `system`,
    `default`, `custom`, `fallback` or `checksum`). `main_exception`: position in `exception.values` of the exception that
    names an exception group, None when it is the last as usual. `metadata`: type, value, filename and function of an
    error, directive and uri of a CSP report, title of anything else.
    """

    keys: tuple[str, ...]
    algorithm: str
    variant: str
    title: str
    culprit: str
    main_exception: int | None
    metadata: dict[str, str]


def group_event(event: Mapping[str, Any]) -> Grouping:
    """Group one normalised error, message or security event. Never raises: fields of a wrong type count as absent."""
    found = _decisive(findings(event))
    main_exception = found.main_exception if found else None
    keys = _keys(_variants(event, found))
    title, metadata = title_and_metadata(event, main_exception)
    return Grouping(
        keys=tuple(keys.values()),
        algorithm=ALGORITHM,
        variant=next(iter(keys)),
        title=title,
        culprit=culprit(event, main_exception),
        main_exception=main_exception,
        metadata=metadata,
    )


def explain(event: Mapping[str, Any]) -> dict[str, Any]:
    """Why the event is grouped as it is, as JSON-serialisable data.

    `algorithm`; `keys` by variant; `strategy`, what part of the event decided (None: nothing usable); `variants`, the
    contribution tree of each (id, contributes, reason?, value? or parts?); `not_used`, the trees of the other parts.
    """
    considered = list(findings(event))
    found = _decisive(considered)
    variants = _variants(event, found)
    return {
        "algorithm": ALGORITHM,
        "keys": _keys(variants),
        "strategy": found.strategy if found else None,
        "variants": {name: describe(component) for name, component in variants.items()},
        "not_used": {
            finding.strategy: {
                name: describe(
                    ignored(component, f"{found.strategy} takes precedence") if found else component
                )
                for name, component in finding.variants.items()
            }
            for finding in considered
            if finding is not found
        },
    }


def _decisive(considered: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in considered if finding.contributes), None)


def _variants(event: Mapping[str, Any], found: Finding | None) -> dict[str, Component]:
    """The final variants in order of priority, those that do not contribute included."""
    checksum = text(event, "checksum").strip()
    content = found.variants if found else {"fallback": node("fallback", ())}
    if checksum:
        return {"checksum": literal("checksum", checksum)} | {
            name: ignored(component, "the checksum takes precedence") for name, component in content.items()
        }
    return combine(event, content)


def _keys(variants: Mapping[str, Component]) -> dict[str, str]:
    """The keys by variant, in order of priority; never none."""
    checksum = variants.get("checksum")
    if checksum is not None and _DIGEST.fullmatch(checksum.value or ""):
        return {"checksum": (checksum.value or "").lower()}
    contributing = {name: component for name, component in variants.items() if component.contributes}
    if not contributing:
        return {"fallback": digest("fallback", b"")}
    return {
        name: digest(_NAMESPACES.get(name, name), component.data) for name, component in contributing.items()
    }

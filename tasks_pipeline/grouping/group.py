"""From an event to its grouping: the order of work, in one place.

what is known of each frame                    facts.py (generated.py, functions.py, modules.py)
stack trace rules applied, frames marked       rule_set.py, frames.py (stack_rules.py, rules/)
variants computed by the first strategy        strategies.py (exceptions.py, messages.py, security.py)
fingerprint rules asked                        fingerprint_rules.py
combined with the fingerprint                  fingerprints.py
digested                                       components.py
title and culprit                              titles.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import SHOWN, Component, describe, digest, ignored, literal, node
from tasks_pipeline.grouping.fingerprint_rules import FingerprintRule, matching_rule
from tasks_pipeline.grouping.fingerprints import client_fingerprint, combine, expand
from tasks_pipeline.grouping.rule_set import GroupingRules, event_stacks, grouping_rules
from tasks_pipeline.grouping.strategies import Finding, findings
from tasks_pipeline.grouping.titles import LONGEST_TITLE, culprit, title_and_metadata
from tasks_pipeline.grouping.values import first_line, shorten, text

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


def group_event(event: Mapping[str, Any], rules: GroupingRules | None = None) -> Grouping:
    """Group one normalised error, message or security event by the rules of its project (None: our own alone).

    Never raises: fields of a wrong type count as absent. Marks the frames of the event with what the rules say of them
    (`in_app`, `data.orig_in_app`, `data.category`) and changes nothing else. A marked event may be grouped again, by
    these or other rules, as if it had never been marked.
    """
    rules = rules or grouping_rules()
    stacks = event_stacks(event, rules)
    found = _decisive(findings(event, stacks, former=rules.former, explained=False))
    main_exception = found.main_exception if found else None
    rule = matching_rule(rules.fingerprint, event)
    keys = _keys(rules.algorithm, _variants(event, found, rule, former=rules.former))
    title, metadata = title_and_metadata(event, main_exception)
    if rule is not None and rule.title:
        title = shorten(first_line(expand(event, rule.title)), LONGEST_TITLE) or title
    return Grouping(
        keys=tuple(keys.values()),
        algorithm=rules.algorithm,
        variant=next(iter(keys)),
        title=title,
        culprit=culprit(event, main_exception),
        main_exception=main_exception,
        metadata=metadata,
    )


def explain(event: Mapping[str, Any], rules: GroupingRules | None = None) -> dict[str, Any]:
    """Why the event is grouped as it is, as JSON-serialisable data of bounded size. Marks frames as `group_event` does.

    `algorithm`; `keys` by variant; `strategy`, what part of the event decided (None: nothing usable); `variants`, the
    contribution tree of each (id, contributes, reason?, value? or parts?); `fingerprint`, its elements and the rule they
    are from (None: the client); `not_used`, the trees of the other parts.
    """
    rules = rules or grouping_rules()
    considered = list(findings(event, event_stacks(event, rules), former=rules.former))
    found = _decisive(considered)
    rule = matching_rule(rules.fingerprint, event)
    variants = _variants(event, found, rule, former=rules.former)
    return {
        "algorithm": rules.algorithm,
        "keys": _keys(rules.algorithm, variants),
        "strategy": found.strategy if found else None,
        "fingerprint": {
            "elements": [element[:SHOWN] for element in _elements(event, rule)],
            "rule": rule.text[:SHOWN] if rule else None,
        },
        "variants": describe(variants),
        "not_used": {
            finding.strategy: describe(
                {
                    name: ignored(component, f"{found.strategy} takes precedence") if found else component
                    for name, component in finding.variants.items()
                }
            )
            for finding in considered
            if finding is not found
            and any(component.parts or component.value for component in finding.variants.values())
        },
    }


def _decisive(considered: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in considered if finding.contributes), None)


def _elements(event: Mapping[str, Any], rule: FingerprintRule | None) -> Sequence[str]:
    return client_fingerprint(event) if rule is None else rule.values


def _variants(
    event: Mapping[str, Any], found: Finding | None, rule: FingerprintRule | None, *, former: bool
) -> dict[str, Component]:
    """The final variants in order of priority, those that do not contribute included."""
    checksum = text(event, "checksum").strip()
    content = found.variants if found else {"fallback": node("fallback", ())}
    if checksum:
        return {"checksum": literal("checksum", checksum)} | {
            name: ignored(component, "the checksum takes precedence") for name, component in content.items()
        }
    return combine(event, content, _elements(event, rule), former=former)


def _keys(algorithm: str, variants: Mapping[str, Component]) -> dict[str, str]:
    """The keys by variant, in order of priority; never none."""
    checksum = variants.get("checksum")
    if checksum is not None and _DIGEST.fullmatch(checksum.value or ""):
        return {"checksum": (checksum.value or "").lower()}
    contributing = {name: component for name, component in variants.items() if component.contributes}
    if not contributing:
        return {"fallback": digest(algorithm, "fallback", b"")}
    return {
        name: digest(algorithm, _NAMESPACES.get(name, name), component.data)
        for name, component in contributing.items()
    }

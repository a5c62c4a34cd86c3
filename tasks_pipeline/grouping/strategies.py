"""Which part of an event decides on its group: one strategy for each part, in order of precedence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import Component, ignored, leaf, node
from tasks_pipeline.grouping.exceptions import exception_variants, speaking_exceptions
from tasks_pipeline.grouping.frames import StackVariants
from tasks_pipeline.grouping.messages import message_component
from tasks_pipeline.grouping.rule_set import Stacks, stack_of
from tasks_pipeline.grouping.security import HOSTNAME_REPORTS, csp_component, hostname_component
from tasks_pipeline.grouping.values import mapping, objects, text


@dataclass(frozen=True, slots=True)
class Finding:
    """What one strategy makes of an event: components by variant (`app`, `system` or `default`) in order of priority.

    `main_exception` is the position in `exception.values` of the exception that names the event, when it is not the last.
    """

    strategy: str
    variants: Mapping[str, Component]
    main_exception: int | None = None

    @property
    def contributes(self) -> bool:
        return any(component.contributes for component in self.variants.values())


def findings(
    event: Mapping[str, Any], stacks: Stacks, *, former: bool = False, explained: bool = True
) -> Iterator[Finding]:
    """What every strategy finds, lazily, in order of precedence: the first that contributes decides. `former`: messages are
    read as the former algorithm does it. Unless they are to be `explained`, what does not contribute may be missing."""
    yield _exceptions(event, stacks, former, explained)
    yield _threads(event, stacks)
    yield _stacktrace(event, stacks)
    yield _template(event)
    yield _csp(event)
    for kind in HOSTNAME_REPORTS:
        yield Finding(kind, {"default": hostname_component(event, kind)})
    yield _message(event, former)


def event_stacktrace(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stack trace that stands for an event without exceptions: the top-level one, else the deciding thread's."""
    return mapping(event, "stacktrace") or mapping(_deciding_thread(event), "stacktrace")


def _exceptions(event: Mapping[str, Any], stacks: Stacks, former: bool, explained: bool) -> Finding:
    values = objects(mapping(event, "exception"), "values")
    variants = [
        exception_variants(value, stack_of(stacks, value), former=former, explained=explained)
        for value in values
    ]
    speaking, main = speaking_exceptions(values, variants)
    chosen = [variants[position] for position in speaking]
    return Finding(
        "exception",
        _stack_based(
            _chain([one.app for one in chosen]),
            _chain([one.system for one in chosen]),
            app_has_frames=any(one.stack.app.contributes for one in chosen),
            system_has_frames=any(one.stack.system.contributes for one in chosen),
        ),
        main,
    )


def _chain(components: list[Component]) -> Component:
    if len(components) == 1:
        return components[0]
    contributing = [component for component in components if component.contributes]
    if len(contributing) == 1:  # counts like an exception that came alone
        return Component("exceptions", contributing[0].data, None, tuple(components))
    return node("exceptions", components)


def _threads(event: Mapping[str, Any], stacks: Stacks) -> Finding:
    return _of_stack("threads", stack_of(stacks, _deciding_thread(event)))


def _stacktrace(event: Mapping[str, Any], stacks: Stacks) -> Finding:
    return _of_stack("stacktrace", stack_of(stacks, event))


def _of_stack(strategy: str, stack: StackVariants) -> Finding:
    return Finding(
        strategy,
        _stack_based(
            stack.app,
            stack.system,
            app_has_frames=stack.app.contributes,
            system_has_frames=stack.system.contributes,
        ),
    )


def _stack_based(
    app: Component, system: Component, *, app_has_frames: bool, system_has_frames: bool
) -> dict[str, Component]:
    """Both variants, or one: `app` when they say the same, `system` when nothing in app is on the stack."""
    if app.data == system.data:
        return {"app": app, "system": ignored(system, "the same as app")}
    if system_has_frames and not app_has_frames:
        return {"app": ignored(app, "no frame in app contributes"), "system": system}
    return {"app": app, "system": system}


def _deciding_thread(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The only crashed thread, else the only current one, else the only one; an empty one when that is ambiguous."""
    threads = objects(mapping(event, "threads"), "values")
    for flag in ("crashed", "current"):
        flagged = [thread for thread in threads if thread.get(flag) is True]
        if len(flagged) == 1:
            return flagged[0]
    return threads[0] if len(threads) == 1 else {}


def _template(event: Mapping[str, Any]) -> Finding:
    template = mapping(event, "template")
    parts = (
        leaf("filename", text(template, "filename")),
        leaf("context_line", " ".join(text(template, "context_line").split())),
    )
    return Finding("template", {"default": node("template", parts)})


def _csp(event: Mapping[str, Any]) -> Finding:
    return Finding("csp", {"default": csp_component(event)})


def _message(event: Mapping[str, Any], former: bool) -> Finding:
    entry = mapping(event, "logentry")
    message = text(entry, "message").strip() or text(entry, "formatted")
    return Finding("message", {"default": message_component("message", message, former=former)})

"""An event as a text to copy: plain, as people write into a chat, and Markdown, as they put into an issue."""

from __future__ import annotations

from collections.abc import Iterator

from tasks_pipeline.pages.event_frames import Frame, Stack
from tasks_pipeline.pages.event_shape import Raised, Shape
from tasks_pipeline.pages.event_values import Named


def plain(shape: Shape, head: str = "") -> str:
    """The stack trace, the crash first, with the lines that failed."""
    lines = [head] if head else []
    for raised in shape.exceptions:
        lines += [
            f"{raised.relation}:" if raised.relation else "",
            f"{raised.type}: {raised.value}",
            *_frames(raised.stack),
        ]
    if not shape.exceptions and shape.message:
        lines += ["", shape.message]
    lines += _frames(shape.stack)
    for thread in shape.threads:
        if thread.stack is not None:
            lines += [
                "",
                f"thread {thread.name}{' (crashed)' if thread.crashed else ''}",
                *_frames(thread.stack),
            ]
    return "\n".join(lines).strip("\n") + "\n"


def _frames(stack: Stack | None) -> Iterator[str]:
    if stack is None:
        return
    for run in stack.runs:
        for frame in run.frames:
            yield f"  {frame.place} in {frame.function}{'' if frame.in_app else '  (library)'}"
            yield from (f"    > {line.text.strip()}" for line in frame.lines if line.failed)
    if stack.left_out:
        yield f"  … {stack.left_out:,} frames left out"


def markdown(shape: Shape, title: str, facts: list[tuple[str, str]], link: str = "") -> str:
    """The event for an issue: what, where, when, the stack trace with values of the program's own frames, and tags."""
    lines = [f"# {inline(title)}", ""]
    lines += [f"- **{inline(name)}**: {inline(value)}" for name, value in facts if value]
    if link:
        lines.append(f"- **event**: <{link}>")
    lines += ["", "## Stack trace", "", *_fenced(plain(shape).rstrip("\n"))]
    for raised in shape.exceptions[:1]:
        lines += _values(raised)
    if shape.tags:
        lines += [
            "",
            "## Tags",
            "",
            *(f"- {inline(tag.name)}: {inline(tag.text)}" for tag in shape.tags[:50]),
        ]
    return "\n".join(lines) + "\n"


def _values(raised: Raised) -> Iterator[str]:
    frames: list[Frame] = (
        [] if raised.stack is None else [f for run in raised.stack.runs if run.in_app for f in run.frames]
    )
    for frame in frames[:3]:
        if frame.values:
            yield from ("", f"### {inline(frame.place)} in {inline(frame.function)}", "")
            yield from _fenced("\n".join(_value(value) for value in frame.values[:20]))


def _value(value: Named) -> str:
    return f"{value.name} = {value.text[:300]}{f'  ({value.remark})' if value.remark else ''}"


def _fenced(text: str) -> Iterator[str]:
    """A block of code whose fence is longer than any in it."""
    longest = max((len(line) - len(line.lstrip("`")) for line in text.splitlines()), default=0)
    fence = "`" * max(3, longest + 1, _inner(text) + 1)
    yield from (fence, text, fence)


def _inner(text: str) -> int:
    """The most back quotes that follow each other."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def inline(text: str) -> str:
    """A stranger's text on one line that Markdown leaves as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#!|~" else c for c in " ".join(text.split()))

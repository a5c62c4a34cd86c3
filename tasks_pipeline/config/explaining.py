"""What pydantic says about a file, turned into mistakes that name line, place, what was found and what is allowed.

The types of the configuration are followed along the way to each mistake. What cannot be found on that way costs a hint,
never the mistake; and what may be a secret is left out.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasks_pipeline.config.kinds import (
    Kind,
    below,
    field_names,
    is_private,
    key_kinds,
    kinds_of,
    labelled,
    of_tag,
    tag_name,
    tags,
)
from tasks_pipeline.config.mistake import Mistake, Path, shortened
from tasks_pipeline.config.model import REFUSED, About
from tasks_pipeline.config.written import Reading, Written

log = logging.getLogger(__name__)

_OF_VALIDATORS = ("value_error", "assertion_error", REFUSED)
_MAPPINGS = ("model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type")
_LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type", "iterable_type")
_HIDDEN = "what stands here cannot be used; why is not shown, it may be a secret"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is wrong: in the file, and in the types."""

    path: Path
    line: int
    written: Written | None
    """What stands there; None when nothing does."""
    kinds: tuple[Kind, ...]
    """What may stand there; empty when that is not known."""
    holder: tuple[Kind, ...] = ()
    """Of what it is a field or an entry."""
    is_name: bool = False
    """Whether the name of the field is what is wrong."""
    chosen: tuple[tuple[Path, str], ...] = ()
    """The unions on the way, and which of their members the mistake is about."""


def explain(error: ValidationError, model: type[BaseModel], reading: Reading) -> list[Mistake]:
    """The mistakes that a validation found, without those that follow from mistakes of the reading."""
    root = reading.root or Written(1)
    details = error.errors(include_url=False)
    inner = {detail["loc"][:end] for detail in details for end in range(len(detail["loc"]))}
    # A list is empty only because of the mistakes inside it.
    outer = [detail for detail in details if detail["loc"] not in inner]
    try:
        return list(_joined(list(_explained(outer, model, reading, root))))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What is told would be better with a hint, but must be told without one too.
        log.warning("what is allowed cannot be told: %s", type(error).__name__)
        return [_unexplained(detail, root) for detail in outer]


def _explained(
    details: Sequence[ErrorDetails], model: type[BaseModel], reading: Reading, root: Written
) -> Iterator[tuple[Place, Mistake]]:
    hidden = _Hidden(reading.secrets, root, kinds_of(model))
    for detail, place in _of_one_member([(detail, follow(detail, model, root)) for detail in details]):
        if not _follows(detail, place):
            at, said, found = _told(detail, place, hidden)
            yield at, Mistake(at.line, at.path, said, found)


def _unexplained(detail: ErrorDetails, root: Written) -> Mistake:
    """What can be told without knowing the types: place and line, and the words that are pydantic's own."""
    line, written = root.line, root
    for part in detail["loc"]:
        below_line, found = written_below(written, part)
        if found is not None:  # else it is the label of a member of a union, or a field that is missing
            line, written = below_line, found
    own = detail["type"] not in (*_OF_VALIDATORS, "union_tag_invalid")
    return Mistake(line, detail["loc"], detail["msg"] if own else "what stands here cannot be used")


def follow(detail: ErrorDetails, model: type[BaseModel], root: Written) -> Place:
    """Follow pydantic's path, which has labels of union members in it, through file and types."""
    place = Place((), root.line, root, kinds_of(model))
    for part in detail["loc"]:
        if part == "[key]":
            return replace(place, is_name=True, kinds=key_kinds(place.holder))
        if isinstance(part, str) and len(place.kinds) > 1:
            chosen = labelled(place.kinds, part)
            if detail["type"] != REFUSED or part in {tag for kind in chosen for tag in tags(kind)}:
                place = replace(place, kinds=chosen, chosen=(*place.chosen, (place.path, part)))
                continue
        place = _step(place, part)
    return place


def _step(place: Place, part: str | int) -> Place:
    line, written = written_below(place.written, part)
    return Place(
        (*place.path, part),
        line or place.line,
        written,
        below(place.kinds, part),
        place.kinds,
        chosen=place.chosen,
    )


def written_below(written: Written | None, part: str | int) -> tuple[int, Written | None]:
    """Line and value of a field or an entry; (0, None) when there is none."""
    if written is not None and written.fields is not None and str(part) in written.fields:
        return written.fields[str(part)]
    entries = written.entries if written is not None else None
    if entries is not None and isinstance(part, int) and part < len(entries):
        return entries[part].line, entries[part]
    return 0, None


def _follows(detail: ErrorDetails, place: Place) -> bool:
    """Whether it may be there only because of a mistake that was told already."""
    written = place.written
    if written is None or detail["type"] == "extra_forbidden":
        return False
    whole = detail["type"] in _OF_VALIDATORS or detail["type"] in ("too_short", "too_long")
    return written.faulty or (whole and written.doubtful)


Placed = tuple[ErrorDetails, Place]


def _of_one_member(placed: Sequence[Placed]) -> Iterator[Placed]:
    """Of a union pydantic tells what is wrong with every member: keep what fits the form of what was written."""
    fits: dict[tuple[Path, str], bool] = {}
    for detail, place in placed:
        for union in place.chosen:
            at_union = place.path == union[0]
            other_form = at_union and (
                detail["type"].endswith("_type") or detail["type"].endswith("_parsing")
            )
            fits[union] = fits.get(union, False) or not other_form
    some_fit = {path for (path, _), fit in fits.items() if fit}
    for detail, place in placed:
        if all(fits[union] or union[0] not in some_fit for union in place.chosen):
            yield detail, place


def _joined(told: Sequence[tuple[Place, Mistake]]) -> Iterator[Mistake]:
    """Of a union whose members have all been tried in vain: one mistake that says what each of them wants."""
    alternatives: dict[Path, list[Mistake]] = {}
    for place, mistake in told:
        if place.chosen and place.chosen[-1][0] == place.path:
            alternatives.setdefault(mistake.path, []).append(mistake)
    for _, mistake in told:
        same = alternatives.get(mistake.path, [mistake])
        if len(same) < 2:
            yield mistake
        elif mistake is same[0]:
            yield replace(mistake, said="; or ".join(dict.fromkeys(each.said for each in same)))


def _told(detail: ErrorDetails, place: Place, hidden: _Hidden) -> tuple[Place, str, str]:
    """Where exactly it is, what is said, and what is shown of what was found."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        return place, _unknown(str(place.path[-1]) if place.path else "", place.holder), ""
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        name = tag_name(place.kinds)
        allowed = ", ".join(tag for each in place.kinds for tag in tags(each))
        # A trigger may be a word alone: then that is the tag.
        is_word = place.written is not None and place.written.fields is None
        inner = place if is_word or not name else _step(place, name)
        said = "unknown" if inner.written is not None else "Field required"
        found = _found(replace(inner, kinds=(Kind(str),)), "") if inner.written else ""
        return inner, f"{said}; allowed: {allowed}" if allowed else said, found
    if place.is_name:
        said = _said(kind, detail["msg"], replace(place, written=None))
        return place, f"the name of this field: {hidden.washed(said)}", ""
    said = hidden.washed(_said(kind, detail["msg"], place))
    if kind in _OF_VALIDATORS and _is_hidden_text(place) and hidden.echoes(said, place.written):
        said = _HIDDEN
    found = _found(place, kind)
    return place, said, "" if kind == REFUSED and found.strip("'") in said else found


def _is_hidden_text(place: Place) -> bool:
    written = place.written
    if written is None or written.fields is not None or written.entries is not None:
        return False
    return written.secret or is_private(place.kinds)


def _unknown(name: str, holder: Sequence[Kind]) -> str:
    allowed = field_names(holder)
    if not allowed:
        return "unknown field"
    near = difflib.get_close_matches(name[:100], allowed, 1)
    return f"unknown field; allowed: {', '.join(allowed)}" + (f" (did you mean {near[0]}?)" if near else "")


def _said(kind: str, message: str, place: Place) -> str:
    if kind in _MAPPINGS:
        allowed = ", ".join(tag for each in place.kinds for tag in tags(each))
        if allowed and len(place.kinds) > 1:
            return f"Input should be a mapping, with a type: {allowed}"
        names = ", ".join(field_names(place.kinds))
        return "Input should be a mapping" + (f"; allowed: {names}" if names else "")
    if kind in _LISTS:
        return "Input should be a list"
    if kind == "path_type":
        return "Input should be a path"
    if kind == "string_type" and place.written is not None and place.written.kind:
        return f"Input should be a valid string, and without quotes this is {place.written.kind}"
    if kind == "string_pattern_mismatch":
        about = next((each.said() for each in place.kinds if each.said()), "")
        return f"not allowed; allowed: {about}" if about else message
    if kind in _OF_VALIDATORS:
        return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Tuple should", "List should")


def _found(place: Place, kind: str) -> str:
    """What may be shown of what stands there."""
    written = place.written
    if written is None or kind == "missing":
        return ""
    if written.fields is not None or written.entries is not None:
        return written.what if kind.endswith("_type") else ""
    if not isinstance(written.value, str | bytes) and not is_private(place.kinds):
        return "nothing" if written.value is None else shortened(written.text)
    # The types that stand there are known to be harmless, and it is not an address, which may have a token in it.
    harmless = (
        isinstance(written.value, str)
        and bool(place.kinds)
        and not is_private(place.kinds)
        and "://" not in written.text
    )
    if not harmless or any(each.model is not None or each.is_dict for each in place.kinds):
        return f"{written.what} that is not shown" if written.value is not None else "nothing"
    return shortened(repr(written.text if written.secret else written.value))


class _Hidden:
    """Everything that must not be in a message: what the environment put in, and what stands in private fields."""

    def __init__(self, secrets: Mapping[str, str], root: Written, kinds: tuple[Kind, ...]) -> None:
        self._shown = dict(secrets)
        for text in _private_texts(root, kinds):
            self._shown.setdefault(text, "...")
        self._pattern: re.Pattern[str] | None = None

    def washed(self, said: str) -> str:
        """The text with every secret replaced by how the file spells it."""
        if not self._shown:
            return said
        if self._pattern is None:
            # One pass over the longest first: what is put in is not looked at again.
            self._shown |= {repr(value)[1:-1]: spelled for value, spelled in self._shown.items()}
            self._folded = {value.casefold(): spelled for value, spelled in self._shown.items()}
            ordered = sorted(self._shown, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(_whole, ordered)), re.IGNORECASE)
        return self._pattern.sub(lambda match: self._folded.get(match[0].casefold(), "..."), said)

    def echoes(self, said: str, written: Written | None) -> bool:
        """Whether a text repeats a part of a value that must not be shown."""
        value = str(written.value if written is not None else "").casefold()
        text = said.casefold()
        if any(value[at : at + 4] in text for at in range(len(value) - 3)):
            return True
        return not set(re.findall(r"\w+", value)).isdisjoint(re.findall(r"\w+", text))


def secrets_written_out(reading: Reading, model: type[BaseModel]) -> Iterator[Mistake]:
    """Secrets that stand in the file itself where they may only be referred to (`About.referred`)."""
    if reading.root is not None:
        yield from _written_out(reading.root, kinds_of(model), (), reading.root.line)


def _written_out(written: Written, kinds: tuple[Kind, ...], path: Path, line: int) -> Iterator[Mistake]:
    if written.fields is not None:
        meant = of_tag(kinds, written.value)
        for name, (at, child) in written.fields.items():
            yield from _written_out(child, below(meant, name), (*path, name), at)
    elif written.entries is not None:
        for number, child in enumerate(written.entries):
            yield from _written_out(child, below(kinds, number), (*path, number), child.line)
    elif isinstance(written.value, str) and not written.secret and not written.faulty and _is_referred(kinds):
        said = "a secret that stands in the file; allowed is a reference to the environment, as ${env:NAME}"
        yield Mistake(line, path, said)


def _is_referred(kinds: tuple[Kind, ...]) -> bool:
    return any(isinstance(note, About) and note.referred for kind in kinds for note in kind.notes)


def _whole(value: str) -> str:
    """A pattern for a secret; a short one is told from what looks alike by what stands around it."""
    return re.escape(value) if len(value) > 3 else rf"(?<!\w){re.escape(value)}(?!\w)"


def _private_texts(written: Written, kinds: tuple[Kind, ...]) -> Iterator[str]:
    """The texts in private fields; what is shorter than any secret would only be missed elsewhere."""
    if written.fields is not None:
        meant = of_tag(kinds, written.value)
        for name, (_, child) in written.fields.items():
            yield from _private_texts(child, below(meant, name))
    elif written.entries is not None:
        for number, child in enumerate(written.entries):
            yield from _private_texts(child, below(kinds, number))
    elif isinstance(written.value, str) and len(written.value) > 3 and is_private(kinds):
        yield written.value
